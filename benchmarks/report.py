"""Tables for people, JSON for whatever compares runs."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
_PACKAGES = (
    "apache-airflow",
    "apache-airflow-providers-http",
    "apache-airflow-providers-amazon",
    "aiohttp",
    "httpx",
    "boto3",
)


def machine() -> dict[str, Any]:
    """What the figures depend on, and nothing that names the machine."""
    return {
        "code": _commit(),
        "load_average": round(os.getloadavg()[0], 1),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{package: _version(package) for package in _PACKAGES},
    }


def _commit() -> str:
    """The commit that was measured; ``-dirty`` where the package itself had changes on top."""
    commands = (["git", "rev-parse", "--short", "HEAD"], ["git", "status", "--porcelain", "--", "airflow_kling"])
    commit, changes = (
        subprocess.run(command, cwd=RESULTS.parent, capture_output=True, text=True, check=False).stdout.strip()
        for command in commands
    )
    return f"{commit}-dirty" if changes else commit


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table, aligned so that it can be read as text."""
    cells = [list(head), *[[show(cell) for cell in row] for row in rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in cells
    ]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def show(value: object) -> str:
    """A figure with three digits that count."""
    if value is None:
        return "-"
    if not isinstance(value, float):
        return f"{value:,}" if isinstance(value, int) else str(value)
    if value == 0 or abs(value) >= 1000:
        return f"{value:,.0f}"
    digits = 2 if abs(value) < 1 else 1
    return f"{value:.{3 if abs(value) < 0.1 else digits}f}" if abs(value) < 100 else f"{value:.0f}"


def publish(name: str, data: Any, *tables: str) -> None:
    """Print the tables, and write the data to ``benchmarks/results/<name>.json``."""
    for one in tables:
        print(f"\n{one}", flush=True)
    RESULTS.mkdir(exist_ok=True)
    whole = {"benchmark": name, "at": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine()}
    (RESULTS / f"{name}.json").write_text(json.dumps(whole | {"results": data}, indent=1) + "\n")


def progress(text: str) -> None:
    """Tell a person who waits what is being run."""
    print(f"  {text}", file=sys.stderr, flush=True)


def percentile(values: Sequence[float], share: float) -> float:
    """A percentile of sorted values; 0 where there are none."""
    return values[min(len(values) - 1, int(len(values) * share))] if values else 0.0
