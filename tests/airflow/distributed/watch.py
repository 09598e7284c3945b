"""A run as Airflow's database tells of it."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from demo.__main__ import say
from deploy.celery.cluster import Cluster

T = TypeVar("T")

LOOK = 0.5  # seconds between two looks
TELL = 15.0  # seconds between two lines about the progress
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


class Watch:
    """Looks at a run until something has happened, and tells how far it is.

    :param timeout: seconds after which the run is given up.
    """

    def __init__(self, airflow: Cluster, run_id: str, timeout: float) -> None:
        self.airflow = airflow
        self.run_id = run_id
        self._began = self._told = time.monotonic()
        self._deadline = self._began + timeout

    @property
    def seconds(self) -> float:
        """Since the run was started."""
        return time.monotonic() - self._began

    def until(self, look: Callable[[], T | None], what: str) -> T:
        """Look until the answer is a true one, and return it.

        :raises TimeoutError: the run has ended, or taken too long, before that.
        :raises ServerDied: a process has ended that nobody has killed.
        """
        while not (answer := look()):
            self.airflow.check()
            self._tell()
            if self.ended():
                raise TimeoutError(f"The run has ended before {what}.")
            if time.monotonic() > self._deadline:
                raise TimeoutError(f"After {self.seconds:.0f} s it is not so that {what}: {self.counts()}")
            time.sleep(LOOK)
        return answer

    def ended(self) -> str | None:
        """Return how the run ended, None while it goes on."""
        [run] = self.airflow.rows("select state from dag_run where run_id = %s", self.run_id)
        return run["state"] if run["state"] in ("success", "failed") else None

    def counts(self) -> Counter[str]:
        """How many task instances of both groups are in which state, such as ``"archive success"``."""
        query = "select task_id, state, count(*) from task_instance where run_id = %s group by task_id, state"
        counts: Counter[str] = Counter()
        for row in self.airflow.rows(query, self.run_id):
            counts[f"{row['task_id'].rpartition('.')[2]} {row['state']}"] += row["count"]
        return counts

    def retried(self) -> int:
        """How many task instances needed more than one try."""
        query = "select count(*) from task_instance where run_id = %s and try_number > 1"
        return int(self.airflow.rows(query, self.run_id)[0]["count"])

    def tries(self, instance: Instance) -> int:
        """The number of the last try of a task instance."""
        query = "select try_number from task_instance where run_id = %s and task_id = %s and map_index = %s"
        [row] = self.airflow.rows(query, self.run_id, instance.task_id, instance.map_index)
        return int(row["try_number"])

    def running(self) -> list[Instance]:
        """What workers have begun and not ended."""
        query = """select task_id, map_index, try_number, pid from task_instance
                   where run_id = %s and state = 'running' and pid is not null"""
        return [Instance(**row) for row in self.airflow.rows(query, self.run_id)]

    def triggers(self) -> dict[int, set[int]]:
        """The triggers of each triggerer."""
        found: dict[int, set[int]] = defaultdict(set)
        for row in self.airflow.rows("select id, triggerer_id from trigger where triggerer_id is not null"):
            found[row["triggerer_id"]].add(row["id"])
        return found

    def heartbeats(self) -> dict[int, datetime]:
        """When each triggerer was heard of last."""
        query = "select id, latest_heartbeat from job where job_type = 'TriggererJob'"
        return {row["id"]: row["latest_heartbeat"] for row in self.airflow.rows(query)}

    def _tell(self) -> None:
        if time.monotonic() - self._told < TELL:
            return
        self._told = time.monotonic()
        counts = self.counts()
        done = ", ".join(f"{task} {counts[f'{task} success']}" for task in TASKS)
        say(f"  {self.seconds:4.0f} s  done: {done}; {counts['wait deferred']} wait in the triggerers")
