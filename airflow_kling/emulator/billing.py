"""The truth about what a client has caused: every task, and what it costs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from airflow_kling.emulator.tasks import FAILED, Task, TaskStore

REQUEST_KINDS = ("create", "query", "list", "image")


def ledger(
    store: TaskStore, accounts: Iterable[str], requests: Mapping[str, int], *, tasks: bool = True
) -> dict[str, Any]:
    """Every task created per account, the totals, and how many requests of each kind arrived.

    A task is billed when it was created and has not failed.

    :param requests: requests received by kind, also those that were refused or struck by a fault
    :param tasks: list the tasks too, not only the totals
    """
    now = store.clock()
    report: dict[str, Any] = {}
    for account in accounts:
        entries = [_entry(task, now) for task in store.of_account(account)]
        report[account] = {"totals": _totals(entries), "slots": store.slots(account)}
        if tasks:
            report[account]["tasks"] = entries
    totals = [account["totals"] for account in report.values()]
    return {
        "accounts": report,
        "totals": {name: sum(total[name] for total in totals) for name in _totals([])},
        "requests": {kind: requests.get(kind, 0) for kind in REQUEST_KINDS},
    }


def _entry(task: Task, now: float) -> dict[str, Any]:
    return {
        "task_id": task.task_id,
        "external_task_id": task.creation.external_task_id,
        "gateway": task.gateway.name,
        "n": task.creation.n,
        "units": task.units,
        "status": task.status(now),
        "created_at": int(task.created_at * 1000),
        "request": task.creation.body,
    }


def _totals(entries: list[dict[str, Any]]) -> dict[str, int]:
    billed = [entry for entry in entries if entry["status"] != FAILED]
    return {
        "created": len(entries),
        "failed": len(entries) - len(billed),
        "billed_tasks": len(billed),
        "billed_images": sum(entry["n"] for entry in billed),
        "billed_units": sum(entry["units"] for entry in billed),
    }
