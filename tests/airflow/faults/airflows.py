"""How an Airflow of each release line is started: all its components, small, and quick to miss a dead process."""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from deploy.local.processes import free_ports, wait_until
from deploy.local.stack import CHECKOUT, USER, settings
from tests.airflow.faults.lines import Line
from tests.airflow.faults.users import ProcessUser, RestUser

HERE = Path(__file__).parent
PYTHON_2 = CHECKOUT / ".venv-2.11" / "bin" / "python"
MARKS, SAMPLES = "KLING_FAULTS_MARKS", "KLING_FAULTS_SAMPLES"
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
        line.user = user = RestUser(url)
        line.stack.enter_context(user)
        log = home / "api-server.log"
        wait_until(user.is_healthy, process=server_process, log=log, timeout=180, what="Airflow")
        user.log_in(USER, password)
        _wait_for_dags(line)
        for dag_id in DAGS:
            user.unpause(dag_id)
        yield line


@contextmanager
def airflow_2(home: Path, connections: Mapping[str, str], samples: str) -> Iterator[Line]:
    """Airflow 2.11: scheduler with LocalExecutor and DAG processor, and a triggerer; runs are started by the CLI."""
    _, *log_ports = free_ports(3)
    home.mkdir(parents=True, exist_ok=True)
    env = {**os.environ, **settings(home, "http://127.0.0.1:9", log_ports), **_environment(home, connections, samples)}
    # LocalExecutor on SQLite: Airflow 2 refuses it since many writers wait for each other; a few do not wait long.
    env |= {
        "PATH": f"{PYTHON_2.parent}{os.pathsep}{os.environ['PATH']}",
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
            process = subprocess.Popen(
                [str(PYTHON_2), str(HERE / "users_of_2.py")],
                env=env,
                cwd=home,
                text=True,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
            )
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
    values = {f"AIRFLOW__{name.upper()}": str(value) for name, value in IMPATIENT.items()}
    folders = {MARKS: str(home / "marks"), SAMPLES: samples, "PYTHONPATH": str(CHECKOUT)}
    return values | dict(connections) | folders


def _version(python: Path) -> str:
    code = "import importlib.metadata as m; print(m.version('apache-airflow'))"
    return subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def _password(home: Path) -> str:
    password = secrets.token_urlsafe(9)
    (home / "passwords.json").write_text(json.dumps({USER: password}))
    return password
