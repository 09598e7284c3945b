"""Measures runs of mapped generations: this package beside HttpOperator, HttpSensor and HttpToS3Operator.

The same Airflow, emulator and S3 server for all, one run after the other. Tells the seconds from a generation's end at
Kling to its last object in S3 (ours: the manifest), and the seconds that its task instances were running on a worker.
"""

from __future__ import annotations

import json
import sqlite3
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx

from benchmarks.archiving import client
from benchmarks.archiving_contestant import BUCKET
from benchmarks.processes import connections, is_quick, listening
from benchmarks.report import percentile, progress, publish, table
from deploy.local.stack import Airflow, airflow

DAGS = Path(__file__).parent / "dags"
RUNS = {  # DAG -> what it is called, and the end of the key of its last object
    "bench_kling": ("this package", "manifest.json"),
    "bench_peers": ("HttpOperator, HttpSensor, HttpToS3Operator", ".png"),
    "bench_kling_from_trigger": ("this package, start_from_trigger", "manifest.json"),
}
WATCH = 0.1  # seconds between two looks at the task instances, and at the bucket
TIMEOUT = 1200.0


class Watcher:
    """Adds up how long task instances run, and notes when objects appear."""

    def __init__(self, home: Path, s3: str, dag_id: str) -> None:
        self.running: Counter[str] = Counter()
        self.seen: dict[str, float] = {}
        self._database = f"file:{home / 'airflow.db'}?mode=ro"
        self._s3 = client(s3)
        self._dag_id = dag_id
        self._prefix = f"{dag_id.removeprefix('bench_')}/"
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=target, daemon=True) for target in (self._tasks, self._objects)]

    def __enter__(self) -> Watcher:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _tasks(self) -> None:
        query = "select task_id, count(*) from task_instance where dag_id = ? and state = 'running' group by task_id"
        database, last = sqlite3.connect(self._database, uri=True, timeout=30), time.monotonic()
        while not self._ended.wait(WATCH):
            found = database.execute(query, (self._dag_id,)).fetchall()
            now = time.monotonic()
            for task_id, count in found:
                self.running[task_id.rpartition(".")[2]] += count * (now - last)
            last = now
        database.close()

    def _objects(self) -> None:
        while not self._ended.wait(WATCH):
            listed = self._s3.list_objects_v2(Bucket=BUCKET, Prefix=self._prefix)
            for item in listed.get("Contents", ()):
                self.seen.setdefault(item["Key"].removeprefix(self._prefix), time.time())


@contextmanager
def stack(count: int) -> Iterator[tuple[Airflow, str, str]]:
    """Yields Airflow, and the URLs of the emulator and the S3 server."""
    with ExitStack() as running:
        home = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        kling = running.enter_context(
            listening("benchmarks.kling_server", "--duration", "lognormal:20:0.35", "--image-size", "512", core=None)
        )
        s3 = running.enter_context(listening("benchmarks.s3_server", "s3", core=None))
        client(s3).create_bucket(Bucket=BUCKET)
        aws = {"endpoint_url": s3, "region_name": "us-east-1"}
        bundle = {"name": "bench", "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle"}
        env = connections(kling) | {
            "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(
                {"conn_type": "aws", "login": "bench", "password": "bench", "extra": aws}
            ),
            "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps([bundle | {"kwargs": {"path": str(DAGS)}}]),
            "BENCH_GENERATIONS": str(count),
        }
        kling_connection = json.loads(env["AIRFLOW_CONN_KLING_DEFAULT"])
        yield running.enter_context(airflow(home, kling_connection, env)), kling, s3


def run_dag(running: Airflow, kling: str, s3: str, dag_id: str, count: int) -> dict[str, Any]:
    progress(f"{dag_id}: {count} generations")
    running.api.wait_for_dag(dag_id)
    running.api.unpause(dag_id)
    began = time.monotonic()
    with Watcher(running.home, s3, dag_id) as watcher:
        state = _wait(running, dag_id, running.api.trigger(dag_id, {}))
        time.sleep(2 * WATCH)
    ends = httpx.get(f"{kling}/_bench/ends", trust_env=False).raise_for_status().json()
    last = RUNS[dag_id][1]
    waits = sorted(at - ends[key.partition("/")[0]] for key, at in watcher.seen.items() if key.endswith(last))
    return {
        "dag": dag_id,
        "state": state,
        "generations": count,
        "archived": len(waits),
        "wall_s": time.monotonic() - began,
        "to_archive_mean_s": sum(waits) / max(1, len(waits)),
        "to_archive_p50_s": percentile(waits, 0.5),
        "to_archive_p99_s": percentile(waits, 0.99),
        "worker_s": {task: seconds / count for task, seconds in watcher.running.items()},
        "worker_s_per_generation": watcher.running.total() / count,
    }


def _wait(running: Airflow, dag_id: str, run_id: str) -> str:
    """Seldom asked: the API server has the tasks to serve."""
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        state = str(running.api.get(f"dags/{dag_id}/dagRuns/{run_id}")["state"])
        if state in ("success", "failed"):
            return state
        time.sleep(1)
    return "not ended"


def main() -> None:
    quick = is_quick(__doc__)
    count = 6 if quick else 50
    which = [dag_id for dag_id in RUNS if not quick or "from_trigger" not in dag_id]
    with stack(count) as (running, kling, s3):
        results: list[dict[str, Any]] = []
        for dag_id in which:
            results.append(run_dag(running, kling, s3, dag_id, count))
            publish("end_to_end", results)  # a later run that hangs takes nothing away
    publish("end_to_end", results, summarize(results))


def summarize(results: list[dict[str, Any]]) -> str:
    head = ["DAG of", "run", "archived", "end at Kling to archive, mean s", "p50", "p99", "worker s per generation"]
    head += ["of it waiting", "whole run s"]
    rows = [
        [
            RUNS[one["dag"]][0],
            one["state"],
            one["archived"],
            one["to_archive_mean_s"],
            one["to_archive_p50_s"],
            one["to_archive_p99_s"],
            one["worker_s_per_generation"],
            one["worker_s"].get("wait", 0.0),
            one["wall_s"],
        ]
        for one in results
    ]
    return table(head, rows)


if __name__ == "__main__":
    main()
