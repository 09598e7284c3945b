"""One row while it runs: the handles that its action and its judge need."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from tests.airflow.faults.kling import Kling
from tests.airflow.faults.lines import Line
from tests.airflow.faults.model import Row

T = TypeVar("T")
PATIENCE = 240.0  # seconds until a row that has not ended counts as hung
ENDED = ("success", "failed")


@dataclass
class Case:
    """A row in execution.

    :param token: in the prompt of the row's generations and in the names of its runs.
    :param connection: id of the Airflow connection.
    :param archive: the destination of its images.
    :param kling_task_id: of the generation that was paid for beforehand, for rows that only archive.
    """

    row: Row
    token: str
    line: Line
    kling: Kling
    connection: str
    archive: Path
    kling_task_id: str | None = None
    faults: list[str] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)

    @property
    def dag_id(self) -> str:
        """The row's DAG."""
        return f"faults_{self.row.dag}"

    @property
    def marks(self) -> Path:
        """Where the row's task processes leave their marks."""
        return self.line.marks / self.token

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
        """How often each fault of the emulator has struck."""
        return {fault["id"]: fault["hits"] for fault in self.kling.control("GET", "faults")["faults"]}

    def start_run(self) -> None:
        """Start a run of the row's DAG; another one if there is one already."""
        run_id = f"{self.token}-{len(self.runs) + 1}"
        self.runs.append(run_id)
        conf = {
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
        self.line.user.start_run(self.dag_id, run_id, conf)

    def instances(self) -> list[dict[str, Any]]:
        """The task instances of all runs, as Airflow's database has them."""
        marks = ", ".join("?" * len(self.runs))
        query = f"select * from task_instance where dag_id = ? and run_id in ({marks}) order by run_id, task_id"
        return [dict(row) for row in self.line.rows(query, self.dag_id, *self.runs)]

    def task(self, task_id: str) -> dict[str, Any]:
        """A task instance of the first run."""
        return next(one for one in self.instances() if one["task_id"] == task_id and one["run_id"] == self.runs[0])

    def ended(self) -> bool:
        """Whether all runs have."""
        marks = ", ".join("?" * len(self.runs))
        query = f"select state from dag_run where dag_id = ? and run_id in ({marks})"
        states = [row["state"] for row in self.line.rows(query, self.dag_id, *self.runs)]
        return len(states) == len(self.runs) and all(state in ENDED for state in states)

    def wait_for(self, what: str, ready: Callable[[], T | None], timeout: float = PATIENCE) -> T:
        """Call ``ready`` until it answers something true."""
        deadline = time.monotonic() + timeout
        while not (answer := ready()):
            if time.monotonic() > deadline:
                states = {one["task_id"]: one["state"] for one in self.instances()}
                raise TimeoutError(f"waited {timeout:.0f} s for: {what}; the tasks are {states}")
            if self.line.given_up.wait(0.4):
                raise InterruptedError(what)
        return answer

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
                       on ti.trigger_id = trigger.id where ti.dag_id = ? and ti.run_id = ? and ti.task_id = ?"""
            found = self.line.rows(query, self.dag_id, self.runs[0], task_id)
            trigger = dict(found[0]) if found else {"triggerer_id": None}
            return trigger if trigger["triggerer_id"] not in (None, not_by) else None

        return self.wait_for(f"a trigger of {task_id} in a triggerer", assigned)

    def processes(self, task_id: str) -> list[dict[str, Any]]:
        """The processes in which a task ran so far, in order."""
        return [json.loads(note.read_text()) for note in sorted(self.marks.glob(f"{task_id}.*.process"))]

    def kill_task(self, task_id: str) -> None:
        """SIGKILL the process in which a task runs, and leave the mark of a kill."""
        pid = self.processes(task_id)[-1]["pid"]
        os.kill(pid, signal.SIGKILL)
        (self.marks / f"{len(self.row.kills)}.kill").write_text(json.dumps({"pid": pid, "time": time.time()}))

    def kills(self) -> list[dict[str, Any]]:
        """The kills that happened."""
        return [json.loads(mark.read_text()) for mark in self.marks.glob("*.kill")]

    def log(self) -> str:
        """All that was logged in all runs."""
        return "\n".join(self.line.log(self.dag_id, run_id) for run_id in self.runs)
