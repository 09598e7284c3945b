"""How a generation that is not archived stands, in one word. Pure."""

from __future__ import annotations

from typing import Literal

from airflow_kling.plugins.gallery.queries import TaskStates

State = Literal["archived", "running", "waiting", "retrying", "failed", "not archived"]

_FAILED = frozenset({"failed", "upstream_failed", "removed"})
_OVER = _FAILED | {"success", "skipped"}
_RETRYING = frozenset({"up_for_retry", "up_for_reschedule", "restarting"})
_RUN_OVER = frozenset({"success", "failed"})

#: What may still become something else.
OPEN = frozenset({"running", "waiting", "retrying"})


def state_of(tasks: TaskStates) -> State:
    """The state of a generation without an archive.

    Its submitting task speaks first: one that waits as well fails or is deferred itself. After that the other Kling
    tasks of the same run and map index, and where those cannot be told apart, the run.
    """
    if tasks.own in _FAILED:
        return "failed"
    if tasks.own not in _OVER and tasks.run not in _RUN_OVER:
        return _active(tasks.own)
    others = set(tasks.others.values())
    if others <= _OVER or tasks.run in _RUN_OVER:
        return "failed" if others & _FAILED else "not archived"
    for state in ("running", "deferred", *_RETRYING):
        if state in others:
            return _active(state)
    return "waiting"


def _active(state: str | None) -> State:
    if state in _RETRYING:
        return "retrying"
    return "running" if state in ("running", "deferred") else "waiting"
