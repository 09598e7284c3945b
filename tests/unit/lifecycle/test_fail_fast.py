"""Which errors Airflow may retry: the others are an ``AirflowFailException`` as well."""

from __future__ import annotations

import traceback

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_kling.exceptions import (
    KlingAccountError,
    KlingAuthenticationError,
    KlingConnectionError,
    KlingDownloadError,
    KlingError,
    KlingInputError,
    KlingRateLimitError,
    KlingServerError,
    KlingTaskFailed,
    KlingTaskNotFoundError,
)
from airflow_kling.lifecycle.fail_fast import failing_fast


def raised(error: BaseException) -> BaseException:
    with pytest.raises(type(error)) as caught, failing_fast():
        raise error
    return caught.value


PASSING = [
    KlingConnectionError("m", request_sent=True),
    KlingServerError("m"),
    KlingRateLimitError("m"),
    KlingTaskFailed("m", kling_task_id="1"),
    KlingDownloadError("m", url="u", retryable=True),
]


@pytest.mark.parametrize("error", PASSING, ids=lambda error: type(error).__name__)
def test_passing_errors_are_left_to_the_retries_of_the_task(error: KlingError) -> None:
    assert raised(error) is error
    assert not isinstance(error, AirflowFailException)


FINAL = [
    KlingInputError("m"),
    KlingAuthenticationError("m", http_status=401, code="1000", request_id="r", kling_task_id="8334"),
    KlingAccountError("m", http_status=429, code="1101"),
    KlingTaskNotFoundError("m", kling_task_id="8334"),
    KlingTaskFailed("m", kling_task_id="1", status_message="risk control", moderated=True),
    KlingDownloadError("m", url="u", retryable=False),
]


@pytest.mark.parametrize("error", FINAL, ids=lambda error: type(error).__name__)
def test_final_errors_fail_the_task_with_the_same_class_and_fields(error: KlingError) -> None:
    final = raised(error)
    assert isinstance(final, AirflowFailException)
    assert isinstance(final, type(error))
    assert vars(final) == vars(error)
    assert final.args == error.args
    assert str(final) == str(error)
    assert type(final).__name__ == type(error).__name__
    assert type(final).__module__ == type(error).__module__
    assert type(final).__doc__ == type(error).__doc__


@pytest.mark.parametrize("error", FINAL, ids=lambda error: type(error).__name__)
def test_traceback_shows_one_exception(error: KlingError) -> None:
    text = "".join(traceback.format_exception(raised(error)))
    assert text.count("Traceback") == 1


def test_cause_is_kept() -> None:
    cause = OSError("no such file")
    with pytest.raises(KlingInputError) as caught, failing_fast():
        raise KlingInputError("m") from cause
    assert caught.value.__cause__ is cause


def test_nesting_raises_the_same_error_once() -> None:
    with pytest.raises(KlingInputError) as caught, failing_fast(), failing_fast():
        raise KlingInputError("m")
    assert type(caught.value).__mro__.count(AirflowFailException) == 1
    assert caught.value.__context__ is None or isinstance(caught.value.__context__, KlingInputError)


@pytest.mark.parametrize("error", [ValueError("m"), KeyboardInterrupt(), AirflowFailException("m")], ids=repr)
def test_other_exceptions_pass_untouched(error: BaseException) -> None:
    assert raised(error) is error


def test_nothing_happens_without_an_error() -> None:
    with failing_fast():
        value = 1
    assert value == 1
