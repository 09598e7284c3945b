"""Runs the whole table (`python -m tests.airflow.faults`), prints it, exits 1 if a row does not end as documented."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from airflow_kling.api.routes import DEFAULT_ROUTE
from deploy.local.terminal import raise_on_signals, say
from tests.airflow.faults import chaos, downloads, report
from tests.airflow.faults.model import AIRFLOW_2, AIRFLOW_3, Outcome, Row
from tests.airflow.faults.runner import run_rows
from tests.airflow.faults.table import ROWS
from tests.airflow.faults.world import ROUTES, world

ENOUGH_KILLS = 60


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for; returns the exit code."""
    options = _options(arguments)
    raise_on_signals()  # so that no server outlives it
    started = time.monotonic()
    say(f"Random crash schedules: --seed {options.seed}")
    wanted = [row for row in ROWS if all(word in row.name for word in options.only)]
    wanted = [row for row in wanted if options.route in (None, row.route)]
    partial = bool(options.only or options.route)
    schedules = [] if partial else list(chaos.schedules(options.seed, options.runs))
    home = options.home or Path(tempfile.mkdtemp(prefix="kling-faults-"))
    outcomes: list[Outcome] = []
    versions = {}
    for line in (AIRFLOW_3, AIRFLOW_2):
        rows = [row for row in (*wanted, *schedules) if row.line == line]
        if rows and options.line in (None, line):
            versions[line], found = run_line(line, rows, home / line)
            outcomes += found
    below = [] if partial else [run() for run in downloads.ROWS]
    _print_tables(outcomes, below, versions)
    problems = _problems(outcomes, below, complete=not partial and options.line != AIRFLOW_2)
    say(f"\n{len(outcomes) + len(below)} rows in {time.monotonic() - started:.0f} s; logs: {home}")
    for problem in problems:
        say(f"NOT as documented: {problem}")
    return 1 if problems else 0


def run_line(line: str, rows: list[Row], home: Path) -> tuple[str, list[Outcome]]:
    """Run rows on one line of Airflow; returns its version too."""
    say(f"\nAirflow {line}: {len(rows)} rows ({sum(row.chance for row in rows)} of them random crash schedules)")
    started = time.monotonic()
    with world(line, home) as here:
        say(f"Airflow {here.airflow.version} is up after {time.monotonic() - started:.0f} s")
        outcomes = run_rows(rows, here, tell=lambda outcome: say(report.line_of(outcome)))
        say(f"Airflow {line}: done in {time.monotonic() - started:.0f} s")
        return here.airflow.version, outcomes


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.airflow.faults", description=__doc__)
    parser.add_argument("--line", choices=(AIRFLOW_3, AIRFLOW_2), help="this line of Airflow only")
    parser.add_argument("--route", choices=ROUTES, help="rows of this route only")
    parser.add_argument("--only", nargs="*", default=[], help="rows whose name has all of these words")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="of the random crash schedules")
    parser.add_argument("--runs", type=int, default=chaos.RUNS, help="number of random crash schedules")
    parser.add_argument("--home", type=Path, help="where Airflow and the archives live; default: a new folder")
    return parser.parse_args(arguments)


def _print_tables(outcomes: list[Outcome], below: list[downloads.DownloadOutcome], versions: dict[str, str]) -> None:
    for line, version in versions.items():
        of_line = [one for one in outcomes if one.row.line == line and not one.row.chance]
        for route in dict.fromkeys(one.row.route for one in of_line):
            say(f"\n### Airflow {version}{'' if route == DEFAULT_ROUTE else f', {route}'}\n")
            say(report.table(one for one in of_line if one.row.route == route))
    if below:
        say(f"\n### Downloads\n\n{report.downloads_table(below)}")
    if chances := [one for one in outcomes if one.row.chance]:
        say(f"\n### Random crash schedules\n\n{_summary(chances)}")


def _summary(chances: list[Outcome]) -> str:
    good = [one for one in chances if not one.deviations]
    whole = [one for one in good if one.images == one.row.n]
    rows = [
        ("runs", str(len(chances))),
        ("processes killed with SIGKILL", str(sum(one.kills for one in chances))),
        ("one generation billed, every image archived and equal", str(len(whole))),
        ("one generation billed, a loud failure that names it (cometapi)", str(len(good) - len(whole))),
        ("duplicate generations", str(sum(max(0, one.billed - 1) for one in chances))),
        ("not as documented", str(len(chances) - len(good))),
    ]
    return report.markdown(("what", "count"), rows)


def _problems(outcomes: list[Outcome], below: list[downloads.DownloadOutcome], *, complete: bool) -> list[str]:
    found = [report.line_of(one) for one in outcomes if one.deviations]
    found += [f"{one.name}: {'; '.join(one.deviations)}" for one in below if one.deviations]
    kills = sum(one.kills for one in outcomes if one.row.chance)
    if complete and kills < ENOUGH_KILLS:
        found.append(f"{kills} random kills, fewer than {ENOUGH_KILLS}")
    return found


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        say("\nStopped; everything has ended.")
        sys.exit(130)
