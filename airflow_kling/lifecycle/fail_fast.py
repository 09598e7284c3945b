"""What Airflow does with an error of ours: retry the task, or fail it at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_kling.exceptions import KlingError


@contextmanager
def failing_fast() -> Iterator[None]:
    """Let retryable errors pass; raise the others so that Airflow does not retry the task.

    The exception raised is of the same class and has the same fields, and is an ``AirflowFailException`` as well.
    """
    try:
        yield
    except KlingError as error:
        if error.retryable or isinstance(error, AirflowFailException):
            raise
        final = _failing(type(error))
        raised = final.__new__(final)
        raised.args = error.args
        vars(raised).update(vars(error))
        raise raised from error.__cause__


def _failing(kind: type[KlingError]) -> type[KlingError]:
    namespace = {"__doc__": kind.__doc__, "__module__": kind.__module__}
    return cast(type[KlingError], type(kind.__name__, (kind, AirflowFailException), namespace))
