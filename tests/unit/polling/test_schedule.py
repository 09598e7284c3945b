"""When to look again, and what a look means."""

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
    assert schedule.verdict(look, now=99.9, deadline=100.0) == before
    assert schedule.verdict(look, now=100.0, deadline=100.0) == after
    assert schedule.verdict(look, now=1e9, deadline=100.0) == after


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
    dice=st.floats(0, 0.999),
)
def test_no_look_in_the_first_five_seconds_nor_past_the_deadline(
    since: float, waited: float, left: float, poke_interval: float, dice: float
) -> None:
    now = since + waited
    first = schedule.first_look(now=now, since=since, deadline=now + left, poke_interval=poke_interval, dice=dice)
    assert first >= since + schedule.FIRST_LOOK_AFTER_DEFERRAL - 1e-6
    assert first <= max(now, now + left, since + schedule.FIRST_LOOK_AFTER_DEFERRAL) + 1e-6
    following = schedule.next_look(now=now, since=since, deadline=now + left, poke_interval=poke_interval, dice=dice)
    assert now <= following <= max(now, now + left)


def looks_until(end: float, dice: random.Random) -> tuple[int, float]:
    """Requests and delay of one generation that ends at this age, seen by the triggerer alone."""
    at = schedule.first_look(now=0, since=0, deadline=1e9, poke_interval=20, dice=dice.random())
    for requests in itertools.count(1):
        if at >= end:
            return requests, at - end
        at = schedule.next_look(now=at, since=0, deadline=1e9, poke_interval=20, dice=dice.random())
    raise AssertionError


@pytest.mark.parametrize("median", [20, 90])
@pytest.mark.parametrize("sigma", [0.35, 0.5])
def test_fewer_requests_and_a_smaller_delay_than_a_fixed_poll(median: float, sigma: float) -> None:
    dice = random.Random(7)
    ends = [median * math.exp(sigma * dice.gauss(0, 1)) for _ in range(20_000)]
    ours = [looks_until(end, dice) for end in ends]
    fixed = [(math.ceil(end / 5), math.ceil(end / 5) * 5 - end) for end in ends]
    for position in (0, 1):
        assert sum(one[position] for one in ours) < sum(one[position] for one in fixed)


def test_token_bucket_allows_a_burst_of_one_second_and_the_rate_after_it() -> None:
    bucket = schedule.TokenBucket(rate=10)
    assert [bucket.take(100.0) for _ in range(12)] == pytest.approx([0.0] * 10 + [0.1, 0.2])
    assert bucket.take(100.5) == 0.0
