"""Starts a real Airflow for the tests: each component a process of its own, on PostgreSQL and LocalExecutor.

System, browser and fault tests start theirs here, so that they can share one: the components stand apart for those that
kill them, and one API server serves users and tasks.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from deploy.local.airflow_api import AirflowApi
from deploy.local.components import Components
from deploy.local.paths import CHECKOUT
from deploy.local.processes import free_ports
from deploy.local.stack import USER, settings, variables, write_password
from deploy.local.waiting import wait_for
from tests.airflow.harness.database import Database, database
from tests.airflow.harness.users import User, airflow_2_user

NOTHING: Mapping[str, Any] = MappingProxyType({})
SHARED_QUEUE = "default"
PYTHON_2 = CHECKOUT / ".venv-2.11" / "bin" / "python"


@dataclass(kw_only=True)
class Airflow(Components):
    """A running Airflow.

    :param version: of ``apache-airflow``.
    :param home: its ``AIRFLOW_HOME``.
    :param database: its PostgreSQL.
    :param python: the interpreter of its processes.
    :param has_queues: each triggerer runs the triggers of one queue (Airflow 3.2+).
    """

    version: str
    home: Path
    database: Database
    python: Path
    has_queues: bool

    @property
    def scheduler(self) -> subprocess.Popen[bytes]:
        """The scheduler's process."""
        return self.processes["scheduler"]

    def component(self, name: str, *options: str) -> subprocess.Popen[bytes]:
        """Start a component by its name on the command line of Airflow."""
        return self.start(name, *self.command(name, *options))

    def triggerer(self, name: str, queue: str = SHARED_QUEUE) -> subprocess.Popen[bytes]:
        """Start a triggerer that runs the triggers of one queue, so that a test can kill it without harm to others."""
        queues = ("--queues", queue) if self.has_queues else ()
        return self.start(name, *self.command("triggerer", "--skip-serve-logs", *queues))

    def command(self, *words: str) -> list[str]:
        """Return a command of Airflow's command line."""
        return [str(self.python), "-m", "airflow", *words]

    def wait_until_worker_is_done(self, run_id: str, task_id: str, try_number: int, map_index: int = -1) -> None:
        """Wait until the scheduler has heard from its executor that the process of a try has ended well.

        A deferred task whose trigger fires before that may be failed by the scheduler (apache/airflow#67287).
        """
        words = [f"run_id={run_id!r}", f"task_id={task_id!r}", f"map_index={map_index}", f"try_number={try_number}"]

        def has_heard() -> bool:
            lines = self.log_of("scheduler").read_text(errors="replace").splitlines()
            events = (line for line in lines if "Received executor event with state success" in line)
            return any(all(word in line for word in words) for line in events)

        wait_for(f"the executor's event about {' '.join(words)}", has_heard, check=self.check)

    def log(self, dag_id: str, run_id: str) -> str:
        """Return all that every try of a run and its triggers have logged."""
        return "\n".join(file.read_text(errors="replace") for file in self.log_files(dag_id, run_id))

    def log_files(self, dag_id: str, run_id: str) -> list[Path]:
        """Return the log files of all tries of a run and of its triggers."""
        return sorted(self.logs_of_run(dag_id, run_id).rglob("*.log*"))

    def logs_of_run(self, dag_id: str, run_id: str) -> Path:
        """Return the folder of a run's log files."""
        return self.home / "logs" / f"dag_id={dag_id}" / f"run_id={run_id}"


@dataclass(kw_only=True)
class Airflow3(Airflow):
    """A running Airflow 3.

    :param url: of its UI and API.
    :param passwords: by user.
    :param api: a client of its REST API, as the user ``admin``.
    """

    url: str
    passwords: dict[str, str]
    api: AirflowApi


@contextmanager
def airflow_3(
    home: Path,
    connections: Mapping[str, Mapping[str, Any]],
    *,
    dags: Sequence[Path],
    options: Mapping[str, object] = NOTHING,
    env: Mapping[str, str] = NOTHING,
    has_queues: bool = False,
) -> Iterator[Airflow3]:
    """Run API server, scheduler, DAG processor and triggerer on free ports.

    :param connections: by id. They go to Airflow through the environment alone, so their keys are in no file.
    :param dags: folders of DAG files.
    :param options: settings of Airflow by ``section__name``.
    :param env: more of the environment, for the DAG files.
    :param has_queues: the triggerer runs the triggers of the queue ``default`` only, so that a test can start others
        for other queues. A sensor that starts in the triggerer has no queue, so no triggerer runs it then.
    """
    home.mkdir(parents=True, exist_ok=True)
    write_password(home)
    api_port, *log_ports = free_ports(3)
    url = f"http://127.0.0.1:{api_port}"
    bundles = {
        "dag_processor__dag_bundle_config_list": json.dumps([_bundle(folder) for folder in dags]),
        "triggerer__queues_enabled": has_queues,
    }
    with ExitStack() as ends:
        stored = ends.enter_context(database(home / "postgres.log"))
        made = Airflow3(
            env=_environment(settings(home, url, log_ports), connections, {**bundles, **options}, stored) | dict(env),
            logs=home,
            version=_version(Path(sys.executable)),
            home=home,
            database=stored,
            python=Path(sys.executable),
            has_queues=has_queues,
            url=url,
            passwords={},
            api=ends.enter_context(AirflowApi(url)),
        )
        ends.enter_context(made.stack)
        made.run(*made.command("db", "migrate"))
        # It ends last: tasks that run while the scheduler ends tell it how they ended.
        made.component("api-server")
        for name in ("scheduler", "dag-processor"):
            made.component(name)
        made.triggerer("triggerer")
        wait_for("Airflow's health", made.api.is_healthy, check=made.check)
        made.passwords |= json.loads((home / "passwords.json").read_text())
        made.api.log_in(USER, made.passwords[USER])
        try:
            yield made
        finally:
            made.stop(but=["api-server"])


@contextmanager
def airflow_2(
    home: Path,
    connections: Mapping[str, Mapping[str, Any]],
    *,
    dags: Path,
    options: Mapping[str, object] = NOTHING,
    env: Mapping[str, str] = NOTHING,
) -> Iterator[tuple[Airflow, User]]:
    """Run the scheduler of Airflow 2.11, which reads the DAG files, and a triggerer; yields a user of it, too."""
    home.mkdir(parents=True, exist_ok=True)
    _, *log_ports = free_ports(3)
    more = {
        "core__dags_folder": dags,
        "core__dags_are_paused_at_creation": False,
        "scheduler__scheduler_zombie_task_threshold": 20,
        "scheduler__zombie_detection_interval": 3,
    }
    path = {"PATH": f"{PYTHON_2.parent}{os.pathsep}{os.environ['PATH']}"}
    nowhere = "http://127.0.0.1:9"  # there is no API server
    with ExitStack() as ends:
        stored = ends.enter_context(database(home / "postgres.log"))
        variables_3 = settings(home, nowhere, log_ports)
        made = Airflow(
            env=_environment(variables_3, connections, {**more, **options}, stored) | path | dict(env),
            logs=home,
            version=_version(PYTHON_2),
            home=home,
            database=stored,
            python=PYTHON_2,
            has_queues=False,
        )
        ends.enter_context(made.stack)
        made.run(*made.command("db", "migrate"))
        made.component("scheduler", "--skip-serve-logs")
        made.triggerer("triggerer")
        yield made, ends.enter_context(airflow_2_user(PYTHON_2, made.env, home))
        made.stop()


def _bundle(folder: Path) -> dict[str, Any]:
    """Return a folder of DAG files as Airflow is configured to read it."""
    classpath = "airflow.dag_processing.bundles.local.LocalDagBundle"
    return {"name": "-".join(folder.parts[-2:]), "classpath": classpath, "kwargs": {"path": str(folder)}}


def _environment(
    base: Mapping[str, str],
    connections: Mapping[str, Mapping[str, Any]],
    options: Mapping[str, object],
    stored: Database,
) -> dict[str, str]:
    given = {f"AIRFLOW_CONN_{name.upper()}": json.dumps(value) for name, value in connections.items()}
    return {**os.environ, **base, **stored.env, **variables(options), **given, "PYTHONPATH": str(CHECKOUT)}


def _version(python: Path) -> str:
    code = "import importlib.metadata as m; print(m.version('apache-airflow'))"
    return subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip()
