"""The submission's decision, as a table: facts on the left, the next step on the right."""

from __future__ import annotations

import itertools

import pytest

from airflow_kling.submission.decision import Facts, Step, decide

FIRST: dict[str, object] = {"may_exist": False}
QUERIED_ALL = frozenset({Step.FIND, Step.SEARCH})


def facts(**changes: object) -> Facts:
    return Facts(**{"lists": True, "refuses_duplicates": True, "may_exist": True, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("known", "step"),
    [
        pytest.param({"may_exist": False}, Step.POST, id="nothing can exist"),
        pytest.param({"may_exist": False, "refuses_duplicates": False, "lists": False}, Step.POST, id="the first time"),
        pytest.param({"kling_task_id": "1"}, Step.QUERY, id="an id on record is queried first"),
        pytest.param({"kling_task_id": "1", "queried": frozenset({Step.QUERY})}, Step.FIND, id="recorded but unknown"),
        pytest.param({"kling_task_id": "1", "queried": QUERIED_ALL | {Step.QUERY}}, Step.STOP, id="and not found"),
        pytest.param({}, Step.FIND, id="an intent without an id is queried"),
        pytest.param({"queried": frozenset({Step.FIND})}, Step.SEARCH, id="then the list"),
        pytest.param({"queried": frozenset({Step.FIND}), "lists": False}, Step.POST, id="no list, duplicates refused"),
        pytest.param({"queried": QUERIED_ALL}, Step.POST, id="not found, duplicates refused"),
        pytest.param({"queried": QUERIED_ALL, "refuses_duplicates": False}, Step.STOP, id="nothing can decide"),
        pytest.param({"queried": QUERIED_ALL, "posted": "duplicate"}, Step.STOP, id="a duplicate nobody finds"),
        pytest.param({"posted": "duplicate"}, Step.FIND, id="a duplicate is looked for"),
        pytest.param({"queried": QUERIED_ALL, "receives": True}, Step.CALLBACK, id="what a callback has told"),
        pytest.param(
            {"queried": frozenset({Step.FIND}), "receives": True, "lists": False}, Step.CALLBACK, id="with no list too"
        ),
        pytest.param(
            {"queried": QUERIED_ALL | {Step.CALLBACK}, "receives": True}, Step.POST, id="which has told nothing"
        ),
        pytest.param(
            {"queried": QUERIED_ALL | {Step.CALLBACK}, "receives": True, "refuses_duplicates": False},
            Step.STOP,
            id="nor can anything else decide",
        ),
        pytest.param({"receives": True, "may_exist": False}, Step.POST, id="no callback comes before a POST"),
        pytest.param({"queried": QUERIED_ALL, "posted": "unknown"}, Step.STOP, id="no second POST in one try"),
        *(
            pytest.param({"status": status, **rest}, Step.ADOPT, id=f"{status} is adopted {rest}")
            for status in ("submitted", "processing", "succeed", "anything else")
            for rest in ({}, {"kling_task_id": "1"}, {"posted": "duplicate"})
        ),
        pytest.param({"status": "failed"}, Step.NEXT_ATTEMPT, id="failed, another attempt"),
        *(
            pytest.param({"status": status, "ours": False, **rest}, Step.STOP, id=f"{status}, not ours {rest}")
            for status in ("submitted", "succeed", "failed")
            for rest in ({}, {"posted": "duplicate"}, {"may_exist": False})
        ),
        pytest.param({**FIRST, "given": True, "finds": True}, Step.FIND, id="an author's id is asked for first"),
        pytest.param({**FIRST, "given": True}, Step.SEARCH, id="or looked for in the list"),
        pytest.param({**FIRST, "given": True, "lists": False}, Step.POST, id="where that can be done"),
        pytest.param(
            {**FIRST, "given": True, "finds": True, "queried": frozenset({Step.FIND})}, Step.POST, id="and is free"
        ),
        pytest.param({"posted": "other", "lists": False}, Step.REFUSE, id="a field that Kling names was wrong"),
        pytest.param({"posted": "other"}, Step.FIND, id="but who can be asked is asked"),
        pytest.param({"posted": "other", "queried": QUERIED_ALL}, Step.REFUSE, id="nothing found, so it is refused"),
        pytest.param({"posted": "doubtful", "queried": QUERIED_ALL}, Step.REFUSE, id="the same without a field"),
        pytest.param(
            {"posted": "doubtful", "queried": QUERIED_ALL, "lists": False},
            Step.STOP,
            id="who cannot be asked may hide it",
        ),
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
        (None, "duplicate", "unknown", "doubtful", "other"),
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
