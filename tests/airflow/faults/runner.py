"""Runs rows on one Airflow: many at once, those that break what all share alone and last."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.airflow.faults.case import Case
from tests.airflow.faults.judge import judge
from tests.airflow.faults.kling import DURATION, Kling
from tests.airflow.faults.lines import Line
from tests.airflow.faults.model import Outcome, Row

AT_ONCE = 10


def connection_id(row: Row) -> str:
    """Which Airflow connection a row uses."""
    return f"kling_{row.gateway}_{row.account}"


def run_rows(
    rows: Iterable[Row],
    line: Line,
    emulators: Mapping[str, Kling],
    picture: str,
    *,
    tell: Callable[[Outcome], None] = lambda outcome: None,
) -> list[Outcome]:
    """Run every row, and judge it.

    :param emulators: by account.
    :param picture: a reference image in base64, for generations that are paid for beforehand.
    :param tell: told each outcome as soon as it is known.
    """

    def run(row: Row) -> Outcome:
        outcome = run_row(row, line, emulators[row.account], picture)
        tell(outcome)
        return outcome

    rows = list(rows)
    with ThreadPoolExecutor(AT_ONCE) as threads:
        try:
            outcomes = list(threads.map(run, [row for row in rows if not row.exclusive]))
        except BaseException:  # Ctrl-C
            line.given_up.set()
            threads.shutdown(cancel_futures=True)
            raise
    return outcomes + [run(row) for row in rows if row.exclusive]


def run_row(row: Row, line: Line, kling: Kling, picture: str) -> Outcome:
    """Run one row to its end."""
    token = f"row-{uuid.uuid4().hex[:10]}"
    case = Case(row, token, line, kling, connection_id(row), Path(line.home / "archive" / token))
    started, broke = time.monotonic(), None
    try:
        if row.dag == "archive":
            case.kling_task_id = kling.create(row.gateway, f"{token} {row.name}", row.n, picture)
            time.sleep(DURATION + 1)
        case.add_faults()
        case.start_run()
        if row.action is not None:
            row.action(case)
        case.wait_for("the end of the run", case.ended)
    except Exception as error:  # whatever it is, it is this row's deviation and not the end of the table
        broke = f"{type(error).__name__}: {error}"
    return judge(case, seconds=time.monotonic() - started, broke=broke)
