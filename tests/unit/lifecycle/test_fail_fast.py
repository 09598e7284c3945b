"""Which errors Airflow may retry: the others are an ``AirflowFailException`` as well."""

from __future__ import annotations

import traceback

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_kling import exceptions
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
from airflow_kling.lifecycle import fail_fast
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


def test_every_class_that_a_retry_may_not_mend_has_a_final_one_of_its_name() -> None:
    ours = {kind for kind in vars(exceptions).values() if isinstance(kind, type) and issubclass(kind, KlingError)}
    passing = {kind for kind in ours if kind.retryable}
    assert set(fail_fast.FINAL) == ours - passing
    for kind, final in fail_fast.FINAL.items():
        assert issubclass(final, AirflowFailException)
        assert final.__name__ == kind.__name__


def test_an_error_of_somebody_elses_class_fails_too() -> None:
    class Own(KlingInputError):
        pass

    with pytest.raises(KlingInputError) as caught, failing_fast():
        raise Own("m")
    assert isinstance(caught.value, AirflowFailException)


def test_what_became_of_the_money_is_kept() -> None:
    error = KlingAccountError("Refused.")
    error.money = "Nothing was created."
    assert str(raised(error)) == "Refused. Nothing was created."


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
