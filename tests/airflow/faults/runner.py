"""Runs rows in one Airflow: many at once; those that break what all share run last, one after the other."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from tests.airflow.faults.case import Case
from tests.airflow.faults.judge import judge
from tests.airflow.faults.model import Outcome, Row
from tests.airflow.faults.world import World

AT_ONCE = 10


def connection_id(row: Row) -> str:
    """Which Airflow connection a row uses."""
    more = "_receiver" if row.receiver else "_records" if row.records else ""
    return f"kling_{row.gateway}_{row.account}{more}"


def run_rows(
    rows: Iterable[Row],
    world: World,
    *,
    tell: Callable[[Outcome], None] = lambda outcome: None,
) -> list[Outcome]:
    """Run every row, and judge it.

    :param tell: is told each outcome as soon as it is known.
    """

    def run(row: Row) -> Outcome:
        outcome = run_row(row, world)
        tell(outcome)
        return outcome

    rows = list(rows)
    with ThreadPoolExecutor(AT_ONCE) as threads:
        try:
            outcomes = list(threads.map(run, [row for row in rows if not row.exclusive]))
        except BaseException:  # Ctrl-C
            world.given_up.set()
            threads.shutdown(cancel_futures=True)
            raise
    return outcomes + [run(row) for row in rows if row.exclusive]


def run_row(row: Row, world: World) -> Outcome:
    """Run one row to its end."""
    token = f"row-{uuid.uuid4().hex[:10]}"
    kling, archive = world.emulators[row.account], world.airflow.home / "archive" / token
    case = Case(
        row,
        token,
        world.airflow,
        world.user,
        kling,
        connection_id(row),
        archive,
        another=world.another,
        given_up=world.given_up,
    )
    started, broke = time.monotonic(), None
    try:
        if row.dag == "archive":
            case.kling_task_id = kling.create(row.gateway, f"{token} {row.name}", row.n, world.picture, route=row.route)
            case.wait_for("the end of the generation", lambda: kling.tasks(token)[0]["status"] == "succeed")
        case.add_faults()
        case.start_run()
        if row.action is not None:
            row.action(case)
        case.wait_for("the end of the run", case.ended)
    except Exception as error:  # whatever it is, it is this row's deviation and not the end of the table
        broke = f"{type(error).__name__}: {error}"
    return judge(case, seconds=time.monotonic() - started, broke=broke)
