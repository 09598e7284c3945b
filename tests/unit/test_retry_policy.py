"""What a retry policy makes of every error of ours; a real scheduler keeps to it in tests/airflow/system."""

from __future__ import annotations

import ast
import subprocess
import sys
from datetime import timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_3_PLUS

from airflow_kling import exceptions
from airflow_kling.exceptions import (
    KlingAccountError,
    KlingAuthenticationError,
    KlingConnectionError,
    KlingContentRejectedError,
    KlingDownloadError,
    KlingError,
    KlingImageError,
    KlingInputError,
    KlingRateLimitError,
    KlingServerError,
    KlingSubmissionError,
    KlingTaskFailed,
)

if AIRFLOW_V_3_3_PLUS:
    from airflow.sdk import RetryAction

    from airflow_kling.retry_policy import JITTER, MAX_DELAY, KlingRetryPolicy, decide

from_3_3 = pytest.mark.skipif(not AIRFLOW_V_3_3_PLUS, reason="Airflow has retry policies from 3.3 on")

FAILED = KlingTaskFailed("m", kling_task_id="1", status_message="internal")
MODERATED = KlingTaskFailed("m", kling_task_id="1", moderated=True)
FIELDS: dict[type[KlingError], dict[str, Any]] = {
    KlingConnectionError: {"request_sent": True},
    KlingTaskFailed: {"kling_task_id": "1"},
    KlingDownloadError: {"url": "https://h/0.png", "retryable": True},
    KlingImageError: {"url": "https://h/0.png", "retryable": False},
    KlingSubmissionError: {"external_task_id": "x", "retryable": True},
}
KINDS = [kind for kind in vars(exceptions).values() if isinstance(kind, type) and issubclass(kind, KlingError)]


def action(error: BaseException, *, submits: bool = True) -> str:
    value: str = decide(error, submits=submits, random_fraction=0.0).action.value
    return value


@pytest.mark.skipif(AIRFLOW_V_3_3_PLUS, reason="Airflow 3.3 has retry policies")
def test_older_airflows_are_told_so() -> None:
    with pytest.raises(ImportError, match=r"needs Airflow 3\.3 or newer; leave retry_policy out"):
        import airflow_kling.retry_policy  # noqa: F401


@from_3_3
@pytest.mark.parametrize("kind", KINDS)
def test_every_error_is_retried_or_failed_as_its_field_says(kind: type[KlingError]) -> None:
    error = kind("m", **FIELDS.get(kind, {}))
    assert action(error) == ("retry" if error.retryable else "fail")


@from_3_3
@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (KlingRateLimitError("m"), "retry"),
        (KlingServerError("m"), "retry"),
        (KlingConnectionError("m", request_sent=False), "retry"),
        (FAILED, "retry"),
        (MODERATED, "fail"),
        (KlingAuthenticationError("m"), "fail"),
        (KlingAccountError("m"), "fail"),
        (KlingContentRejectedError("m"), "fail"),
        (KlingInputError("m"), "fail"),
        (KlingSubmissionError("m", external_task_id="x", retryable=False), "fail"),
        (ValueError("not ours"), "default"),
        (KeyboardInterrupt(), "default"),
    ],
)
def test_retry_or_fail(error: BaseException, expected: str) -> None:
    assert action(error) == expected


@from_3_3
def test_a_failed_generation_is_only_tried_again_by_the_task_that_submits() -> None:
    assert action(FAILED, submits=False) == "fail"
    assert action(KlingServerError("m"), submits=False) == "retry"
    assert action(KlingDownloadError("m", url="u", retryable=True), submits=False) == "retry"


@from_3_3
@pytest.mark.parametrize("kind", [KlingRateLimitError, KlingServerError])
@pytest.mark.parametrize(
    ("retry_after", "random_fraction", "delay"),
    [(None, 0.5, None), (0.0, 0.5, None), (30.0, 0.0, 30.0), (30.0, 1.0, 33.0), (1e9, 0.0, 24 * 3600.0)],
)
def test_a_retry_comes_when_kling_asked_for_it(
    kind: type[KlingRateLimitError], retry_after: float | None, random_fraction: float, delay: float | None
) -> None:
    decision = decide(kind("m", retry_after=retry_after), submits=True, random_fraction=random_fraction)
    assert decision.action is RetryAction.RETRY
    assert decision.retry_delay == (None if delay is None else timedelta(seconds=delay))


@from_3_3
def test_the_policy_knows_which_tasks_submit() -> None:
    from airflow_kling.operators.archive import KlingArchiveImagesOperator
    from airflow_kling.operators.generate import KlingMultiImageToImageOperator
    from airflow_kling.sensors.task import KlingTaskSensor

    submit = KlingMultiImageToImageOperator(task_id="submit", subject_images=["https://example.com/a.png"] * 2)
    wait = KlingTaskSensor(task_id="wait", kling_task_id="1")
    archive = KlingArchiveImagesOperator(task_id="archive", task="1", destination="s3://bucket/kling")

    def of(task: Any) -> RetryAction:
        context: Any = None if task is None else {"task": task}
        return KlingRetryPolicy().evaluate(FAILED, 1, 3, context).action

    assert [of(task) for task in (submit, wait, archive)] == [RetryAction.RETRY, RetryAction.FAIL, RetryAction.FAIL]
    assert of(None) is RetryAction.RETRY


@from_3_3
def test_a_retry_of_many_is_spread() -> None:
    refused = KlingRateLimitError("m", retry_after=10)
    delays = {KlingRetryPolicy().evaluate(refused, 1, 3).retry_delay for _ in range(20)}
    assert len(delays) > 1
    assert timedelta(seconds=10) <= min(delays) < max(delays) <= timedelta(seconds=10 * (1 + JITTER))
    assert MAX_DELAY == 86400


@from_3_3
def test_it_imports_nothing_heavy() -> None:
    code = (
        "import sys, airflow.sdk; before = set(sys.modules); import airflow_kling.retry_policy; "
        "print(sorted(name for name in set(sys.modules) - before if name.startswith('airflow_kling')))"
    )
    printed = subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, capture_output=True, text=True)
    own = set(ast.literal_eval(printed.stdout.splitlines()[-1])) - {"airflow_kling"}
    assert own == {"airflow_kling.exceptions", "airflow_kling.retry_policy"}
