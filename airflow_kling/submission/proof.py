"""Decides what proves that a generation, or a record, is this task's own: a name alone proves nothing."""

from __future__ import annotations

from typing import Literal

from airflow_kling.api.listing import CLOCKS_APART
from airflow_kling.api.tasks import KlingTask
from airflow_kling.submission.identity import Identity, Kind, Run


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
    return bool(since) and task.created_at is not None and task.created_at.timestamp() >= since - CLOCKS_APART


def same_run(
    run: Run, identity: Identity, *, try_number: int, round_number: int
) -> Literal["same", "other", "unknown"]:
    """Tell whether a record that was found under a run's id was written by this run.

    A run that is deleted and made again under its id begins with its first try and no clears, and starts later.

    :param run: as the record has it.
    :param try_number: which wrote the record.
    :param round_number: of the record.
    """
    now = identity.run
    if None not in (run.row, now.row) and run.row != now.row:
        return "other"
    if run.started == now.started:
        return "same"
    if identity.try_number <= try_number:
        return "other"
    # A clear moves the start of a finished run, is counted, and numbers another round.
    cleared = (now.clear_number or 0) > (run.clear_number or 0) and identity.round != round_number
    return "same" if cleared else "unknown"
