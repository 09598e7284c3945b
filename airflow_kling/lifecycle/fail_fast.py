"""Decides what Airflow does with an error of ours: retry the task, or fail it at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_kling import exceptions


@contextmanager
def failing_fast() -> Iterator[None]:
    """Let retryable errors pass; raise the others so that Airflow does not retry the task.

    What is raised is of the same class and has the same fields, and is an ``AirflowFailException`` as well.
    """
    try:
        yield
    except exceptions.KlingError as error:
        if error.retryable or isinstance(error, AirflowFailException):
            raise
        raise _final(error) from error.__cause__


def _final(error: exceptions.KlingError) -> exceptions.KlingError:
    kind = next(FINAL[base] for base in type(error).__mro__ if base in FINAL)
    final = kind.__new__(kind, *error.args)  # without __init__: each class has arguments of its own
    vars(final).update(vars(error))
    return final


# Each has the name of its base, which is what task logs show.


class KlingError(exceptions.KlingError, AirflowFailException):
    """As its base; no retry can mend it."""


class KlingInputError(exceptions.KlingInputError, AirflowFailException):
    """As its base; no retry can mend it."""


class KlingAPIError(exceptions.KlingAPIError, AirflowFailException):
    """As its base; no retry can mend it."""


class KlingAuthenticationError(exceptions.KlingAuthenticationError, AirflowFailException):
    """As its base; no retry can mend it."""


class KlingPermissionError(exceptions.KlingPermissionError, AirflowFailException):
    """As its base; no retry can mend it."""


class KlingAccountError(exceptions.KlingAccountError, AirflowFailException):
    """As its base; no retry can mend it."""


class KlingBadRequestError(exceptions.KlingBadRequestError, AirflowFailException):
    """As its base; no retry can mend it."""


class KlingContentRejectedError(exceptions.KlingContentRejectedError, AirflowFailException):
    """As its base; no retry can mend it."""


class KlingTaskNotFoundError(exceptions.KlingTaskNotFoundError, AirflowFailException):
    """As its base; no retry can mend it."""


class KlingTaskFailed(exceptions.KlingTaskFailed, AirflowFailException):
    """As its base; no retry can mend it."""


class KlingDownloadError(exceptions.KlingDownloadError, AirflowFailException):
    """As its base; no retry can mend it."""


class KlingImageError(exceptions.KlingImageError, AirflowFailException):
    """As its base; no retry can mend it."""


class KlingSubmissionError(exceptions.KlingSubmissionError, AirflowFailException):
    """As its base; no retry can mend it."""


_KINDS: tuple[type[exceptions.KlingError], ...] = (
    KlingError,
    KlingInputError,
    KlingAPIError,
    KlingAuthenticationError,
    KlingPermissionError,
    KlingAccountError,
    KlingBadRequestError,
    KlingContentRejectedError,
    KlingTaskNotFoundError,
    KlingTaskFailed,
    KlingDownloadError,
    KlingImageError,
    KlingSubmissionError,
)
FINAL = {kind.__bases__[0]: kind for kind in _KINDS}
