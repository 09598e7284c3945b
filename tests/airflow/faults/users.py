"""Who starts runs, clears them and marks tasks as failed: one user for each line of Airflow."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from typing import IO, Any, Protocol

from deploy.local.airflow_api import AirflowApi


class User(Protocol):
    """What a user can do to a run."""

    def start_run(self, dag_id: str, run_id: str, conf: Mapping[str, Any]) -> None:
        """Start a run."""
        ...

    def clear(self, dag_id: str, run_id: str, task_id: str) -> None:
        """Clear a task of a run and what comes after it."""
        ...

    def mark_failed(self, dag_id: str, run_id: str, task_id: str) -> None:
        """Mark a task as failed."""
        ...


class RestUser(AirflowApi):
    """Does it through the REST API, as the UI does; one thing at a time, since SQLite has one writer."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._one_at_a_time = threading.Lock()

    def start_run(self, dag_id: str, run_id: str, conf: Mapping[str, Any]) -> None:
        """Start a run."""
        self._call("POST", f"dags/{dag_id}/dagRuns", {"dag_run_id": run_id, "logical_date": None, "conf": conf})

    def clear(self, dag_id: str, run_id: str, task_id: str) -> None:
        """Clear a task of a run and what comes after it."""
        body = {
            "dry_run": False,
            "dag_run_id": run_id,
            "task_ids": [task_id],
            "only_failed": False,
            "include_downstream": True,
            "reset_dag_runs": True,
        }
        self._call("POST", f"dags/{dag_id}/clearTaskInstances", body)

    def mark_failed(self, dag_id: str, run_id: str, task_id: str) -> None:
        """Mark a task as failed."""
        self._call("PATCH", f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}", {"new_state": "failed"})

    def _call(self, method: str, path: str, body: Mapping[str, Any]) -> None:
        with self._one_at_a_time:
            self._http.request(method, f"/api/v2/{path}", json=body).raise_for_status()


class ProcessUser:
    """Does it in a process of Airflow 2.11, see ``users_of_2``."""

    def __init__(self, jobs: IO[str], answers: IO[str]) -> None:
        self._jobs = jobs
        self._answers = answers
        self._one_at_a_time = threading.Lock()

    def start_run(self, dag_id: str, run_id: str, conf: Mapping[str, Any]) -> None:
        """Start a run."""
        self._do({"do": "start_run", "dag_id": dag_id, "run_id": run_id, "conf": conf})

    def clear(self, dag_id: str, run_id: str, task_id: str) -> None:
        """Clear a task of a run and what comes after it."""
        self._do({"do": "clear", "dag_id": dag_id, "run_id": run_id, "task_id": task_id})

    def mark_failed(self, dag_id: str, run_id: str, task_id: str) -> None:
        """Not needed: Airflow 2.11 tells neither trigger nor operator."""
        raise NotImplementedError

    def _do(self, job: Mapping[str, Any]) -> None:
        with self._one_at_a_time:
            self._jobs.write(json.dumps(job) + "\n")
            self._jobs.flush()
            for line in self._answers:
                if line == "done\n":
                    return
                if line.startswith("failed: "):
                    raise RuntimeError(line.strip())
                # Everything else is Airflow's own.
        raise RuntimeError("the process that acts for the user has ended; see user.log")
