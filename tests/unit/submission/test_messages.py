"""Why a submission cannot go on: each message names the generation, the bill and what to do."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_kling.exceptions import KlingBadRequestError
from airflow_kling.submission import messages
from airflow_kling.submission.decision import Facts
from airflow_kling.submission.record import SUBMITTED, SubmissionRecord

FACTS: dict[str, Any] = {"lists": False, "refuses_duplicates": False, "may_exist": True}
RECORD = SubmissionRecord(
    round=2, first_round=True, attempt=1, external_task_id="x-1", fingerprint="f", state=SUBMITTED, since=1.0
)


def stopped(facts: dict[str, Any], **options: bool) -> Any:
    given = {"resubmits": False, **options}
    return messages.stopped(Facts(**{**FACTS, **facts}), "x-1", refusal=KlingBadRequestError("duplicate."), **given)


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"kling_task_id": "8334"}, "Kling task 8334 was submitted, but Kling no longer knows it"),
        ({"posted": "unknown"}, "Kling did not say whether it took the submission"),
        ({"posted": "duplicate"}, "twice, and refuses to take it again: duplicate. A paid"),
        (
            {"posted": "duplicate", "given": True},
            "from another task's, another run's or another Airflow's, or",
        ),
        ({}, "this gateway cannot be asked for the outcome"),
    ],
    ids=str,
)
def test_why_it_stopped(facts: dict[str, Any], words: str) -> None:
    error = stopped(facts)
    assert words in str(error)
    assert "A paid generation may exist under external_task_id 'x-1'" in str(error)
    assert "on_unknown='resubmit'" in str(error)
    assert (error.external_task_id, error.retryable) == ("x-1", False)


@pytest.mark.parametrize(
    ("facts", "options"),
    [({"lists": True}, {}), ({"finds": True}, {}), ({}, {"resubmits": True}), ({"refuses_duplicates": True}, {})],
    ids=str,
)
def test_a_lost_answer_is_left_to_a_retry_that_can_tell(facts: dict[str, Any], options: dict[str, bool]) -> None:
    error = stopped({"posted": "unknown", **facts}, **options)
    assert error.retryable
    assert "a retry finds out without paying twice" in str(error)


@pytest.mark.parametrize(
    ("kling_task_id", "words"), [("8334", "as Kling task 8334, will be billed"), (None, "may exist")]
)
def test_a_changed_input(kling_task_id: str | None, words: str) -> None:
    error = messages.input_changed(SubmissionRecord(**{**vars(RECORD), "kling_task_id": kling_task_id}))
    assert words in str(error)
    assert "Nothing was submitted now" in str(error)
    assert (error.kling_task_id, error.external_task_id, error.retryable) == (kling_task_id, "x-1", False)


@pytest.mark.parametrize("kling_task_id", ["8334", None])
def test_a_cleared_task(kling_task_id: str | None) -> None:
    said = messages.runs_on_after_clear(SubmissionRecord(**{**vars(RECORD), "kling_task_id": kling_task_id}))
    assert (kling_task_id or "unknown") in said
    assert "x-1" in said
    assert "is billed if it succeeds" in said


def test_an_earlier_try() -> None:
    assert "an earlier one may have: a paid generation may exist under external_task_id 'x-1'" in (
        messages.earlier_may_exist("x-1")
    )
