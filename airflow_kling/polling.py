"""Waiting for a task: when to look again and what a look means, as pure functions for every loop that waits."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from airflow_kling.exceptions import KlingError

if TYPE_CHECKING:
    from airflow_kling.api.models import KlingTask

# Airflow 3.3.2 fails a deferred task whose trigger fires before the scheduler has seen the deferral
# (apache/airflow#67287: 8 % of tasks after 2 s, 2 % after 5 s), so the triggerer looks no sooner than this.
FIRST_LOOK_AFTER_DEFERRAL = 5.0  # seconds
POKE_INTERVAL = 20.0  # seconds; CometAPI recommends 20 to 30 [C]
TIMEOUT = 3600.0  # seconds; images take 8 to 41 s [C]

RUNS_ON = (
    "No longer waiting for Kling task %s. Kling has no cancel call: the generation runs on and is billed when it "
    "succeeds; its images can still be archived by this id."
)

TIMED_OUT, ERROR = "timeout", "error"


def verdict(look: KlingTask | KlingError, *, now: float, deadline: float) -> str | None:
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


def next_look(*, now: float, deadline: float, poke_interval: float, retry_after: float | None = None) -> float:
    """Seconds until the next look: the interval, or longer where the API asks for it, but never past the deadline."""
    return max(0.0, min(max(poke_interval, retry_after or 0.0), deadline - now))


def seconds(value: timedelta | float) -> float:
    """A duration as seconds."""
    return value.total_seconds() if isinstance(value, timedelta) else float(value)
