"""When to look at a task again and what a look means: pure functions for every loop that waits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_kling.exceptions import KlingError

if TYPE_CHECKING:
    from typing import Protocol

    from airflow_kling.api.tasks import KlingTask, TaskStatus

    class Rule(Protocol):
        """When to look, in epoch seconds."""

        def __call__(self, *, now: float, since: float, deadline: float, poke_interval: float, dice: float) -> float:
            """:func:`first_look` or :func:`next_look`."""
            ...


# Airflow 3.3.2 fails a deferred task whose trigger fires before the scheduler has seen the deferral
# (apache/airflow#67287: 8 % of tasks after 2 s, 2 % after 5 s), so the triggerer looks no sooner than this.
FIRST_LOOK_AFTER_DEFERRAL = 5.0  # seconds
POKE_INTERVAL = 20.0  # seconds; CometAPI recommends 20 to 30 [C]
TIMEOUT = 3600.0  # seconds; images take 8 to 41 s [C]

# Nothing is ready in the first ten seconds, most images in the half minute after that [C]; then the interval grows with
# the age, so that the delay of a detection stays below PROPORTION of the run time.
FIRST_LOOK = 11.0  # seconds of age
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


def verdict(look: KlingTask | TaskStatus | KlingError, *, now: float, deadline: float) -> str | None:
    """What one look at a task means.

    :param look: the task, or the error that came in its place.
    :param now: epoch seconds, like ``deadline``.
    :return: the terminal status (``succeed``, ``failed``), ``error`` where waiting cannot help (the key is refused, the
        task does not exist), ``timeout`` past the deadline, None to look again: an unknown status and a passing error
        mean "not finished yet".
    """
    if isinstance(look, KlingError):
        if not look.retryable:
            return ERROR
    elif look.finished:
        return look.status
    return TIMED_OUT if now >= deadline else None


def interval(age: float, poke_interval: float) -> float:
    """Seconds between two looks at a task of this age, at most ``poke_interval``."""
    dense = DENSE_INTERVAL if age < DENSE_UNTIL else LATER_INTERVAL
    return max(MIN_INTERVAL, min(poke_interval, max(dense, PROPORTION * age)))


def first_look(*, now: float, since: float, deadline: float, poke_interval: float, dice: float) -> float:
    """When the triggerer looks first, in epoch seconds.

    :param since: when the wait began; long ago after a restart of the triggerer, which then spreads its looks.
    :param dice: a random number in [0, 1).
    """
    age = max(FIRST_LOOK_AFTER_DEFERRAL, min(FIRST_LOOK, poke_interval))
    if now - since < age:
        return min(since + age * (1 + JITTER * dice), max(deadline, since + FIRST_LOOK_AFTER_DEFERRAL))
    return min(now + interval(now - since, poke_interval) * dice, max(deadline, now))


def next_look(*, now: float, since: float, deadline: float, poke_interval: float, dice: float) -> float:
    """When to look again, in epoch seconds; never past the deadline."""
    jitter = 1 + JITTER * (2 * dice - 1)
    return max(now, min(deadline, now + interval(now - since, poke_interval) * jitter))


@dataclass
class TokenBucket:
    """At most ``rate`` requests a second, with bursts of a second's worth.

    :param rate: requests per second.
    """

    rate: float
    _tokens: float = 1.0
    _at: float = 0.0

    def take(self, now: float) -> float:
        """Take a token; return the seconds to wait before using it."""
        self._tokens = min(max(1.0, self.rate), self._tokens + max(0.0, now - self._at) * self.rate) - 1
        self._at = now
        return max(0.0, -self._tokens / self.rate)
