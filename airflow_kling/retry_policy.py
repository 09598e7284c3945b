"""Decides what an error of Kling means for the next try of a task: ``KlingRetryPolicy`` (Airflow 3.3+).

Without it operators and sensor already fail at once what no retry can mend, and Airflow waits the
task's ``retry_delay`` before every retry of the rest. The policy adds three things:

- a retry comes when Kling asked for it (``Retry-After``), not before and not minutes after;
- a wait or an archive of a generation that has failed is not tried again: only its submission can be;
- tasks of your own that use ``KlingHook`` fail and retry by the same rules, which a plain ``KlingError`` from them
  does not.
"""

from __future__ import annotations

import random
from datetime import timedelta
from typing import TYPE_CHECKING

from airflow_kling.exceptions import KlingError, KlingTaskFailed

try:
    from airflow.providers.common.compat.sdk import RetryDecision, RetryPolicy
except ImportError:
    raise ImportError(
        "KlingRetryPolicy needs Airflow 3.3 or newer; leave retry_policy out on older ones, where the errors that no "
        "retry can mend fail at once all the same."
    ) from None

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

MAX_DELAY = 24 * 3600.0  # seconds; more than that is no wait but an outage, or an odd clock at the other end
JITTER = 0.1  # of the delay, upwards: tasks that were refused together do not come back together


class KlingRetryPolicy(RetryPolicy):
    """Retry, wait or fail, as the error says; for tasks of this provider and for those that use ``KlingHook``.

    Give it to a task, or to all tasks of a DAG or group: ``default_args={"retries": 3, "retry_policy":
    KlingRetryPolicy()}``. It never extends ``retries``, and every other exception is left to Airflow.
    """

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Context | None = None
    ) -> RetryDecision:
        """Decide on the class and the fields of the error."""
        return decide(exception, submits=_submits(context), random_fraction=random.random())


def decide(error: BaseException, *, submits: bool, random_fraction: float) -> RetryDecision:
    """What to do after a failure.

    :param submits: the next try would submit a new generation in place of one that failed.
    :param random_fraction: a random number in [0, 1).
    """
    if not isinstance(error, KlingError):
        return RetryDecision.default()
    if not error.retryable:
        return RetryDecision.fail(f"No retry can mend a {type(error).__name__}.")
    if isinstance(error, KlingTaskFailed) and not submits:
        return RetryDecision.fail("The generation has failed, waiting again cannot change that; clear its submission.")
    retry_after = getattr(error, "retry_after", None)
    if not retry_after:
        return RetryDecision.retry(reason=f"A {type(error).__name__} may pass.")
    delay = min(MAX_DELAY, retry_after) * (1 + JITTER * random_fraction)
    return RetryDecision.retry(timedelta(seconds=delay), f"Kling asked to wait {retry_after:.0f} s.")


def _submits(context: Context | None) -> bool:
    from airflow_kling.operators.archive import KlingArchiveImagesOperator
    from airflow_kling.sensors.task import KlingTaskSensor

    return not isinstance((context or {}).get("task"), KlingTaskSensor | KlingArchiveImagesOperator)
