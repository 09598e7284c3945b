"""Follows a DAG run in Airflow's database: waits for its states, and prints how far it is."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from deploy.celery.cluster import Cluster
from deploy.local.terminal import say
from deploy.local.waiting import wait_for

T = TypeVar("T")

PRINT_EVERY = 15.0  # seconds between two lines about the progress
TASKS = ("submit", "wait", "archive")


@dataclass(frozen=True)
class Instance:
    """A try of a task instance, and the process that runs it."""

    task_id: str
    map_index: int
    try_number: int
    pid: int

    def __str__(self) -> str:
        return f"{self.task_id}[{self.map_index}]"


class Progress:
    """Waits for the states of a run, and prints how far it is meanwhile.

    :param timeout: seconds without any change after which the run is given up.
    """

    def __init__(self, airflow: Cluster, run_id: str, timeout: float) -> None:
        self.airflow = airflow
        self.run_id = run_id
        self._began = self._printed = time.monotonic()
        self._timeout = timeout

    @property
    def seconds(self) -> float:
        """Return the seconds since the run was started."""
        return time.monotonic() - self._began

    def wait_for(self, what: str, poll: Callable[[], T | None]) -> T:
        """Call ``poll`` until the answer is a true one, and return it.

        :raises TimeoutError: the run has ended before that, or hangs.
        :raises ServerDied: a process has ended that nobody has killed.
        """
        return wait_for(
            what, poll, timeout=self._timeout, check=lambda: self._check(what), describe=self.counts, pause=0.5
        )

    def wait_for_end(self) -> str:
        """Wait until the run has ended; returns its state."""
        return wait_for(
            "the end of the run", self.ended, timeout=self._timeout, check=self._go_on, describe=self.counts
        )

    def _check(self, what: str) -> None:
        self._go_on()
        if self.ended():
            raise TimeoutError(f"The run has ended before {what}: {self.counts()}")

    def _go_on(self) -> None:
        self.airflow.check()
        self._print()

    def ended(self) -> str | None:
        """Return how the run ended, None while it goes on."""
        [run] = self.airflow.rows("select state from dag_run where run_id = %s", self.run_id)
        return run["state"] if run["state"] in ("success", "failed") else None

    def counts(self) -> Counter[str]:
        """Count the task instances of both groups by task and state, such as ``"archive success"``."""
        query = "select task_id, state, count(*) from task_instance where run_id = %s group by task_id, state"
        counts: Counter[str] = Counter()
        for row in self.airflow.rows(query, self.run_id):
            counts[f"{row['task_id'].rpartition('.')[2]} {row['state']}"] += row["count"]
        return counts

    def retried(self) -> int:
        """Count the task instances that needed more than one try."""
        query = "select count(*) from task_instance where run_id = %s and try_number > 1"
        return int(self.airflow.rows(query, self.run_id)[0]["count"])

    def tries(self, instance: Instance) -> int:
        """Return the number of the last try of a task instance."""
        query = "select try_number from task_instance where run_id = %s and task_id = %s and map_index = %s"
        [row] = self.airflow.rows(query, self.run_id, instance.task_id, instance.map_index)
        return int(row["try_number"])

    def running(self) -> list[Instance]:
        """Return the task instances that run on workers."""
        query = """select task_id, map_index, try_number, pid from task_instance
                   where run_id = %s and state = 'running' and pid is not null"""
        return [Instance(**row) for row in self.airflow.rows(query, self.run_id)]

    def triggers(self) -> dict[int, set[int]]:
        """Return the triggers of each triggerer."""
        found: dict[int, set[int]] = defaultdict(set)
        for row in self.airflow.rows("select id, triggerer_id from trigger where triggerer_id is not null"):
            found[row["triggerer_id"]].add(row["id"])
        return found

    def heartbeats(self) -> dict[int, datetime]:
        """Return the last heartbeat of each triggerer."""
        query = "select id, latest_heartbeat from job where job_type = 'TriggererJob'"
        return {row["id"]: row["latest_heartbeat"] for row in self.airflow.rows(query)}

    def _print(self) -> None:
        if time.monotonic() - self._printed < PRINT_EVERY:
            return
        self._printed = time.monotonic()
        counts = self.counts()
        done = ", ".join(f"{task} {counts[f'{task} success']}" for task in TASKS)
        say(f"  {self.seconds:4.0f} s  done: {done}; {counts['wait deferred']} wait in the triggerers")
