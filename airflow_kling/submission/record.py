"""Keeps the submission record: what is known of the latest attempt, in Airflow's task state store (Airflow 3.3+)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from airflow_kling.api.routes import DEFAULT_ROUTE
from airflow_kling.exceptions import KlingSubmissionError

KEY = "kling_submission"

# What is known of an attempt's POST.
INTENDED, REFUSED, SUBMITTED = "intended", "refused", "submitted"


@dataclass(frozen=True)
class SubmissionRecord:
    """What is known of the latest attempt.

    :param state: ``intended`` before the POST; then ``submitted``, or ``refused`` when it is certain that nothing was
        created.
    :param fingerprint: of the input.
    :param since: epoch seconds just before the first POST of the attempt.
    :param route: records written before there were routes have none.
    """

    round: int
    first_round: bool
    attempt: int
    external_task_id: str
    fingerprint: str
    state: str
    since: float
    kling_task_id: str | None = None
    route: str = DEFAULT_ROUTE


class RecordStore:
    """One record in the task state store, which survives retries, clears and crashes.

    :param store: ``context["task_state_store"]``, None where Airflow has none: nothing is recorded then.
    """

    def __init__(self, store: Any) -> None:
        self._store = store

    @property
    def keeps(self) -> bool:
        """Whether what is written can be read by a later try."""
        return self._store is not None

    def read(self) -> SubmissionRecord | None:
        """The record, None when nothing was ever intended; fields of a later release are ignored.

        :raises KlingSubmissionError: it cannot be read, so nothing can tell whether a generation was paid for.
        """
        value = self._store.get(KEY) if self._store is not None else None
        if value is None:
            return None
        from pydantic import TypeAdapter, ValidationError

        try:
            return TypeAdapter(SubmissionRecord).validate_python(value)
        except ValidationError as error:
            raise _unreadable(value, error.errors(include_url=False)[0]) from None

    def write(self, record: SubmissionRecord) -> None:
        """Replace the record; durable when this returns."""
        if self._store is not None:
            self._store.set(KEY, asdict(record))


def _unreadable(value: Any, wrong: Mapping[str, Any]) -> KlingSubmissionError:
    """The submission record of an earlier try is damaged, or of a release that wrote it otherwise.

    :param value: as it is stored.
    :param wrong: the first wrong field, as pydantic tells of it.
    """
    known = value.get("external_task_id") if isinstance(value, Mapping) else None
    external_task_id = str(known or "unknown")
    field = ".".join(map(str, wrong["loc"])) or "record"
    return KlingSubmissionError(
        f"The submission record {KEY!r} in this task's state cannot be read: {field}: {wrong['msg']}. Nothing was "
        f"submitted now, but an earlier try may have, under external_task_id {external_task_id!r}: look for that "
        f"generation in the provider's console, then delete the task state {KEY!r} to submit a new one.",
        external_task_id=external_task_id,
        retryable=False,
    )
