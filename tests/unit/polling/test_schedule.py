"""When a task is polled again, and what an answer means."""

from __future__ import annotations

import itertools
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_kling.api.route import VIDEO_PACE, Pace
from airflow_kling.api.routes import DEFAULT_ROUTE, find_route, route_names
from airflow_kling.api.routes.multi_image_to_image import ROUTE
from airflow_kling.api.tasks import KlingTask, Result, TaskStatus
from airflow_kling.exceptions import (
    KlingAuthenticationError,
    KlingConnectionError,
    KlingError,
    KlingRateLimitError,
    KlingServerError,
    KlingTaskNotFoundError,
)
from airflow_kling.polling import schedule

PACE = ROUTE.pace
FEW, MANY = 24, 49  # tasks that wait on a connection


def task(status: str, *urls: str) -> KlingTask:
    results = tuple(Result(index=index, url=url) for index, url in enumerate(urls))
    return KlingTask(kling_task_id="8334", status=status, results=results)


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
    (task("succeed", "https://a", "https://b"), "succeed", "succeed"),
    (task("succeed"), None, "timeout"),
    (task("succeed", "https://a", ""), None, "timeout"),
    (TaskStatus("8334", "succeed", None, complete=False), None, "timeout"),
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
    assert schedule.interval(age, poke_interval, PACE, MANY) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("age", "requests", "seconds"),
    [
        (12, 1, 2.0),
        (12, 20, 2.0),
        (12, 24, 2.4),
        (30, 24, 2.4),
        (12, 41, 4.1),
        (12, 42, 4.2),
        (12, 43, 4.2),
        (30, 48, 4.8),
        (30, 49, 4.85),
        (30, 10_000, 4.85),
        (12, 400 * schedule.LISTED, 2.0),
        (12, 840 * schedule.LISTED, 4.2),
        (300, 1, 6.0),  # the part of the age holds for few as well
        (300, 49, 6.0),
        (5000, 1, 20.0),
    ],
)
def test_an_image_is_polled_more_often_while_few_tasks_wait(age: float, requests: float, seconds: float) -> None:
    assert schedule.interval(age, None, PACE, requests) == pytest.approx(seconds)


def test_few_tasks_send_ten_requests_a_second_at_most() -> None:
    for waiting in range(20, 43):
        assert waiting / schedule.interval(12, None, PACE, waiting) == pytest.approx(schedule.QUICK_REQUESTS_PER_SECOND)


@given(
    age=st.floats(0, 1e5),
    poke_interval=st.none() | st.floats(0.1, 300),
    fewer=st.floats(0, 1e5),
    more=st.floats(0, 1e5),
    pace=st.sampled_from([PACE, VIDEO_PACE]),
)
def test_the_more_wait_the_longer_the_interval(
    age: float, poke_interval: float | None, fewer: float, more: float, pace: Pace
) -> None:
    fewer, more = sorted((fewer, more))
    seconds = schedule.interval(age, poke_interval, pace, fewer)
    usual = schedule.interval(age, poke_interval, pace._replace(quick_interval=None), fewer)
    assert schedule.MIN_INTERVAL <= seconds <= schedule.interval(age, poke_interval, pace, more) <= usual
    if poke_interval is not None:
        assert seconds <= max(schedule.MIN_INTERVAL, poke_interval)


def test_a_round_counts_the_tasks_that_may_be_polled_quickly() -> None:
    waiting = {DEFAULT_ROUTE: ["1", "2"], "omni-image": ["1"], "text-to-video": ["1"] * 100}
    assert schedule.requests_of(waiting) == 3
    assert schedule.requests_of({}) == 0


@given(
    since=st.floats(0, 1e9),
    waited=st.floats(0, 1e5),
    left=st.floats(-10, 1e5),
    poke_interval=st.floats(0.1, 300),
    random_fraction=st.floats(0, 0.999),
    requests=st.floats(0, 1e5),
)
def test_no_poll_in_the_first_five_seconds_nor_past_the_deadline(
    since: float, waited: float, left: float, poke_interval: float, random_fraction: float, requests: float
) -> None:
    now = since + waited
    first = schedule.first_poll(
        now=now,
        since=since,
        deadline=now + left,
        poke_interval=poke_interval,
        random_fraction=random_fraction,
        pace=PACE,
        requests=requests,
    )
    soonest = now + schedule.FIRST_POLL_AFTER_DEFERRAL  # whatever the clock of another machine has put into since
    assert first >= soonest - 1e-6
    assert first <= max(now + left, soonest) + 1e-6
    following = schedule.next_poll(
        now=now,
        since=since,
        deadline=now + left,
        poke_interval=poke_interval,
        random_fraction=random_fraction,
        pace=PACE,
        requests=requests,
    )
    assert now <= following <= max(now, now + left)


def polls_until(end: float, rng: random.Random, pace: Pace = PACE, waiting: int = MANY) -> tuple[int, float]:
    """Requests and delay of one generation that ends at this age, seen by the triggerer alone."""
    options = {"since": 0.0, "deadline": 1e9, "poke_interval": None, "pace": pace, "requests": waiting}
    at = schedule.first_poll(now=0, random_fraction=rng.random(), **options)
    for requests in itertools.count(1):
        if at >= end:
            return requests, at - end
        at = schedule.next_poll(now=at, random_fraction=rng.random(), **options)
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


@pytest.mark.parametrize("sigma", [0.35, 0.5])
def test_the_end_is_noticed_within_1_4_seconds_in_the_mean_while_few_wait(sigma: float) -> None:
    rng = random.Random(7)
    ends = [20 * math.exp(sigma * rng.gauss(0, 1)) for _ in range(20_000)]
    requests, delays = zip(*(polls_until(end, rng, waiting=FEW) for end in ends), strict=True)
    assert sum(delays) / len(ends) < 1.4
    assert sum(requests) / len(ends) < 6.5


@pytest.mark.parametrize(
    ("ahead", "elapsed", "left"),
    [
        (0, 0, 600),
        (0, 590, 30),  # nobody can tell it from a clock that is ahead
        (-120, 0, 600),
        (-120, 300, 420),
        (600, 0, 30),
        (86_400, 0, 30),
        (-86_400, 0, 600),
    ],
)
def test_a_wait_of_another_machine_goes_by_what_was_left_there(ahead: float, elapsed: float, left: float) -> None:
    here = 1000.0 + elapsed + ahead
    assert schedule.seconds_left(now=here, deadline=1600.0, remaining=600.0) == left
    assert schedule.seconds_left(now=here, deadline=1600.0, remaining=7.0) == 7.0
    assert schedule.seconds_left(now=here, deadline=None, remaining=600.0) == 600.0
    assert schedule.seconds_left(now=here, deadline=1600.0, remaining=None) == 1600.0 - here


def test_a_route_that_is_not_known_has_the_default_pace() -> None:
    assert schedule.pace_of("of a later release") == schedule.pace_of(DEFAULT_ROUTE) == PACE


@pytest.mark.parametrize("age", [0, 24, 25, 242, 500, 5000])
def test_an_image_is_polled_as_with_the_interval_of_before(age: float) -> None:
    assert schedule.interval(age, None, PACE, MANY) == schedule.interval(age, 20, PACE, MANY)


def test_a_video_is_polled_after_a_minute_and_then_every_twenty_seconds() -> None:
    options = {"since": 0.0, "deadline": 1e9, "random_fraction": 0.0, "pace": VIDEO_PACE, "requests": 1}
    assert schedule.first_poll(now=0.0, poke_interval=None, **options) == 60
    for requests in (0, 1, 10_000):
        intervals = [schedule.interval(age, None, VIDEO_PACE, requests) for age in (60, 399, 400, 7000)]
        assert intervals == [20, 20, 30, 30]
    assert schedule.worker_interval(None, VIDEO_PACE) == schedule.worker_interval(None, PACE) == 20


def test_an_interval_of_the_author_is_the_longest() -> None:
    options = {"since": 0.0, "deadline": 1e9, "random_fraction": 0.0, "pace": VIDEO_PACE, "requests": 1}
    assert schedule.first_poll(now=0.0, poke_interval=10.0, **options) == 10
    assert schedule.interval(500, 10.0, VIDEO_PACE, MANY) == 10
    assert schedule.interval(12, 3.0, PACE, MANY) == 3
    assert schedule.interval(12, 3.0, PACE, 1) == schedule.interval(12, 60.0, PACE, 1) == 2  # it makes none longer
    assert schedule.interval(12, 0.1, PACE, 1) == schedule.MIN_INTERVAL
    assert schedule.worker_interval(7.0, VIDEO_PACE) == 7


@pytest.mark.parametrize("median", [160, 320])
def test_a_video_takes_fewer_requests_than_a_fixed_poll_at_a_delay_of_ten_seconds(median: float) -> None:
    rng = random.Random(7)
    ends = [median * math.exp(0.5 * rng.gauss(0, 1)) for _ in range(20_000)]
    requests, delays = zip(*(polls_until(end, rng, VIDEO_PACE) for end in ends), strict=True)
    assert sum(requests) < 0.9 * sum(math.ceil(end / 20) for end in ends)
    assert sum(requests) < 0.25 * sum(math.ceil(end / 5) for end in ends)
    assert sum(delays) / len(ends) < 12


@pytest.mark.parametrize("name", route_names())
def test_the_deadline_of_a_route_is_the_timeout_of_a_wait(name: str) -> None:
    route = find_route(name)
    assert schedule.timeout_of(None, name) == (7200 if "videos" in route.results else 3600) <= schedule.LONGEST_DEADLINE
    assert schedule.timeout_of(5.0, name) == 5.0
