"""When a task is polled again, and what an answer means."""

from __future__ import annotations

import itertools
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_kling.api.tasks import KlingTask
from airflow_kling.exceptions import (
    KlingAuthenticationError,
    KlingConnectionError,
    KlingError,
    KlingRateLimitError,
    KlingServerError,
    KlingTaskNotFoundError,
)
from airflow_kling.polling import schedule


def task(status: str) -> KlingTask:
    return KlingTask(kling_task_id="8334", status=status)


PASSING = [
    KlingConnectionError("lost", request_sent=True),
    KlingConnectionError("refused", request_sent=False),
    KlingServerError("500"),
    KlingRateLimitError("429"),
]
FINAL = [KlingAuthenticationError("401"), KlingTaskNotFoundError("task_not_exist")]

# An answer, what it means before the deadline, and at it.
ANSWERS: list[tuple[KlingTask | KlingError, str | None, str]] = [
    (task("submitted"), None, "timeout"),
    (task("processing"), None, "timeout"),
    (task("reviewing"), None, "timeout"),
    (task("succeed"), "succeed", "succeed"),
    (task("failed"), "failed", "failed"),
    *((error, None, "timeout") for error in PASSING),
    *((error, "error", "error") for error in FINAL),
]


@pytest.mark.parametrize(("answer", "before", "after"), ANSWERS, ids=[f"{answer!s:.40}" for answer, *_ in ANSWERS])
def test_verdict(answer: KlingTask | KlingError, before: str | None, after: str) -> None:
    assert schedule.verdict(answer, now=99.9, deadline=100.0) == before
    assert schedule.verdict(answer, now=100.0, deadline=100.0) == after
    assert schedule.verdict(answer, now=1e9, deadline=100.0) == after


@pytest.mark.parametrize(
    ("age", "poke_interval", "seconds"),
    [(0, 20, 4.2), (24, 20, 4.2), (25, 20, 4.85), (242, 20, 4.85), (500, 20, 10), (5000, 20, 20), (30, 2, 2)],
)
def test_interval_grows_with_age_up_to_poke_interval(age: float, poke_interval: float, seconds: float) -> None:
    assert schedule.interval(age, poke_interval) == pytest.approx(seconds)


@given(
    since=st.floats(0, 1e9),
    waited=st.floats(0, 1e5),
    left=st.floats(-10, 1e5),
    poke_interval=st.floats(0.1, 300),
    random_fraction=st.floats(0, 0.999),
)
def test_no_poll_in_the_first_five_seconds_nor_past_the_deadline(
    since: float, waited: float, left: float, poke_interval: float, random_fraction: float
) -> None:
    now = since + waited
    first = schedule.first_poll(
        now=now, since=since, deadline=now + left, poke_interval=poke_interval, random_fraction=random_fraction
    )
    assert first >= since + schedule.FIRST_POLL_AFTER_DEFERRAL - 1e-6
    assert first <= max(now, now + left, since + schedule.FIRST_POLL_AFTER_DEFERRAL) + 1e-6
    following = schedule.next_poll(
        now=now, since=since, deadline=now + left, poke_interval=poke_interval, random_fraction=random_fraction
    )
    assert now <= following <= max(now, now + left)


def polls_until(end: float, rng: random.Random) -> tuple[int, float]:
    """Requests and delay of one generation that ends at this age, seen by the triggerer alone."""
    at = schedule.first_poll(now=0, since=0, deadline=1e9, poke_interval=20, random_fraction=rng.random())
    for requests in itertools.count(1):
        if at >= end:
            return requests, at - end
        at = schedule.next_poll(now=at, since=0, deadline=1e9, poke_interval=20, random_fraction=rng.random())
    raise AssertionError


@pytest.mark.parametrize("median", [20, 90])
@pytest.mark.parametrize("sigma", [0.35, 0.5])
def test_fewer_requests_and_a_smaller_delay_than_a_fixed_poll(median: float, sigma: float) -> None:
    rng = random.Random(7)
    ends = [median * math.exp(sigma * rng.gauss(0, 1)) for _ in range(20_000)]
    ours = [polls_until(end, rng) for end in ends]
    fixed = [(math.ceil(end / 5), math.ceil(end / 5) * 5 - end) for end in ends]
    for position in (0, 1):
        assert sum(one[position] for one in ours) < sum(one[position] for one in fixed)
