"""The tree of errors: fields in place of formatted text, and which of them may pass."""

from __future__ import annotations

import inspect
import pickle

import pytest

from airflow_kling import exceptions
from airflow_kling.exceptions import (
    KlingAPIError,
    KlingConnectionError,
    KlingDownloadError,
    KlingError,
    KlingImageError,
    KlingInputError,
    KlingNotFinishedError,
    KlingRateLimitError,
    KlingServerError,
    KlingTaskFailed,
)

ALL = [kind for _, kind in inspect.getmembers(exceptions, inspect.isclass) if kind.__module__ == exceptions.__name__]


@pytest.mark.parametrize("kind", ALL)
def test_every_error_is_a_kling_error_with_a_docstring(kind: type) -> None:
    assert issubclass(kind, KlingError)
    assert kind.__doc__


def test_input_error_is_a_value_error_too() -> None:
    assert issubclass(KlingInputError, ValueError)


def test_fields() -> None:
    error = KlingAPIError("m", http_status=429, code="1303", request_id="r", kling_task_id="8334")
    assert (error.http_status, error.code, error.request_id, error.kling_task_id) == (429, "1303", "r", "8334")
    assert str(error) == "m"


@pytest.mark.parametrize("kind", [KlingRateLimitError, KlingServerError])
def test_what_passes_may_say_when(kind: type[KlingRateLimitError] | type[KlingServerError]) -> None:
    error = kind("m", retry_after=7.0, http_status=503, code="5001")
    assert (error.retry_after, error.http_status, error.code) == (7.0, 503, "5001")
    assert kind("m").retry_after is None


@pytest.mark.parametrize(
    ("error", "retryable"),
    [
        (KlingConnectionError("m", request_sent=True), True),
        (KlingConnectionError("m", request_sent=False), True),
        (KlingRateLimitError("m"), True),
        (KlingServerError("m"), True),
        (KlingNotFinishedError("m"), True),
        (KlingTaskFailed("m", kling_task_id="1"), True),
        (KlingTaskFailed("m", kling_task_id="1", moderated=True), False),
        (KlingDownloadError("m", url="u", retryable=True), True),
        (KlingDownloadError("m", url="u", retryable=False), False),
        (KlingImageError("m", url="u", retryable=True), True),
        (KlingInputError("m"), False),
        (exceptions.KlingAuthenticationError("m"), False),
        (exceptions.KlingPermissionError("m"), False),
        (exceptions.KlingAccountError("m"), False),
        (exceptions.KlingBadRequestError("m"), False),
        (exceptions.KlingContentRejectedError("m"), False),
        (exceptions.KlingTaskNotFoundError("m"), False),
    ],
)
def test_retryable(error: KlingError, retryable: bool) -> None:
    assert error.retryable is retryable


def test_money_comes_after_the_message() -> None:
    error = KlingServerError("Kling failed.")
    assert str(error) == "Kling failed."
    error.money = "A generation may have been created and be billed."
    assert str(error) == "Kling failed. A generation may have been created and be billed."


def test_fields_survive_pickling_where_the_message_is_all_that_is_required() -> None:
    copy = pickle.loads(pickle.dumps(KlingAPIError("m", http_status=404, code="1203")))
    assert (str(copy), copy.http_status, copy.code) == ("m", 404, "1203")
