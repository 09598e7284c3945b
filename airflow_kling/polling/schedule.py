"""Decides when a task is polled, and what an answer means: pure functions for every loop that waits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_kling.exceptions import KlingError

if TYPE_CHECKING:
    from typing import Protocol

    from airflow_kling.api.tasks import KlingTask, TaskStatus

    class Rule(Protocol):
        """When to poll, in epoch seconds."""

        def __call__(
            self, *, now: float, since: float, deadline: float, poke_interval: float, random_fraction: float
        ) -> float:
            """:func:`first_poll` or :func:`next_poll`."""
            ...


# Airflow 3.3.2 fails a deferred task whose trigger fires before the scheduler has seen the deferral
# (apache/airflow#67287: 8 % of tasks after 2 s, 2 % after 5 s), so the triggerer polls no sooner than this.
FIRST_POLL_AFTER_DEFERRAL = 5.0  # seconds
POKE_INTERVAL = 20.0  # seconds; CometAPI recommends 20 to 30 [C]
TIMEOUT = 3600.0  # seconds; images take 8 to 41 s [C]

# Nothing is ready in the first ten seconds, most images in the half minute after that [C]; then the interval grows with
# the age, so that the delay with which an end is noticed stays below PROPORTION of the run time.
FIRST_POLL = 11.0  # seconds of age
DENSE_UNTIL, DENSE_INTERVAL = 25.0, 4.2  # seconds of age, seconds
LATER_INTERVAL = 4.85  # seconds
PROPORTION = 0.02
MIN_INTERVAL = 1.0  # seconds, whatever poke_interval says
JITTER = 0.1  # of an interval, up or down

RUNS_ON = (
    "No longer waiting for Kling task %s. Kling has no cancel call: the generation runs on and is billed when it "
    "succeeds; its images can still be archived by this id."
)

TIMED_OUT, ERROR = "timeout", "error"


def verdict(answer: KlingTask | TaskStatus | KlingError, *, now: float, deadline: float) -> str | None:
    """What one answer to a poll means.

    :param answer: the task, or the error that came in its place.
    :param now: epoch seconds, like ``deadline``.
    :return: the terminal status (``succeed``, ``failed``), ``error`` where waiting cannot help (the key is refused, the
        task does not exist), ``timeout`` past the deadline, None to poll again: an unknown status and a passing error
        mean "not finished yet".
    """
    if isinstance(answer, KlingError):
        if not answer.retryable:
            return ERROR
    elif answer.finished:
        return answer.status
    return TIMED_OUT if now >= deadline else None


def interval(age: float, poke_interval: float) -> float:
    """Seconds between two polls of a task of this age, at most ``poke_interval``."""
    dense = DENSE_INTERVAL if age < DENSE_UNTIL else LATER_INTERVAL
    return max(MIN_INTERVAL, min(poke_interval, max(dense, PROPORTION * age)))


def first_poll(*, now: float, since: float, deadline: float, poke_interval: float, random_fraction: float) -> float:
    """When the triggerer polls first, in epoch seconds.

    :param since: when the wait began; long ago after a restart of the triggerer, which then spreads its polls.
    :param random_fraction: a random number in [0, 1).
    """
    age = max(FIRST_POLL_AFTER_DEFERRAL, min(FIRST_POLL, poke_interval))
    if now - since < age:
        return min(since + age * (1 + JITTER * random_fraction), max(deadline, since + FIRST_POLL_AFTER_DEFERRAL))
    return min(now + interval(now - since, poke_interval) * random_fraction, max(deadline, now))


def next_poll(*, now: float, since: float, deadline: float, poke_interval: float, random_fraction: float) -> float:
    """When to poll again, in epoch seconds; never past the deadline."""
    jitter = 1 + JITTER * (2 * random_fraction - 1)
    return max(now, min(deadline, now + interval(now - since, poke_interval) * jitter))
