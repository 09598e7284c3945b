"""What a task process costs: submit, resume and archive beside a task that does nothing.

Each task is run by Airflow's own supervisor and task runner, in a process forked from one that has what a worker of
LocalExecutor has; and once more as with other executors, whose tasks inherit nothing from the scheduler. Figures are
the least of the rounds, and their phases: what a phase calls of another one is the other's. "Airflow" is the rest: the
start of the task runner, the DAG file, templates, state, and this package's own code outside of the other phases.
"""

from __future__ import annotations

import json
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.archiving import client, to_s3
from benchmarks.archiving_contestant import BUCKET
from benchmarks.phases import PHASES
from benchmarks.processes import connections, contestant, is_quick, listening
from benchmarks.report import publish, table
from benchmarks.s3_server import png

DAGS = Path(__file__).parent / "worker_dags"
DURATION = 0.2  # seconds that a generation takes
EXECUTORS = {"LocalExecutor": "with LocalExecutor", "CeleryExecutor": "with other executors"}
UNITS = {"cpu": "CPU ms", "wall": "wall ms"}
NAMES = {
    "noop": "nothing: Airflow's floor",
    "submit": "submit, references as URLs",
    "submit_local": "submit, a local reference",
    "resume": "resume after the wait",
    "archive_file": "archive to a file",
    "archive_s3": "archive to S3",
}


def main() -> None:
    rounds = 2 if is_quick(__doc__) else 5
    with ExitStack() as running:
        scratch = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        (scratch / "mug.png").write_bytes(png(1.0))
        kling = running.enter_context(
            listening("benchmarks.kling_server", "--duration", str(DURATION), "--image-size", "1024")
        )
        s3 = running.enter_context(listening("benchmarks.s3_server", "s3"))
        client(s3).create_bucket(Bucket=BUCKET)
        spec = {"connections": _stored(connections(kling) | to_s3(s3)), "scratch": str(scratch)}
        spec |= {"rounds": rounds, "duration": DURATION}
        env = {"BENCH_FILES": str(scratch), "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS)}
        env |= {"AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(scratch / "logs"), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
        results = {}
        for executor in EXECUTORS:
            found = contestant(
                "benchmarks.worker_contestant", spec, env=env | {"AIRFLOW__CORE__EXECUTOR": executor}, timeout=600
            )
            results[executor] = {task_id: _least(measured) for task_id, measured in found.items()}
    publish("worker", results, *(_summarize(results, executor, unit) for executor in EXECUTORS for unit in UNITS))


def _stored(env: dict[str, str]) -> dict[str, dict[str, Any]]:
    """The connections of an environment, as Airflow's API server answers for them."""
    blank = dict.fromkeys(("host", "schema", "login", "password", "port", "extra"))
    found = {}
    for name, text in env.items():
        if name.startswith("AIRFLOW_CONN_"):
            conn_id = name.removeprefix("AIRFLOW_CONN_").lower()
            fields = json.loads(text)
            extra = {"extra": json.dumps(fields.pop("extra", {}))}
            found[conn_id] = {**blank, "conn_id": conn_id, **fields, **extra}
    return found


def _least(measured: list[dict[str, Any]]) -> dict[str, Any]:
    """The least of the rounds, with the phases of the same process."""
    found = {}
    for unit in UNITS:
        one = min(measured, key=lambda run: float(run[f"{unit}_s"]))
        phases = {name: one[unit].get(name, 0.0) for name in PHASES}
        found[unit] = {"all": one[f"{unit}_s"], **phases, "Airflow": one[f"{unit}_s"] - sum(phases.values())}
    return found


def _summarize(results: dict[str, Any], executor: str, unit: str) -> str:
    columns = ["all", *PHASES, "Airflow"]
    of_executor = results[executor]
    floor = of_executor["noop"][unit]["all"]
    rows = [
        [NAMES[task_id], *(1e3 * found[unit][name] for name in columns), found[unit]["all"] / floor]
        for task_id, found in of_executor.items()
    ]
    return table([f"task {EXECUTORS[executor]}, {UNITS[unit]}", *columns, "of the floor"], rows)


if __name__ == "__main__":
    main()
