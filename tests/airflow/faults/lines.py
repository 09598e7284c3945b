"""A running Airflow: its processes, its database, its logs."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import threading
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from deploy.local.processes import server
from tests.airflow.faults.users import User

SHARED_QUEUE = "default"


@dataclass
class Line:
    """A running Airflow.

    :param version: as it says itself.
    :param home: its ``AIRFLOW_HOME``.
    :param env: of its processes.
    :param has_queues: a triggerer can be given a queue (Airflow 3.2+).
    :param scheduler: the scheduler's process.
    :param user: who starts runs and interferes with them.
    :param given_up: nobody waits for rows any more.
    """

    version: str
    home: Path
    env: dict[str, str]
    python: Path
    has_queues: bool
    scheduler: subprocess.Popen[bytes] = field(init=False)
    user: User = field(init=False)
    stack: ExitStack = field(default_factory=ExitStack)
    given_up: threading.Event = field(default_factory=threading.Event)

    @property
    def marks(self) -> Path:
        """Where the task processes leave their marks."""
        return self.home / "marks"

    def rows(self, query: str, *values: Any) -> list[sqlite3.Row]:
        """Ask Airflow's database: what Airflow itself believes."""
        database = sqlite3.connect(f"file:{self.home / 'airflow.db'}?mode=ro", uri=True, timeout=30)
        try:
            database.row_factory = sqlite3.Row
            return database.execute(query, values).fetchall()
        finally:
            database.close()

    def start(self, name: str, *command: str) -> subprocess.Popen[bytes]:
        """Start a component; it ends with the line."""
        running = server(
            [str(self.python), "-m", "airflow", *command],
            log=self.home / f"{name}.log",
            env=self.env,
            cwd=self.home,
            grace=10,
        )
        return self.stack.enter_context(running)

    def triggerer(self, name: str, queue: str = SHARED_QUEUE) -> subprocess.Popen[bytes]:
        """Start a triggerer for one queue, so that it can be hurt without the others' knowledge."""
        queues = ("--queues", queue) if self.has_queues else ()
        return self.start(name, "triggerer", "--skip-serve-logs", *queues)

    def command(self, *command: str) -> None:
        """Run an ``airflow`` command to its end."""
        done = subprocess.run(
            [str(self.python), "-m", "airflow", *command], env=self.env, cwd=self.home, capture_output=True, text=True
        )
        if done.returncode:
            raise RuntimeError(f"airflow {' '.join(command[:2])}: {done.stderr[-2000:]}")

    def log(self, dag_id: str, run_id: str) -> str:
        """All that was logged in a run, by every try and by its triggers."""
        folder = self.home / "logs" / f"dag_id={dag_id}" / f"run_id={run_id}"
        files = sorted(folder.rglob("*.log*"))
        return "\n".join(file.read_text(errors="replace") for file in files)


def tree(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """A process that we started and all its descendants, children first."""
    root = psutil.Process(process.pid)
    return [*reversed(root.children(recursive=True)), root]


def signal_tree(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Send a signal to a process that we started and its descendants, parents first for ``SIGSTOP``."""
    for one in reversed(tree(process)):
        one.send_signal(number)
