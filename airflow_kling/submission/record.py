"""Keeps the submission record: what is known of a task instance's latest attempt.

Airflow 3.3 and later keep it in the task state store; on every line it may be kept in object storage instead, see
:mod:`airflow_kling.submission.object_records`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Any, Protocol

from airflow_kling.api.routes import DEFAULT_ROUTE
from airflow_kling.submission import record_errors
from airflow_kling.submission.identity import Identity, Kind, Run
from airflow_kling.submission.proof import earlier_record

KEY = "kling_submission"
_NEVER_EXPIRE = timedelta.max  # airflow.sdk.NEVER_EXPIRE, which Airflow knows by its identity

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
    :param kind: of the ``external_task_id``; None in records that were written before there were kinds.
    :param try_number: which wrote the record.
    :param run: in which it was written.
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
    kind: Kind | None = None
    try_number: int = 1
    run: Run = field(default_factory=Run)


class Place(Protocol):
    """Where one task instance's record lies.

    :param name: for messages.
    """

    name: str

    def read(self) -> Any:
        """Return what was written last, None for nothing."""
        ...

    def others(self) -> Sequence[Any]:
        """Return what was written under the same name before the run's start moved, or by another run."""
        ...

    def write(self, value: dict[str, Any]) -> None:
        """Replace it; durable when this returns."""
        ...


class TaskState:
    """The task state store of Airflow 3.3+, which ends with the DAG run.

    :param store: ``context["task_state_store"]``.
    """

    name = f"task state {KEY!r}"

    def __init__(self, store: Any) -> None:
        self._store = store

    def read(self) -> Any:
        """Return what was written last, None for nothing."""
        return self._store.get(KEY)

    def others(self) -> Sequence[Any]:
        """None: no two runs share it, and a clear leaves it."""
        return ()

    def write(self, value: dict[str, Any]) -> None:
        """Replace it, for good: by default Airflow deletes it after 30 days."""
        self._store.set(KEY, value, retention=_NEVER_EXPIRE)


class RecordStore:
    """One task instance's record, which survives retries, clears and crashes.

    :param place: where it lies; None where there is none: nothing is recorded then.
    :param lasts: a later try looks in the same place. Where it may not, a record is a help, and none is no proof.
    """

    def __init__(self, place: Place | None, *, lasts: bool = True) -> None:
        self._place = place
        self._lasts = lasts

    @property
    def keeps(self) -> bool:
        """Whether what is written is read by a later try."""
        return self._place is not None and self._lasts

    def read(self, identity: Identity) -> SubmissionRecord | None:
        """The record, None when nothing was ever intended; fields of a later release are ignored.

        :raises KlingSubmissionError: it cannot be read, or may be another run's.
        """
        if self._place is None:
            return None
        try:
            value = self._place.read()
            others = self._place.others() if value is None and not identity.first_try else ()
        except Exception as error:  # each storage library has errors of its own
            raise record_errors.not_reached(self._place.name, error, "read") from error
        if value is not None:
            return _parse(self._place.name, value)
        try:
            return earlier_record([_parse(self._place.name, other) for other in others], identity)
        except LookupError as error:
            record = error.args[0]
            raise record_errors.of_another_run(
                self._place.name,
                started=record.run.started,
                external_task_id=record.external_task_id,
                kling_task_id=record.kling_task_id,
            ) from None

    def write(self, record: SubmissionRecord) -> None:
        """Replace the record; durable when this returns.

        :raises KlingSubmissionError: it could not be written.
        """
        if self._place is None:
            return
        try:
            self._place.write(asdict(record))
        except Exception as error:  # each storage library has errors of its own
            raise record_errors.not_reached(self._place.name, error, "written", record.external_task_id) from error


def _parse(name: str, value: Any) -> SubmissionRecord:
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(SubmissionRecord).validate_python(value)
    except ValidationError as error:
        raise record_errors.unreadable(name, value, error.errors(include_url=False)[0]) from None
