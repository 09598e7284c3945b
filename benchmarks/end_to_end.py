"""Measures runs of mapped generations in a real Airflow: this package beside Airflow's own floor, three tasks that do
nothing, and beside HttpOperator, HttpSensor and HttpToS3Operator.

The same Airflow, emulator and S3 server for all, one run after the other. Tells the seconds that the task instances of
a generation were running on a worker, and the seconds from its end at Kling to its last object in storage (ours: the
manifest), split by what took them.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx

from benchmarks import timeline
from benchmarks.archiving import client
from benchmarks.archiving_contestant import BUCKET
from benchmarks.processes import connections, listening
from benchmarks.report import percentile, progress, publish, table
from deploy.local.stack import Airflow, airflow

DAGS = Path(__file__).parent / "dags"
FLOOR, DEFAULT, GENERIC = "bench_floor", "bench_kling", "bench_peers"
RUNS = {
    FLOOR: "three tasks that do nothing",
    DEFAULT: "kling_image to S3",
    "bench_kling_file": "kling_image to a file",
    "bench_kling_compact": "kling_image, compact, to S3",
    "bench_kling_compact_file": "kling_image, compact, to a file",
    "bench_kling_worker": "kling_image to S3, start_from_trigger=False",
    GENERIC: "HttpOperator, HttpSensor, HttpToS3Operator",
}
MOST_WORKER_SECONDS = {  # of a generation, over the floor's
    DEFAULT: 2.5,
    "bench_kling_file": 2.5,
    "bench_kling_compact": 2.0,
    "bench_kling_compact_file": 2.0,
}
MOST_LATENCY = {DEFAULT: 0.5, "bench_kling_file": 0.5}  # mean seconds from the end at Kling, over the generic DAG's
WATCH = 0.1  # seconds between two looks at the bucket
TIMEOUT = 1200.0


class Bucket:
    """Notes when the objects below a prefix appear; S3 tells no more than the second."""

    def __init__(self, s3: str, prefix: str) -> None:
        self.seen: dict[str, float] = {}
        self._s3, self._prefix = client(s3), prefix
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Bucket:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        time.sleep(2 * WATCH)
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(WATCH):
            listed = self._s3.list_objects_v2(Bucket=BUCKET, Prefix=self._prefix)
            for item in listed.get("Contents", ()):
                self.seen.setdefault(item["Key"].removeprefix(self._prefix), time.time())


def files(folder: Path) -> dict[str, float]:
    """Return when the files below a folder were written."""
    return {str(one.relative_to(folder)): one.stat().st_mtime for one in folder.rglob("*") if one.is_file()}


def last_objects(seen: dict[str, float]) -> dict[str, float]:
    """Return when the last object of each Kling task was there."""
    last: dict[str, float] = {}
    for key, at in seen.items():
        task_id = key.partition("/")[0]
        last[task_id] = max(at, last.get(task_id, 0.0))
    return last


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
            "BENCH_FILES": f"file://{home / 'archive'}",
        }
        kling_connection = json.loads(env["AIRFLOW_CONN_KLING_DEFAULT"])
        started = running.enter_context(airflow(home, kling_connection, env))
        timeline.record(home)
        yield started, kling, s3


def run_dag(running: Airflow, kling: str, s3: str, dag_id: str, count: int) -> dict[str, Any]:
    progress(f"{RUNS[dag_id]}: {count} generations")
    running.api.wait_for_dag(dag_id)
    running.api.unpause(dag_id)
    place, began = dag_id.removeprefix("bench_"), time.monotonic()
    with Bucket(s3, f"{place}/") as bucket:
        state = _wait(running, dag_id, running.api.trigger(dag_id, {}))
    recorded = timeline.changes(running.home, dag_id)
    seconds = timeline.running_seconds(recorded)
    return {
        "dag": dag_id,
        "state": state,
        "generations": count,
        "wall_s": time.monotonic() - began,
        "worker_s": {task: total / count for task, total in seconds.items()},
        "worker_s_per_generation": seconds.total() / count,
        **latency(running.home, kling, dag_id, recorded, bucket.seen | files(running.home / "archive" / place)),
    }


def latency(
    home: Path, kling: str, dag_id: str, recorded: list[timeline.Change], seen: dict[str, float]
) -> dict[str, Any]:
    """Say how long it took from the end at Kling to the last object, in all and in which phase."""
    asked = (httpx.get(f"{kling}/_bench/{what}", trust_env=False).raise_for_status() for what in ("ends", "answers"))
    ends, answers = (one.json() for one in asked)
    archived = {task_id: at for task_id, at in last_objects(seen).items() if task_id in ends}
    waits = sorted(at - ends[task_id] for task_id, at in archived.items())
    splits = [
        timeline.split(
            [change for change in recorded if change.map_index == map_index],
            ended=ends[task_id],
            answered=answers[task_id],
            archived=archived[task_id],
        )
        for task_id, map_index in timeline.map_indexes(home, dag_id, archived).items()
    ]
    return {
        "archived": len(waits),
        "to_archive_mean_s": sum(waits) / len(waits) if waits else None,
        "to_archive_p50_s": percentile(waits, 0.5) if waits else None,
        "to_archive_p99_s": percentile(waits, 0.99) if waits else None,
        "phases_s": timeline.means(splits) if splits else {},
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
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="6 generations, not 24")
    parser.add_argument("--generations", type=int, help="how many of each DAG")
    parser.add_argument("--only", nargs="+", choices=[one.removeprefix("bench_") for one in RUNS], help="these DAGs")
    options = parser.parse_args()
    count = options.generations or (6 if options.quick else 24)
    which = [one for one in RUNS if not options.only or one.removeprefix("bench_") in options.only]
    with stack(count) as (running, kling, s3):
        results: list[dict[str, Any]] = []
        for dag_id in which:
            results.append(run_dag(running, kling, s3, dag_id, count))
            publish("end_to_end", results)  # a later run that hangs takes nothing away
    publish("end_to_end", results, of_workers(results), of_latency(results), of_bounds(results))


def of_workers(results: list[dict[str, Any]]) -> str:
    """Worker-seconds of a generation, in all, over the floor's, and of each task."""
    rows = [
        [
            RUNS[one["dag"]],
            one["state"],
            one["worker_s_per_generation"],
            ratio(results, one, "worker_s_per_generation", FLOOR),
            ", ".join(f"{task} {seconds:.2f}" for task, seconds in one["worker_s"].items()),
            one["wall_s"],
        ]
        for one in results
    ]
    head = ["DAG", "run", "worker s per generation", "of the floor", "of it", "whole run s"]
    return table(head, rows)


def of_latency(results: list[dict[str, Any]]) -> str:
    """Seconds from the end at Kling to the last object, in all, over the generic DAG's, and by phase."""
    rows = [
        [
            RUNS[one["dag"]],
            one["archived"],
            one["to_archive_mean_s"],
            ratio(results, one, "to_archive_mean_s", GENERIC),
            one["to_archive_p50_s"],
            one["to_archive_p99_s"],
            *(one["phases_s"].get(phase) for phase in timeline.PHASES),
        ]
        for one in results
        if one["archived"]
    ]
    head = ["DAG", "archived", "end at Kling to archive, mean s", "of the generic", "p50", "p99", *timeline.PHASES]
    return table(head, rows)


def of_bounds(results: list[dict[str, Any]]) -> str:
    """What must hold, and whether it does."""
    bounds = [
        ("worker s, of the floor", "worker_s_per_generation", FLOOR, MOST_WORKER_SECONDS),
        ("end at Kling to archive, of the generic DAG", "to_archive_mean_s", GENERIC, MOST_LATENCY),
    ]
    rows = [
        [RUNS[one["dag"]], what, found, most[one["dag"]], "yes" if found <= most[one["dag"]] else "NO"]
        for what, name, base, most in bounds
        for one in results
        if one["dag"] in most and (found := ratio(results, one, name, base)) is not None
    ]
    return table(["DAG", "bound on", "found", "at most", "holds"], rows)


def ratio(results: list[dict[str, Any]], one: dict[str, Any], name: str, base: str) -> float | None:
    """Return a figure of a run over that of another run; None where one of them is missing."""
    found = next((other[name] for other in results if other["dag"] == base), None)
    return one[name] / found if found and one[name] is not None else None


if __name__ == "__main__":
    main()
