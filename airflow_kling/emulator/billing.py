"""Reports the bill: every task that was created and what it costs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from airflow_kling.emulator.prices import IMAGE, TRY_ON, VIDEO
from airflow_kling.emulator.tasks import FAILED, Task, TaskStore

PACKS = (IMAGE, VIDEO, TRY_ON)
REQUEST_KINDS = ("create", "query", "list", "image")


def ledger(
    store: TaskStore, accounts: Iterable[str], requests: Mapping[str, int], *, tasks: bool = True
) -> dict[str, Any]:
    """Every task created per account, the totals, and how many requests of each kind arrived.

    A task is billed when it was created and has not failed.

    :param requests: requests received by kind, also those that were refused or met a fault
    :param tasks: list the tasks too, not only the totals
    """
    now = store.clock()
    report: dict[str, Any] = {}
    for account in accounts:
        created = store.of_account(account)
        report[account] = {"totals": _totals(created, now), "slots": store.slots(account)}
        if tasks:
            report[account]["tasks"] = [_entry(task, now) for task in created]
    totals = [account["totals"] for account in report.values()]
    return {
        "accounts": report,
        "totals": {name: sum(total[name] for total in totals) for name in _totals([], now)},
        "requests": {kind: requests.get(kind, 0) for kind in REQUEST_KINDS},
    }


def _entry(task: Task, now: float) -> dict[str, Any]:
    return {
        "task_id": task.task_id,
        "external_task_id": task.creation.external_task_id,
        "route": task.endpoint.route.name,
        "gateway": task.endpoint.gateway.name,
        "n": task.slots,
        "units": task.units,
        "pack": task.endpoint.route.pack,
        "status": task.status(now),
        "created_at": int(task.created_at * 1000),
        "request": task.creation.body,
    }


def _totals(created: list[Task], now: float) -> dict[str, float]:
    # Kling does not charge for failed tasks [W].
    billed = [task for task in created if task.status(now) != FAILED]
    return {
        "created": len(created),
        "failed": len(created) - len(billed),
        "billed_tasks": len(billed),
        "billed_images": _results(billed, videos=False),
        "billed_videos": _results(billed, videos=True),
        "billed_units": _units(billed),
        # A unit of one pack is not worth one of another.
        **{
            f"billed_{pack.replace('-', '_')}_units": _units(
                [task for task in billed if task.endpoint.route.pack == pack]
            )
            for pack in PACKS
        },
    }


def _results(tasks: list[Task], *, videos: bool) -> int:
    return sum(count for task in tasks for results, count in task.results if bool(results.media_type) == videos)


def _units(tasks: list[Task]) -> float:
    # Hundredths: a sum of tenths in floating point has a tail.
    return round(sum(task.units for task in tasks), 2)
