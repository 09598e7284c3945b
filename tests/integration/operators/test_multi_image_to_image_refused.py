"""Submitting while Kling refuses for too many requests or parallel tasks: nothing was created, so it is tried again."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, TaskDeferred

from airflow_kling.emulator import Emulator, EmulatorConfig, serve
from airflow_kling.exceptions import (
    KlingAccountError,
    KlingError,
    KlingRateLimitError,
    KlingServerError,
    KlingSubmissionError,
)
from airflow_kling.operators.generate import KlingMultiImageToImageOperator
from airflow_kling.polling import schedule

REFUSALS: list[tuple[dict[str, Any], type[KlingError]]] = [
    ({"code": 1302}, KlingRateLimitError),
    ({"code": 1303}, KlingRateLimitError),
    ({"status": 429}, KlingRateLimitError),
    ({"code": 5001}, KlingServerError),
]


def operator(subjects: list[str], **fields: Any) -> KlingMultiImageToImageOperator:
    return KlingMultiImageToImageOperator(task_id="submit", subject_images=subjects, **fields)


def counts(emulator: Emulator) -> tuple[int, int]:
    ledger = emulator.ledger()
    return ledger["requests"]["create"], ledger["totals"]["created"]


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    naps: list[float] = []
    monkeypatch.setattr(time, "sleep", naps.append)
    return naps


@pytest.mark.parametrize(("refusal", "kind"), REFUSALS, ids=[str(refusal) for refusal, _ in REFUSALS])
def test_it_waits_on_the_worker_and_submits_once(
    refusal: dict[str, Any], kind: type, kling: Emulator, subjects: list[str], ti: Any, slept: list[float]
) -> None:
    kling.faults.add(on="create", action="error", times=2, **refusal)
    task_id = operator(subjects, deferrable=False).execute({"ti": ti})
    assert counts(kling) == (3, 1)
    assert ti.xcoms["kling_task_id"] == task_id
    assert len(slept) == 2
    assert 1 <= slept[0] <= 2
    assert 1 <= slept[1] <= 3


def test_retry_after_is_kept_to(kling: Emulator, subjects: list[str], ti: Any, slept: list[float]) -> None:
    kling.faults.add(on="create", action="error", code=1302, retry_after=17, times=1)
    operator(subjects, deferrable=False).execute({"ti": ti})
    assert 17 <= slept[0] <= 18


@pytest.mark.parametrize(("refusal", "kind"), REFUSALS, ids=[str(refusal) for refusal, _ in REFUSALS])
def test_it_ends_at_its_deadline_and_may_be_retried(
    refusal: dict[str, Any], kind: type[KlingError], kling: Emulator, subjects: list[str], ti: Any, slept: list[float]
) -> None:
    kling.faults.add(on="create", action="error", **refusal)
    with pytest.raises(kind, match="Nothing was created") as caught:
        operator(subjects, deferrable=False, submit_timeout=0).execute({"ti": ti})
    assert not isinstance(caught.value, AirflowFailException)
    assert counts(kling) == (1, 0)
    assert slept == []
    assert ti.xcoms == {}


@pytest.mark.parametrize(("refusal", "kind"), REFUSALS, ids=[str(refusal) for refusal, _ in REFUSALS])
def test_a_question_that_is_refused_says_nothing_of_the_submission(
    refusal: dict[str, Any], kind: type[KlingError], kling: Emulator, subjects: list[str], ti: Any, slept: list[float]
) -> None:
    """The answer to the submission was lost, and Kling refuses to say what became of it: nothing is submitted again."""
    kling.faults.add(on="create", action="drop_after", times=1)
    kling.faults.add(on="query", action="error", **refusal)
    with pytest.raises(KlingSubmissionError, match=r"could not be asked.*A paid generation may exist") as caught:
        operator(subjects, deferrable=False).execute({"ti": ti})
    assert caught.value.retryable
    assert counts(kling) == (1, 1)


def test_other_refusals_are_not_waited_out(kling: Emulator, subjects: list[str], ti: Any, slept: list[float]) -> None:
    kling.faults.add(on="create", action="error", code=1101)
    with pytest.raises(KlingAccountError):
        operator(subjects, deferrable=False).execute({"ti": ti})
    assert counts(kling) == (1, 0)
    assert slept == []


def test_deferrable_waits_in_the_triggerer_and_goes_on(kling: Emulator, subjects: list[str], ti: Any) -> None:
    kling.faults.add(on="create", action="error", code=1303, times=2)
    task = operator(subjects, deferrable=True)
    before = time.time()
    with pytest.raises(TaskDeferred) as first:
        task.execute({"ti": ti})
    assert first.value.method_name == "resume_submission"
    state = first.value.kwargs or {}
    assert json.loads(json.dumps(state)) == state
    moment = first.value.trigger.serialize()[1]["moment"]
    assert moment.timestamp() >= before + schedule.FIRST_POLL_AFTER_DEFERRAL
    with pytest.raises(TaskDeferred) as second:
        operator(subjects, deferrable=True).resume_submission({"ti": ti}, None, **state)
    again = second.value.kwargs or {}
    assert again["submit_deadline"] == state["submit_deadline"]
    assert again["refusals"] == 2
    task_id = operator(subjects, deferrable=True).resume_submission({"ti": ti}, None, **again)
    assert ti.xcoms["kling_task_id"] == task_id
    assert counts(kling) == (3, 1)


def test_full_account_is_waited_for(
    connect: Callable[..., str], subjects: list[str], ti: Any, monkeypatch: Any
) -> None:
    with serve(EmulatorConfig(concurrency=2, image_size=64)) as emulator:
        connect(emulator)
        operator(subjects, n=2).execute({})
        monkeypatch.setattr(time, "sleep", lambda seconds: emulator.advance(8))
        operator(subjects, n=1, deferrable=False).execute({"ti": ti})
        assert counts(emulator) == (3, 2)
