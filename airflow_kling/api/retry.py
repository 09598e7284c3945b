"""Decides which calls may be repeated, and when: pure functions over errors."""

from __future__ import annotations

from airflow_kling.exceptions import (
    KlingAPIError,
    KlingConnectionError,
    KlingError,
    KlingInputError,
    KlingRateLimitError,
    KlingServerError,
)

ATTEMPTS = 5  # of one call, the first included
BASE_DELAY = 1.0  # seconds; 1303 asks for at least one [C]
MAX_DELAY = 60.0  # seconds; caps the backoff and a Retry-After alike

NOTHING_CREATED = "Nothing was created."
MAY_BE_BILLED = "A generation may have been created and be billed."

MAINTENANCE = "5001"


def nothing_was_created(error: KlingError) -> bool:
    """Tell whether it is certain that a create that ended with this error created, and so billed, nothing.

    Certain where the request never left this machine, and where the API refused it in so many words. A 5xx, a lost
    connection or an answer that is not the API's own proves nothing; maintenance (5001) is a refusal. An error that
    names a Kling task speaks of one that exists.

    :param error: of a create.
    """
    if error.kling_task_id:
        return False
    if isinstance(error, KlingConnectionError):
        return not error.request_sent
    if isinstance(error, KlingServerError):
        return error.code == MAINTENANCE
    return isinstance(error, KlingAPIError | KlingInputError)


def with_money(error: KlingError) -> KlingError:
    """Have the message of a create's error say what it means for the bill."""
    error.money = NOTHING_CREATED if nothing_was_created(error) else MAY_BE_BILLED
    return error


def delay_after_refusal(
    error: KlingError, refusals: int, *, now: float, deadline: float, random_fraction: float
) -> float | None:
    """Return the seconds before a submission that Kling refused for now may be sent again; None for other errors.

    For now means: too many requests or parallel tasks, or maintenance. Nothing was created, unless the error says so.

    :param refusals: how many there were, from 1.
    :param now: seconds on the clock of ``deadline``.
    """
    refused = isinstance(error, KlingRateLimitError) or error.code == MAINTENANCE
    if not refused or error.money == MAY_BE_BILLED:
        return None
    delay = backoff(error, refusals, random_fraction=random_fraction)
    return delay if now + delay < deadline else None


def backoff(error: Exception, attempt: int, *, random_fraction: float) -> float:
    """Return the seconds before the next try: exponential, half of it jitter, at least ``Retry-After``, capped.

    :param attempt: tries made so far, from 1.
    :param random_fraction: a random number in [0, 1).
    """
    exponential = BASE_DELAY * 2.0 ** min(attempt - 1, 16)
    asked = getattr(error, "retry_after", None) or 0.0
    return float(min(MAX_DELAY, max(asked, BASE_DELAY) + exponential * random_fraction))


def delay_before_repeat(
    error: KlingError, attempt: int, *, creates: bool, now: float, deadline: float, random_fraction: float
) -> float | None:
    """Return the seconds before the same call may be sent again; None when it may not, or no time is left.

    :param creates: the call is the paid one: repeated only when it never reached the API.
    :param now: seconds on the clock of ``deadline``.
    """
    may_repeat = isinstance(error, KlingConnectionError) and not error.request_sent if creates else error.retryable
    if not may_repeat or attempt >= ATTEMPTS:
        return None
    delay = backoff(error, attempt, random_fraction=random_fraction)
    return delay if now + delay < deadline else None
