"""Runs every benchmark, one after the other: `python -m benchmarks [--quick]`."""

from __future__ import annotations

import subprocess
import sys
import time

from benchmarks.processes import is_quick
from benchmarks.report import progress

ALL = ("waiting", "schedule", "http_path", "parsing", "archiving", "worker", "end_to_end", "growth", "gallery")
QUICK = (
    "waiting",
    "schedule",
    "http_path",
    "parsing",
    "archiving",
    "worker",
)  # a whole Airflow takes longer than all of these


def main() -> int:
    quick = is_quick(__doc__)
    failed = []
    for name in QUICK if quick else ALL:
        began = time.monotonic()
        print(f"\n## {name}", flush=True)
        command = [sys.executable, "-m", f"benchmarks.{name}", *(["--quick"] if quick else [])]
        if subprocess.run(command, check=False).returncode:
            failed.append(name)
        progress(f"{name} took {time.monotonic() - began:.0f} s")
    if failed:
        print(f"\nFailed: {', '.join(failed)}", file=sys.stderr)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
