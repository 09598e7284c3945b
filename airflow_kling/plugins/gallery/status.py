"""Decides the state of a generation that is not archived, from the states of its tasks and run. Pure."""

from __future__ import annotations

from typing import Literal

from airflow_kling.plugins.gallery.rows import TaskStates

State = Literal["archived", "running", "waiting", "retrying", "failed", "not archived"]

# Airflow's states of a task instance, and of a DAG run.
_FAILED = frozenset({"failed", "upstream_failed", "removed"})
_OVER = _FAILED | {"success", "skipped"}
_RETRYING = frozenset({"up_for_retry", "up_for_reschedule", "restarting"})
_RUN_OVER = frozenset({"success", "failed"})

#: States that can still change.
UNFINISHED = frozenset({"running", "waiting", "retrying"})


def state_of(tasks: TaskStates) -> State:
    """Return the state of a generation without an archive."""
    # The submitting task comes first: with wait_for_completion it is the one that is deferred, or fails.
    if tasks.own in _FAILED:
        return "failed"
    if tasks.own not in _OVER and tasks.run not in _RUN_OVER:
        return _active(tasks.own)
    # Then the tasks after it. Some may belong to another generation of the same run: Airflow knows only operators.
    others = set(tasks.others.values())
    if others <= _OVER or tasks.run in _RUN_OVER:
        return "failed" if others & _FAILED else "not archived"
    # The task that does something tells more than those that wait for it.
    for state in ("running", "deferred", *_RETRYING):
        if state in others:
            return _active(state)
    return "waiting"


def _active(state: str | None) -> State:
    if state in _RETRYING:
        return "retrying"
    return "running" if state in ("running", "deferred") else "waiting"
