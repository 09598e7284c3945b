"""Starts runs, clears tasks and marks them as failed in Airflow 2.11, by a process of its own.

Airflow 3 takes the same calls by its REST API: :class:`deploy.local.airflow_api.AirflowApi`.
"""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Protocol

SCRIPT = Path(__file__).parent / "airflow_2_user.py"


class User(Protocol):
    """What a user can do to a run."""

    def trigger(self, dag_id: str, params: Mapping[str, Any], run_id: str | None = None) -> str:
        """Start a run; returns its id."""
        ...

    def clear(self, dag_id: str, run_id: str, task_id: str) -> None:
        """Clear a task of a run, and what comes after it."""
        ...

    def delete(self, dag_id: str, run_id: str) -> None:
        """Delete a run."""
        ...

    def mark_failed(self, dag_id: str, run_id: str, task_id: str) -> None:
        """Mark a task as failed."""
        ...


class Airflow2User:
    """Sends jobs to the process of ``airflow_2_user``, one after the other."""

    def __init__(self, jobs: IO[str], answers: IO[str]) -> None:
        self._jobs = jobs
        self._answers = answers
        self._lock = threading.Lock()

    def trigger(self, dag_id: str, params: Mapping[str, Any], run_id: str | None = None) -> str:
        """Start a run; returns its id."""
        assert run_id
        self._do({"do": "trigger", "dag_id": dag_id, "run_id": run_id, "conf": params})
        return run_id

    def clear(self, dag_id: str, run_id: str, task_id: str) -> None:
        """Clear a task of a run, and what comes after it."""
        self._do({"do": "clear", "dag_id": dag_id, "run_id": run_id, "task_id": task_id})

    def delete(self, dag_id: str, run_id: str) -> None:
        """Delete a run."""
        self._do({"do": "delete", "dag_id": dag_id, "run_id": run_id})

    def mark_failed(self, dag_id: str, run_id: str, task_id: str) -> None:
        """Not needed: Airflow 2.11 tells neither trigger nor operator."""
        raise NotImplementedError

    def _do(self, job: Mapping[str, Any]) -> None:
        with self._lock:
            self._jobs.write(json.dumps(job) + "\n")
            self._jobs.flush()
            for line in self._answers:
                if line == "done\n":
                    return
                if line.startswith("failed: "):
                    raise RuntimeError(line.strip())
                # Any other line is a log line of Airflow's.
        raise RuntimeError("the process that acts for the user has ended; see user.log")


@contextmanager
def airflow_2_user(python: Path, env: Mapping[str, str], home: Path) -> Iterator[Airflow2User]:
    """Run the process of ``airflow_2_user``; its errors are in ``user.log``."""
    with (home / "user.log").open("wb") as errors:
        process = subprocess.Popen(
            [str(python), "-P", str(SCRIPT)],  # without its folder, where a module is named airflow
            env=dict(env),
            cwd=home,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield Airflow2User(process.stdin, process.stdout)
        process.stdin.close()
