"""Decides when a task is polled, and what an answer means: pure functions for every loop that waits."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from airflow_kling.api.routes import DEFAULT_ROUTE, find_route
from airflow_kling.exceptions import KlingError, KlingInputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sized

    from airflow_kling.api.route import Pace
    from airflow_kling.api.tasks import KlingTask, TaskStatus

    Rule = Callable[..., float]  # first_poll or next_poll


# Airflow 3.3.2 fails a deferred task whose trigger fires before the scheduler has seen the deferral
# (apache/airflow#67287: 8 % of tasks after 2 s, 2 % after 5 s), so the triggerer polls no sooner than this.
FIRST_POLL_AFTER_DEFERRAL = 5.0  # seconds
LONGEST_INTERVAL = 20.0  # seconds, where neither author nor route says otherwise; CometAPI recommends 20 to 30 [C]
LONGEST_DEADLINE = 7200.0  # seconds; no route's pace has more
SUBMIT_TIMEOUT = 3600.0  # seconds that a submission waits for a slot of the account

MAX_WAIT = 30 * 86_400.0  # seconds; Kling deletes a task after 30 days [C]
# A clock that is ahead of the worker's would end a wait at once, and the worker would begin it anew.
DESPITE_THE_CLOCK = 30.0  # seconds that a wait has in any case

# The interval grows with the age, so that the delay with which an end is noticed stays below this part of the run time.
PROPORTION = 0.02
MIN_INTERVAL = 1.0  # seconds, whatever poke_interval says
JITTER = 0.1  # of an interval, up or down

# What a connection may send so that few tasks are polled more often: it takes the triggerer some 2 ms of CPU a second,
# and is far below max_requests_per_second, 400 by default.
QUICK_REQUESTS_PER_SECOND = 10.0
LISTED = 0.05  # of a request; what a task takes that a list tells of: a page of 500 takes the loop 3.2 ms, a query 0.17

RUNS_ON = (
    "No longer waiting for Kling task %s. Kling has no cancel call: the generation runs on and is billed when it "
    "succeeds; its images can still be archived by this id."
)

TIMED_OUT, ERROR = "timeout", "error"


def verdict(answer: KlingTask | TaskStatus | KlingError, *, now: float, deadline: float) -> str | None:
    """What one answer to a poll means.

    :param answer: the task, or the error that came in its place.
    :param now: seconds of any clock, like ``deadline``.
    :return: the terminal status (``succeed``, ``failed``), ``error`` where waiting cannot help (the key is refused, the
        task does not exist), ``timeout`` past the deadline, None to poll again: an unknown status, a success without
        its results and a passing error mean "not finished yet".
    """
    if isinstance(answer, KlingError):
        if not answer.retryable:
            return ERROR
    elif answer.finished:
        return answer.status
    return TIMED_OUT if now >= deadline else None


@cache
def pace_of(route: str) -> Pace:
    """Return the pace of a route; of one that this process does not know, the default route's."""
    try:
        return find_route(route).pace
    except KlingInputError:
        return find_route(DEFAULT_ROUTE).pace


def seconds_left(*, now: float, deadline: float | None, remaining: float | None) -> float:
    """Return how long a wait may take from now on, when another machine has begun it, whose clock may be another.

    :param now: epoch seconds by the clock here.
    :param deadline: epoch seconds by the clock there; None where the two clocks are known to be apart.
    :param remaining: seconds that were left there, of which a wait never gets more, and never none at once; None for a
        wait that was stored before they were sent.
    """
    by_clock = MAX_WAIT if deadline is None else min(MAX_WAIT, deadline - now)
    return by_clock if remaining is None else min(remaining, max(by_clock, DESPITE_THE_CLOCK))


def longest_interval(pace: Pace) -> float:
    """Seconds between two polls at most, where the author says nothing: what a route's pace has is never cut short."""
    return max(LONGEST_INTERVAL, pace.dense_interval, pace.later_interval)


def requests_of(waiting: Mapping[str, Sized]) -> int:
    """Count the requests that it takes to ask once for each task that may be polled quickly.

    :param waiting: the tasks that wait on a connection, by route.
    """
    return sum(len(tasks) for route, tasks in waiting.items() if pace_of(route).quick_interval is not None)


def interval(age: float, poke_interval: float | None, pace: Pace, requests: float) -> float:
    """Seconds between two polls of a task of this age.

    :param poke_interval: what they are at most; None for :func:`longest_interval`.
    :param requests: :func:`requests_of` the connection; ``LISTED`` of it where a list tells of them.
    """
    most = longest_interval(pace) if poke_interval is None else poke_interval
    usual = pace.dense_interval if age < pace.dense_until else pace.later_interval
    if pace.quick_interval is not None:
        usual = max(pace.quick_interval, min(usual, requests / QUICK_REQUESTS_PER_SECOND))
    return max(MIN_INTERVAL, min(most, max(usual, PROPORTION * age)))


def worker_interval(poke_interval: float | None, pace: Pace) -> float:
    """Seconds between two polls of a worker: what the author says, else the dense interval, but not more often."""
    return max(LONGEST_INTERVAL, pace.dense_interval) if poke_interval is None else poke_interval


def timeout_of(timeout: float | None, route: str) -> float:
    """Return how long a wait takes at most: what the author says, else the deadline of the route's pace."""
    return pace_of(route).deadline if timeout is None else timeout


def first_poll(
    *,
    now: float,
    since: float,
    deadline: float,
    poke_interval: float | None,
    random_fraction: float,
    pace: Pace,
    requests: float,
) -> float:
    """When the triggerer polls first.

    :param now: when the trigger started here.
    :param since: when the wait began; long ago after a restart of the triggerer, which then spreads its polls.
    :param random_fraction: a random number in [0, 1).
    :param requests: as for :func:`interval`.
    """
    first = pace.first_poll if poke_interval is None else min(pace.first_poll, poke_interval)
    age = max(FIRST_POLL_AFTER_DEFERRAL, first)
    if now - since < age:
        at = since + age * (1 + JITTER * random_fraction)
    else:
        at = now + interval(now - since, poke_interval, pace, requests) * random_fraction
    return max(now + FIRST_POLL_AFTER_DEFERRAL, min(at, deadline))


def next_poll(
    *,
    now: float,
    since: float,
    deadline: float,
    poke_interval: float | None,
    random_fraction: float,
    pace: Pace,
    requests: float,
) -> float:
    """When to poll again; never past the deadline."""
    jitter = 1 + JITTER * (2 * random_fraction - 1)
    return max(now, min(deadline, now + interval(now - since, poke_interval, pace, requests) * jitter))
