"""`python -m tests.browser.seed <folder> <dag id> <count>`: archived generations into the database of AIRFLOW_HOME."""

from __future__ import annotations

import sys
from pathlib import Path

from airflow.utils.session import create_session

from benchmarks.gallery_seed import Pictures, many_runs, seed


def main(folder: str, dag_id: str, count: str) -> None:
    pictures = Pictures(Path(folder) / "seeded", side=512, kinds=6)
    with create_session(scoped=False) as session:
        seed(session, many_runs(int(count), dag_id), pictures, on_disk=int(count))


if __name__ == "__main__":
    main(*sys.argv[1:])
