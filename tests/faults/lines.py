"""The two release lines of Airflow that the table runs on: how each one's servers are started and spoken to."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol

import psutil

from demo.airflow_api import AirflowApi
from demo.processes import free_ports, server, wait_until
from demo.stack import CHECKOUT, USER, settings

HERE = Path(__file__).parent
PYTHON_2 = CHECKOUT / ".venv-2.11" / "bin" / "python"
MARKS, SAMPLES = "KLING_FAULTS_MARKS", "KLING_FAULTS_SAMPLES"
SHARED_QUEUE = "default"
DAGS = ("faults_apart", "faults_together", "faults_archive")

# A dead worker is missed after some 20 s, and a stopped triggerer after 6 s, not after minutes.
IMPATIENT = {
    "core__parallelism": 6,
    "core__max_active_tasks_per_dag": 100,
    "core__dags_folder": HERE / "dags",
    "dag_processor__min_file_process_interval": 3600,
    "scheduler__min_file_process_interval": 3600,
    "scheduler__task_instance_heartbeat_timeout": 20,
    "scheduler__task_instance_heartbeat_timeout_detection_interval": 3,
    "scheduler__scheduler_idle_sleep_time": 0.5,
    "scheduler__scheduler_heartbeat_sec": 2,
    "scheduler__max_dagruns_per_loop_to_schedule": 100,
    "scheduler__trigger_timeout_check_interval": 5,
    "triggerer__job_heartbeat_sec": 1,
    "triggerer__triggerer_health_check_threshold": 6,
    "triggerer__queues_enabled": True,
    "workers__min_heartbeat_interval": 2,
}


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

    def trigger(self, dag_id: str, run_id: str, conf: Mapping[str, Any]) -> None:
        """Start a run."""
        self.user.trigger(dag_id, run_id, conf)

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


@contextmanager
def airflow_3(home: Path, connections: Mapping[str, str], samples: str) -> Iterator[Line]:
    """Airflow 3: scheduler with LocalExecutor, DAG processor, API server and one triggerer for the shared queue."""
    api_port, execution_port, *log_ports = free_ports(4)
    url = f"http://127.0.0.1:{api_port}"
    home.mkdir(parents=True, exist_ok=True)
    password = _password(home)
    env = {**os.environ, **settings(home, url, log_ports), **_environment(home, connections, samples)}
    env |= {
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}?timeout=60",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{execution_port}/execution/",
    }
    line = Line(_version(Path(sys.executable)), home, env, Path(sys.executable), has_queues=True)
    with line.stack:
        line.command("db", "migrate")
        # Two API servers: on SQLite a user's request and a task's would wait for each other inside of one.
        line.start("execution-api", "api-server", "--apps", "execution", "--port", str(execution_port))
        server_process = line.start("api-server", "api-server", "--apps", "core")
        line.scheduler = line.start("scheduler", "scheduler")
        line.start("dag-processor", "dag-processor")
        line.triggerer("triggerer")
        line.user = user = line.stack.enter_context(RestUser(url))
        log = home / "api-server.log"
        wait_until(user.is_healthy, process=server_process, log=log, timeout=180, what="Airflow")
        user.log_in(USER, password)
        _wait_for_dags(line)
        for dag_id in DAGS:
            user.unpause(dag_id)
        yield line


class User(Protocol):
    """What a user can do to a run."""

    def trigger(self, dag_id: str, run_id: str, conf: Mapping[str, Any]) -> None:
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

    def trigger(self, dag_id: str, run_id: str, conf: Mapping[str, Any]) -> None:
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

    def trigger(self, dag_id: str, run_id: str, conf: Mapping[str, Any]) -> None:
        """Start a run."""
        self._do({"do": "trigger", "dag_id": dag_id, "run_id": run_id, "conf": conf})

    def clear(self, dag_id: str, run_id: str, task_id: str) -> None:
        """Clear a task of a run and what comes after it."""
        self._do({"do": "clear", "dag_id": dag_id, "run_id": run_id, "task_ids": [task_id]})

    def mark_failed(self, dag_id: str, run_id: str, task_id: str) -> None:
        """Not needed: Airflow 2.11 tells neither trigger nor operator."""
        raise NotImplementedError

    def _do(self, job: Mapping[str, Any]) -> None:
        with self._one_at_a_time:
            self._jobs.write(json.dumps(job) + "\n")
            self._jobs.flush()
            # Airflow writes lines of its own to standard output.
            while (line := self._answers.readline()) and line != "done\n":
                pass
            if not line:
                raise RuntimeError("the process that acts for the user has ended; see user.log")


@contextmanager
def airflow_2(home: Path, connections: Mapping[str, str], samples: str) -> Iterator[Line]:
    """Airflow 2.11: scheduler with LocalExecutor and DAG processor, and a triggerer; runs are started by the CLI."""
    _, *log_ports = free_ports(3)
    home.mkdir(parents=True, exist_ok=True)
    env = {**os.environ, **settings(home, "http://127.0.0.1:9", log_ports), **_environment(home, connections, samples)}
    # LocalExecutor on SQLite: Airflow 2 refuses it since many writers wait for each other; a few do not wait long.
    env |= {
        "_AIRFLOW__SKIP_DATABASE_EXECUTOR_COMPATIBILITY_CHECK": "1",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}?timeout=60",
        "AIRFLOW__CORE__PARALLELISM": "3",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__SCHEDULER__SCHEDULER_ZOMBIE_TASK_THRESHOLD": "20",
        "AIRFLOW__SCHEDULER__ZOMBIE_DETECTION_INTERVAL": "3",
    }
    line = Line(_version(PYTHON_2), home, env, PYTHON_2, has_queues=False)
    with line.stack:
        line.command("db", "migrate")
        _let_readers_and_a_writer_coexist(home / "airflow.db")
        line.scheduler = line.start("scheduler", "scheduler", "--skip-serve-logs")
        line.triggerer("triggerer")
        _wait_for_dags(line)
        with (home / "user.log").open("wb") as errors:
            command = [str(PYTHON_2), str(HERE / "users_of_2.py")]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": errors}
            process = subprocess.Popen(command, env=env, cwd=home, text=True, **pipes)
        with process:
            assert process.stdin is not None
            assert process.stdout is not None
            line.user = ProcessUser(process.stdin, process.stdout)
            yield line
            process.stdin.close()


def _let_readers_and_a_writer_coexist(database: Path) -> None:
    """What Airflow 3 does to its SQLite database by itself; it stays with the file."""
    connection = sqlite3.connect(database)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.close()


def _wait_for_dags(line: Line) -> None:
    def has_dags() -> bool | None:
        return len(line.rows("select dag_id from serialized_dag")) == len(DAGS) or None

    log = line.home / "scheduler.log"
    wait_until(has_dags, process=line.scheduler, log=log, timeout=120, what=f"Airflow {line.version}")


def _environment(home: Path, connections: Mapping[str, str], samples: str) -> dict[str, str]:
    # `settings` turns what it is given into names of Airflow's own, and so must this.
    values = {f"AIRFLOW__{name.upper()}": str(value) for name, value in IMPATIENT.items()}
    folders = {MARKS: str(home / "marks"), SAMPLES: samples, "PYTHONPATH": str(CHECKOUT)}
    return values | dict(connections) | folders


def _version(python: Path) -> str:
    code = "import importlib.metadata as m; print(m.version('apache-airflow'))"
    return subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def _password(home: Path) -> str:
    password = "faults-of-this-run"
    (home / "passwords.json").write_text(json.dumps({USER: password}))
    return password
