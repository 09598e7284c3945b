"""Decides what proves that a generation, or a record, is this task's own: a name alone proves nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from airflow_kling.api.listing import CLOCKS_APART
from airflow_kling.api.tasks import KlingTask
from airflow_kling.submission.identity import Identity, Kind, Run


class Written(Protocol):
    """As much of a submission record as says who wrote it."""

    @property
    def round(self) -> int:
        """In which it was written."""
        ...

    @property
    def try_number(self) -> int:
        """Which wrote it."""
        ...

    @property
    def run(self) -> Run:
        """In which it was written."""
        ...


RecordT = TypeVar("RecordT", bound=Written)


def is_ours(task: KlingTask, *, kind: Kind, since: float, mapped: bool, refused: bool) -> bool:
    """Tell whether a generation that was found under our ``external_task_id`` is this task's own.

    :param since: epoch seconds before which nothing of ours was submitted; 0 when that is not known.
    :param mapped: other instances of the task may have submitted the author's text at the same moment.
    :param refused: Kling has refused this try's POST as a duplicate: of ours, or of somebody else's.
    """
    if kind == "nonce":
        return True
    if kind == "given" and (mapped or refused):
        return False
    return was_made_since(task, since)


def was_made_since(task: KlingTask, since: float) -> bool:
    """Tell whether a generation is no older than a submission; both clocks may be wrong.

    :param since: epoch seconds; 0 when that is not known, which proves nothing.
    """
    return bool(since) and task.created_at is not None and task.created_at.timestamp() >= since - CLOCKS_APART


def earlier_record(records: Sequence[RecordT], identity: Identity) -> RecordT | None:
    """Choose the record that this run wrote before a user's clear moved its start.

    A run that is deleted and made again under its id begins with its first try and no clears, and so does that of
    another Airflow.

    :param records: found under the name of the task instance, of runs with another start than this one's.
    :return: None when none is this run's.
    :raises LookupError: nothing can tell; the error has the record.
    """
    now = identity.run
    before = [
        record
        for record in records
        if record.try_number < identity.try_number and (None in (record.run.row, now.row) or record.run.row == now.row)
    ]
    if identity.first_try or not before:
        return None
    # A clear is counted, and numbers another round.
    ours = [
        record
        for record in before
        if (record.run.clear_number or 0) < (now.clear_number or 0) and record.round != identity.round
    ]
    latest = max(ours or before, key=lambda record: record.run.start)
    if not ours:
        raise LookupError(latest)
    return latest
