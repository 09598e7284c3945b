"""The submission's decision, as a table: facts on the left, the next step on the right."""

from __future__ import annotations

import itertools

import pytest

from airflow_kling.submission.decision import Facts, Step, decide

QUERIED_ALL = frozenset({Step.FIND, Step.SEARCH})


def facts(**changes: object) -> Facts:
    return Facts(**{"lists": True, "refuses_duplicates": True, "may_exist": True, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("known", "step"),
    [
        pytest.param({"may_exist": False}, Step.POST, id="nothing can exist"),
        pytest.param({"may_exist": False, "refuses_duplicates": False, "lists": False}, Step.POST, id="the first time"),
        pytest.param({"kling_task_id": "1"}, Step.QUERY, id="an id on record is queried first"),
        pytest.param({"kling_task_id": "1", "queried": frozenset({Step.QUERY})}, Step.STOP, id="recorded but unknown"),
        pytest.param({}, Step.FIND, id="an intent without an id is queried"),
        pytest.param({"queried": frozenset({Step.FIND})}, Step.SEARCH, id="then the list"),
        pytest.param({"queried": frozenset({Step.FIND}), "lists": False}, Step.POST, id="no list, duplicates refused"),
        pytest.param({"queried": QUERIED_ALL}, Step.POST, id="not found, duplicates refused"),
        pytest.param({"queried": QUERIED_ALL, "refuses_duplicates": False}, Step.STOP, id="nothing can decide"),
        pytest.param({"queried": QUERIED_ALL, "posted": "duplicate"}, Step.STOP, id="a duplicate nobody finds"),
        pytest.param({"posted": "duplicate"}, Step.FIND, id="a duplicate is looked for"),
        pytest.param({"queried": QUERIED_ALL, "posted": "unknown"}, Step.STOP, id="no second POST in one try"),
        *(
            pytest.param({"status": status, **rest}, Step.ADOPT, id=f"{status} is adopted {rest}")
            for status in ("submitted", "processing", "succeed", "anything else")
            for rest in ({}, {"kling_task_id": "1"}, {"posted": "duplicate"})
        ),
        pytest.param({"status": "failed"}, Step.NEXT_ATTEMPT, id="failed, another attempt"),
    ],
)
def test_next_step(known: dict[str, object], step: Step) -> None:
    assert decide(facts(**known)) is step


def test_a_post_needs_certainty_or_an_account_that_refuses_duplicates() -> None:
    every = itertools.product(
        (False, True),
        (False, True),
        (False, True),
        (None, "1"),
        (frozenset(), frozenset({Step.FIND}), QUERIED_ALL, frozenset({Step.QUERY})),
        (None, "submitted", "failed"),
        (None, "duplicate", "unknown"),
    )
    for combination in every:
        lists, refuses, may_exist, task_id, queried, status, posted = combination
        step = decide(
            Facts(
                lists=lists,
                refuses_duplicates=refuses,
                may_exist=may_exist,
                kling_task_id=task_id,
                queried=queried,
                status=status,
                posted=posted,  # type: ignore[arg-type]
            )
        )
        if step is Step.POST:
            assert task_id is None
            assert status is None
            assert not may_exist or (refuses and posted is None)
