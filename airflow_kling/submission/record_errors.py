"""Says why a submission record cannot be used: each message tells what it means for the bill, and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_kling.exceptions import KlingSubmissionError


def unreadable(place: str, value: Any, wrong: Mapping[str, Any]) -> KlingSubmissionError:
    """The submission record of an earlier try is damaged, or of a release that wrote it otherwise.

    :param place: where it lies.
    :param value: as it is stored.
    :param wrong: the first wrong field, as pydantic tells of it.
    """
    known = value.get("external_task_id") if isinstance(value, Mapping) else None
    external_task_id = str(known or "unknown")
    field = ".".join(map(str, wrong["loc"])) or "record"
    return KlingSubmissionError(
        f"The submission record ({place}) cannot be read: {field}: {wrong['msg']}. Nothing was "
        f"submitted now, but an earlier try may have, under external_task_id {external_task_id!r}: look for that "
        "generation in the provider's console, then delete the record to submit a new one.",
        external_task_id=external_task_id,
        retryable=False,
    )


def not_reached(place: str, error: Exception, done: str, external_task_id: str = "unknown") -> KlingSubmissionError:
    """The place of the submission record does not answer.

    :param place: where it lies.
    :param done: ``read`` or ``written``.
    """
    earlier = " An earlier try may have." if done == "read" else ""
    return KlingSubmissionError(
        f"The submission record ({place}) could not be {done}: {type(error).__name__}: {str(error)[:300]}. Nothing is "
        f"submitted without it, and nothing was by this call.{earlier} A retry of the task tries again.",
        external_task_id=external_task_id,
        retryable=True,
    )


def of_another_run(
    place: str, *, started: str | None, external_task_id: str, kling_task_id: str | None
) -> KlingSubmissionError:
    """A record may be of a run that was deleted and made again, or of another Airflow without a ``namespace``.

    :param place: where this run's would lie.
    :param started: when the run of the record started.
    """
    made = f"Kling task {kling_task_id}" if kling_task_id else "a paid generation may exist"
    return KlingSubmissionError(
        f"This run has no submission record ({place}), but beside it lies one of a run of the same name that started "
        f"{started}, and nothing proves that it is not this run: it may be one that was deleted and made again, or "
        f"another Airflow's that has the same namespace. It tells of external_task_id {external_task_id!r} ({made}). "
        "Nothing was submitted by this run. Give each Airflow a namespace in its connection's extra; delete that "
        "record to submit a new generation, or archive that one by its Kling task id.",
        external_task_id=external_task_id,
        kling_task_id=kling_task_id,
        retryable=False,
    )
