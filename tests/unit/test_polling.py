"""When to look again, and what a look means."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_kling import polling
from airflow_kling.api.models import KlingTask
from airflow_kling.exceptions import (
    KlingAuthenticationError,
    KlingConnectionError,
    KlingError,
    KlingRateLimitError,
    KlingServerError,
    KlingTaskNotFoundError,
)


def task(status: str) -> KlingTask:
    return KlingTask(kling_task_id="8334", status=status)


PASSING = [
    KlingConnectionError("lost", request_sent=True),
    KlingConnectionError("refused", request_sent=False),
    KlingServerError("500"),
    KlingRateLimitError("429"),
]
FINAL = [KlingAuthenticationError("401"), KlingTaskNotFoundError("task_not_exist")]

# A look, what it means before the deadline, and at it.
LOOKS: list[tuple[KlingTask | KlingError, str | None, str]] = [
    (task("submitted"), None, "timeout"),
    (task("processing"), None, "timeout"),
    (task("reviewing"), None, "timeout"),
    (task("succeed"), "succeed", "succeed"),
    (task("failed"), "failed", "failed"),
    *((error, None, "timeout") for error in PASSING),
    *((error, "error", "error") for error in FINAL),
]


@pytest.mark.parametrize(("look", "before", "after"), LOOKS, ids=[f"{look!s:.40}" for look, *_ in LOOKS])
def test_verdict(look: KlingTask | KlingError, before: str | None, after: str) -> None:
    assert polling.verdict(look, now=99.9, deadline=100.0) == before
    assert polling.verdict(look, now=100.0, deadline=100.0) == after
    assert polling.verdict(look, now=1e9, deadline=100.0) == after


@pytest.mark.parametrize(
    ("left", "retry_after", "seconds"),
    [(1000, None, 20), (1000, 5, 20), (1000, 30, 30), (7, None, 7), (7, 30, 7), (0, None, 0), (-5, None, 0)],
)
def test_next_look(left: float, retry_after: float | None, seconds: float) -> None:
    assert polling.next_look(now=50.0, deadline=50.0 + left, poke_interval=20.0, retry_after=retry_after) == seconds


@given(
    now=st.floats(0, 2e9),
    deadline=st.floats(0, 2e9),
    poke_interval=st.floats(0, 1e6),
    retry_after=st.none() | st.floats(0, 1e9),
)
def test_deadline_is_never_slept_past(
    now: float, deadline: float, poke_interval: float, retry_after: float | None
) -> None:
    seconds = polling.next_look(now=now, deadline=deadline, poke_interval=poke_interval, retry_after=retry_after)
    assert seconds >= 0
    assert now + seconds <= max(now, deadline) + 1e-6


@pytest.mark.parametrize(
    ("given_value", "expected"),
    [(20, 20.0), (0.5, 0.5), (timedelta(minutes=2), 120.0), (timedelta(milliseconds=50), 0.05)],
)
def test_seconds(given_value: timedelta | float, expected: float) -> None:
    assert polling.seconds(given_value) == expected


def test_triggerer_looks_no_sooner_than_five_seconds_after_deferring() -> None:
    assert polling.FIRST_LOOK_AFTER_DEFERRAL >= 5.0


def test_interval_is_what_cometapi_recommends() -> None:
    assert 20.0 <= polling.POKE_INTERVAL <= 30.0
