"""Runs the provider on every Airflow and Python that it is for, each in an environment of its own.

``python -m tests.matrix`` runs every cell; ``--lowest`` only those with the lowest dependencies; ``--load`` lets each
line install the wheel and load everything, no more.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from deploy.local.paths import CHECKOUT
from tests.matrix.cells import LINES, Cell, cells
from tests.matrix.environments import Environment, Failed, build_wheel, find_python

FOLDER = CHECKOUT / ".matrix"
ONE_AIRFLOW = threading.Lock()  # a real one has some eight processes


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the cells, say how each went, and return how many have failed."""
    options = _parser().parse_args(arguments)
    lines = [line for line in LINES if line.name in options.lines.split()]
    chosen = [cell for line in lines for cell in cells(line)]
    if options.lowest:
        chosen = [cell for cell in chosen if cell.is_lowest]
    if options.load:
        chosen = [_with_a_python(line_cells) for line_cells in ([*cells(line)] for line in lines)]
    wheel = build_wheel(FOLDER / "wheel")
    with ThreadPoolExecutor(options.jobs) as pool:
        failed = [name for name in pool.map(lambda cell: _run(cell, wheel, load_only=options.load), chosen) if name]
    print(f"{len(chosen) - len(failed)} of {len(chosen)} passed." + "".join(f" Failed: {name}." for name in failed))
    return min(len(failed), 1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.matrix", description=__doc__)
    parser.add_argument("--load", action="store_true", help="one Python a line: install the wheel, load all")
    parser.add_argument("--lowest", action="store_true", help="the lowest dependencies only")
    parser.add_argument("--lines", default=" ".join(line.name for line in LINES), help="e.g. '2.11 3.1'")
    parser.add_argument("--jobs", type=int, default=2, help="cells at the same time")
    return parser


def _with_a_python(line_cells: Sequence[Cell]) -> Cell:
    """Return the first cell of a line whose Python is here: this one's, where the line runs on it."""
    newest = [cell for cell in line_cells if not cell.is_lowest]
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    newest.sort(key=lambda cell: cell.python != here)
    return next((cell for cell in newest if find_python(cell.python)), newest[0])


def _run(cell: Cell, wheel: Path, *, load_only: bool) -> str | None:
    """Run a cell; returns its name where it has failed."""
    interpreter = find_python(cell.python)
    if interpreter is None:
        print(f"{cell.name}: FAILED: no Python {cell.python} was found, neither on the PATH nor in pyenv", flush=True)
        return cell.name
    begun, folder = time.monotonic(), FOLDER / cell.name
    try:
        done = _steps(Environment(cell, folder, interpreter), wheel, load_only=load_only)
    except Failed as failed:
        print(f"{cell.name}: FAILED after {time.monotonic() - begun:.0f} s: {failed}", flush=True)
        return cell.name
    print(f"{cell.name}: {done} ({time.monotonic() - begun:.0f} s)", flush=True)
    shutil.rmtree(folder / "env")
    return None


def _steps(environment: Environment, wheel: Path, *, load_only: bool) -> str:
    environment.install(wheel, extras=not load_only)
    environment.probe()
    if load_only:
        return "installed and loaded"
    environment.unit_tests()
    if not environment.cell.runs_airflow:
        return "installed, loaded, unit tests passed"
    with ONE_AIRFLOW:
        environment.real_airflow()
    return "installed, loaded, unit tests passed, the main DAG ran"


if __name__ == "__main__":
    sys.exit(main())
