"""Runs some rows of the fault table in a real Airflow; `make faults` runs every row."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.airflow.faults import downloads
from tests.airflow.faults.model import AIRFLOW_3, Outcome, Row
from tests.airflow.faults.report import line_of
from tests.airflow.faults.runner import run_rows
from tests.airflow.faults.table import ROWS
from tests.airflow.faults.world import world

SHORT = [row for row in ROWS if row.short and row.line == AIRFLOW_3]


def name(row: Row) -> str:
    return f"{row.route}-{row.gateway}-{row.name}"


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory, tell: Callable[[str], None]) -> dict[str, Outcome]:
    with world(AIRFLOW_3, tmp_path_factory.mktemp("faults")) as here:
        tell(f"Airflow {here.airflow.version} is up; {len(SHORT)} rows, each is told when it has ended:")
        found = run_rows(SHORT, here, tell=lambda outcome: tell(line_of(outcome)))
    return {name(outcome.row): outcome for outcome in found}


@pytest.mark.parametrize("row", SHORT, ids=name)
def test_ends_as_documented(row: Row, outcomes: dict[str, Outcome]) -> None:
    outcome = outcomes[name(row)]
    assert not outcome.deviations, line_of(outcome)


@pytest.mark.parametrize("run", downloads.ROWS)
def test_downloads_are_guarded(run: Callable[[], downloads.DownloadOutcome]) -> None:
    assert not run().deviations


def test_no_two_rows_have_the_same_name() -> None:
    names = [(row.line, row.route, row.gateway, row.account, row.dag, row.name) for row in ROWS]
    assert len(set(names)) == len(names)
