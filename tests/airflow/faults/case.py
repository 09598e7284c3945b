"""Holds a row while it runs, for the action that breaks it and for the judge."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from deploy.local.waiting import wait_for
from tests.airflow.faults.model import Row, dag_id
from tests.airflow.harness.airflows import Airflow
from tests.airflow.harness.emulator import Emulator
from tests.airflow.harness.users import User

T = TypeVar("T")
ENDED = ("success", "failed")


@dataclass
class Case:
    """A row in execution.

    :param token: in the prompt of the row's generations and in the names of its runs.
    :param connection: id of the Airflow connection.
    :param archive: the destination of its images.
    :param another: starts another Airflow with the same DAGs and connections.
    :param taken_over: when a second triggerer took the trigger over, in Unix seconds.
    :param kling_task_id: of the generation that was paid for beforehand, for rows that only archive.
    """

    row: Row
    token: str
    airflow: Airflow
    user: User
    kling: Emulator
    connection: str
    archive: Path
    another: Callable[[str], AbstractContextManager[User]] | None = None
    kling_task_id: str | None = None
    faults: list[str] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)
    taken_over: float = 0.0
    given_up: threading.Event = field(default_factory=threading.Event)

    @property
    def dag_id(self) -> str:
        """Return the id of the row's DAG."""
        return dag_id(self.row.dag, self.row.route)

    @property
    def marks(self) -> Path:
        """Return the folder of the marks that the row's task processes write."""
        return self.airflow.home / "marks" / self.token

    def add_faults(self) -> None:
        """Put the row's faults in force, for its own prompt only."""
        for fault in self.row.faults:
            match = {"prompt": self.token, **fault.get("match", {})}
            self.faults.append(self.kling.fault(**{**fault, "match": match}))

    def lift(self, number: int = 0) -> None:
        """Take one of the row's faults away, after it has struck."""
        fault_id = self.faults[number]
        self.wait_for(f"{fault_id} to strike", lambda: self.hits().get(fault_id))
        self.faults.remove(fault_id)
        self.kling.remove(fault_id)

    def hits(self) -> dict[str, int]:
        """Return how often each fault of the emulator has struck."""
        return {fault_id: fault["hits"] for fault_id, fault in self.kling.faults().items()}

    def start_run(self) -> None:
        """Start a run of the row's DAG; another one if there is one already."""
        run_id = f"{self.token}-{len(self.runs) + 1}"
        self.runs.append(run_id)
        self.user.trigger(self.dag_id, self.conf(), run_id)

    def conf(self) -> dict[str, Any]:
        """Return what a run is told."""
        return {
            "token": self.token,
            "prompt": f"{self.token} {self.row.name}",
            "n": self.row.n,
            "connection": self.connection,
            "destination": self.archive.as_uri(),
            "kling_task_id": self.kling_task_id,
            "kills": [dict(kill) for kill in self.row.kills],
            "options": {task: dict(options) for task, options in self.row.options.items()},
            "edits": {task: dict(options) for task, options in self.row.edits.items()},
            "own_triggerer": self.row.own_triggerer,
        }

    def instances(self) -> list[dict[str, Any]]:
        """Return the task instances of all runs, as Airflow's database has them."""
        query = "select * from task_instance where dag_id = %s and run_id = any(%s) order by run_id, task_id"
        return self.airflow.database.rows(query, self.dag_id, self.runs)

    def task(self, task_id: str) -> dict[str, Any]:
        """Return a task instance of the first run."""
        return next(one for one in self.instances() if one["task_id"] == task_id and one["run_id"] == self.runs[0])

    def ended(self) -> bool:
        """Tell whether all runs have ended."""
        query = "select state from dag_run where dag_id = %s and run_id = any(%s)"
        states = [row["state"] for row in self.airflow.database.rows(query, self.dag_id, self.runs)]
        return len(states) == len(self.runs) and all(state in ENDED for state in states)

    def wait_for(self, what: str, poll: Callable[[], T | None]) -> T:
        """Call ``poll`` until it answers something true."""
        return wait_for(what, poll, check=self._check, describe=self._describe)

    def _check(self) -> None:
        if self.given_up.is_set():
            raise InterruptedError("the table was given up")

    def _describe(self) -> str:
        states = {one["task_id"]: one["state"] for one in self.instances()} if self.runs else "not started"
        return f"the tasks are {states}"

    def has_event(self, event: str) -> bool:
        """Tell whether Airflow's audit log has an event of the first run."""
        query = "select 1 from log where event = %s and dag_id = %s and run_id = %s"
        return bool(self.airflow.database.rows(query, event, self.dag_id, self.runs[0]))

    def wait_for_state(self, task_id: str, state: str) -> dict[str, Any]:
        """Wait until a task is in a state."""

        def there() -> dict[str, Any] | None:
            task = self.task(task_id)
            return task if task["state"] == state else None

        return self.wait_for(f"{task_id} {state}", there)

    def wait_for_trigger(self, task_id: str, *, not_by: int | None = None) -> dict[str, Any]:
        """Wait until a triggerer runs the trigger of a deferred task.

        :param not_by: another triggerer than this one.
        """

        def assigned() -> dict[str, Any] | None:
            query = """select trigger.id, triggerer_id, kwargs from trigger join task_instance ti
                       on ti.trigger_id = trigger.id where ti.dag_id = %s and ti.run_id = %s and ti.task_id = %s"""
            found = self.airflow.database.rows(query, self.dag_id, self.runs[0], task_id)
            trigger = found[0] if found else {"triggerer_id": None}
            return trigger if trigger["triggerer_id"] not in (None, not_by) else None

        return self.wait_for(f"a trigger of {task_id} in a triggerer", assigned)

    def processes(self, task_id: str) -> list[dict[str, Any]]:
        """Return the processes in which a task ran so far, in order."""
        return [json.loads(note.read_text()) for note in sorted(self.marks.glob(f"{task_id}.*.process"))]

    def kill_task(self, task_id: str) -> None:
        """SIGKILL the process in which a task runs, and write the mark of a kill."""
        pid = self.processes(task_id)[-1]["pid"]
        os.kill(pid, signal.SIGKILL)
        (self.marks / f"{len(self.row.kills)}.kill").write_text(json.dumps({"pid": pid, "time": time.time()}))

    def kills(self) -> list[dict[str, Any]]:
        """Return the kills that happened."""
        return [json.loads(mark.read_text()) for mark in self.marks.glob("*.kill")]

    def log_sizes(self) -> dict[str, int]:
        """Return the size of each log file of all runs."""
        return {str(file): file.stat().st_size for run_id in self.runs for file in self.log_files(run_id)}

    def log_files(self, run_id: str) -> list[Path]:
        """Return the log files of a run."""
        return self.airflow.log_files(self.dag_id, run_id)

    def log(self) -> str:
        """Return all that was logged in all runs."""
        return "\n".join(self.airflow.log(self.dag_id, run_id) for run_id in self.runs)
