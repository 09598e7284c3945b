"""Runs tasks as a worker of LocalExecutor does: a process that has what it has, and forks one for each task.

Airflow's supervisor and task runner do the work; its API server is in the supervisor's process, so that its time is not
the task's. Connections, run context and XComs come from it, as from a metadata database.
"""

from __future__ import annotations

import gc
import json
import resource
import sys
import time
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx

from benchmarks import phases

RUN = "manual__2026-01-01"
TASKS = ("noop", "submit", "submit_local", "resume", "archive_file", "archive_s3")
NOW = "2026-01-01T00:00:00Z"


class ApiServer:
    """Answers the supervisor's requests for one task after the other."""

    def __init__(self, connections: dict[str, Any]) -> None:
        self._connections = connections
        self.xcoms: dict[tuple[str, str], Any] = {}
        self.resumed_with: dict[str, Any] | None = None
        self.final_state = ""
        self._stored: dict[str, Any] = {}

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer one."""
        path = unquote(request.url.path)
        kind, *parts = path.strip("/").split("/")
        if kind == "task-instances" and parts[-1] == "run":
            return httpx.Response(200, json=self._context())
        if kind == "task-instances" and parts[-1] == "state":
            self.final_state = json.loads(request.content)["state"]
        if kind == "connections":
            found = self._connections.get(parts[0])
            return httpx.Response(200, json=found) if found else httpx.Response(404, json={"detail": "none"})
        if kind == "xcoms":
            _, _, *parts = parts
            sliced = parts[-1] == "slice"
            task_id, key = parts[0], "/".join(parts[1:-1] if sliced else parts[1:])
            if sliced:
                return httpx.Response(200, json=[self.xcoms[task_id, key]] if (task_id, key) in self.xcoms else [])
            if request.method == "POST":
                self.xcoms[task_id, key] = json.loads(request.content)
                return httpx.Response(201, json={"message": "ok"})
            if (task_id, key) not in self.xcoms:
                return httpx.Response(404, json={"detail": "none"})
            return httpx.Response(200, json={"key": key, "value": self.xcoms[task_id, key]})
        if kind == "store":
            if request.method == "GET" and path not in self._stored:
                return httpx.Response(404, json={"detail": {"reason": "not_found"}})
            if request.method == "PUT":
                self._stored[path] = json.loads(request.content)
                return httpx.Response(204)
            return httpx.Response(200, json=self._stored.get(path, {}))
        return httpx.Response(200, json={"message": "ok"})

    def _context(self) -> dict[str, Any]:
        run = {"dag_id": "kling", "run_id": RUN, "logical_date": NOW, "start_date": NOW, "run_after": NOW}
        run |= {"run_type": "manual", "state": "running", "consumed_asset_events": [], "conf": {}}
        run |= dict.fromkeys(("data_interval_start", "data_interval_end", "end_date", "partition_key"))
        context: dict[str, Any] = {"dag_run": run, "max_tries": 2, "should_retry": False, "start_date": NOW}
        if self.resumed_with is not None:
            context |= {"next_method": "execute_complete", "next_kwargs": self.resumed_with}
        return context


class Worker:
    """A worker of LocalExecutor."""

    def __init__(self, connections: dict[str, Any], scratch: Path) -> None:
        # LocalExecutor forks its workers from the scheduler, and these fork the tasks.
        import airflow.executors.local_executor
        import airflow.jobs.scheduler_job_runner  # noqa: F401
        from airflow.jobs.job import Job
        from airflow.sdk.api.client import Client

        Job()  # loads the plugins, and tells their listeners that the scheduler starts

        self.server = ApiServer(connections)
        self._scratch = scratch
        self._client = Client(base_url=None, dry_run=True, token="", transport=httpx.MockTransport(self.server))
        phases.install(self._report)
        gc.freeze()  # as LocalExecutor does before it forks

    @property
    def _report(self) -> Path:
        return self._scratch / "phases.json"

    def run(self, dag_id: str, task_id: str) -> dict[str, Any]:
        """Run one task; return CPU and wall of its process, and of its phases."""
        from airflow.executors.workloads.base import BundleInfo
        from airflow.executors.workloads.task import TaskInstanceDTO
        from airflow.sdk.execution_time.supervisor import supervise_task

        ti = TaskInstanceDTO(
            id=uuid.uuid4(), dag_version_id=uuid.uuid4(), task_id=task_id, dag_id=dag_id, run_id=RUN, try_number=1,
            pool_slots=1, priority_weight=1,
        )  # fmt: skip
        self._report.unlink(missing_ok=True)
        began, used = time.perf_counter(), _children()
        supervise_task(
            ti=ti,
            bundle_info=BundleInfo(name="dags-folder"),
            dag_rel_path=f"{dag_id}.py",
            token="",
            client=self._client,
            log_path=f"{task_id}.log",
        )
        cpu = _children() - used
        assert self.server.final_state == "success", (task_id, (self._scratch / "logs" / f"{task_id}.log").read_text())
        found = json.loads(self._report.read_text())
        # Of the task's process, not of the supervisor, which looks at it every few seconds only.
        return {"cpu_s": cpu, "wall_s": found.pop("ended") - began, **found}


def _children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main(spec: dict[str, Any]) -> dict[str, Any]:
    """Run every kind of task ``rounds`` times; a round is a generation."""
    worker = Worker(spec["connections"], Path(spec["scratch"]))
    found: dict[str, list[dict[str, Any]]] = {task_id: [] for task_id in TASKS}
    for number in range(spec["rounds"] + 1):
        server = worker.server
        server.xcoms.clear()
        for task_id in TASKS:
            event = {"kling_task_id": server.xcoms.get(("submit", "return_value")), "status": "finished"}
            server.resumed_with = {"event": event} if task_id == "resume" else None
            if task_id == "resume":
                time.sleep(spec["duration"] + 0.1)  # the emulator's generation has ended then
            measured = worker.run("noop" if task_id == "noop" else "kling", task_id)
            if number:  # the first round writes bytecode, and lets servers warm up
                found[task_id].append(measured)
    return found


if __name__ == "__main__":
    print("\n" + json.dumps(main(json.load(sys.stdin))))
