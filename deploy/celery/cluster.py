"""The processes of the Procfile, in the environment of airflow.env, over a PostgreSQL and a Redis of their own."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil
import psycopg2
import psycopg2.extras
from cryptography.fernet import Fernet

from deploy.celery.files import read_env, read_procfile
from deploy.celery.services import postgres, redis_server
from deploy.local.airflow_api import AirflowApi
from deploy.local.processes import ServerDied, free_ports, server, tail, wait_until
from deploy.local.stack import CHECKOUT

HERE = Path(__file__).parent
LOGIN = "admin"
START_TIMEOUT = 180.0


@dataclass
class Cluster:
    """A running Airflow on CeleryExecutor.

    :param url: of its UI and API.
    :param password: of the user ``admin``.
    :param api: a client of its REST API.
    :param database: ``user:password@host:port/name`` of its PostgreSQL.
    :param logs: a file for each process.
    """

    url: str
    password: str
    api: AirflowApi
    database: str
    logs: Path
    env: dict[str, str]
    commands: dict[str, list[str]]
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    stack: ExitStack = field(default_factory=ExitStack)

    def start(self, name: str) -> None:
        """Start a process of the Procfile, or start it again."""
        log = self.logs / f"{name}.log"
        with suppress(FileNotFoundError):
            log.rename(self.logs / f"{name}.killed.log")
        running = server(self.commands[name], log=log, env=self.env, cwd=self.logs, grace=15)
        self.processes[name] = self.stack.enter_context(running)

    def check(self) -> None:
        """Raise ``ServerDied`` when a process has ended by itself."""
        for name, process in self.processes.items():
            if process.poll() is not None:
                raise ServerDied(
                    f"{name} ended with exit code {process.returncode}:\n{tail(self.logs / f'{name}.log')}"
                )

    def interrupt(self) -> None:
        """Ask every process to end, at once; each is waited for afterwards."""
        for process in self.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGINT)

    def kill(self, name: str) -> None:
        """SIGKILL a process and all its descendants at once, as a lost machine would; they have no time to say so."""
        process = self.processes.pop(name)
        root = psutil.Process(process.pid)
        frozen: list[psutil.Process] = []
        # Frozen first, parents before children: whoever is killed while others run may have just forked.
        while fresh := [one for one in (root, *root.children(recursive=True)) if one not in frozen]:
            for one in fresh:
                with suppress(psutil.NoSuchProcess):
                    one.suspend()
            frozen += fresh
        for one in frozen:
            with suppress(psutil.NoSuchProcess):
                one.kill()
        process.wait()

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """Ask Airflow's database: what Airflow itself believes."""
        with self._connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor:
            cursor.execute(query, values)
            return [dict(row) for row in cursor.fetchall()]

    @cached_property
    def _connection(self) -> Any:
        connection = psycopg2.connect(f"postgresql://{self.database}")
        connection.autocommit = True
        self.stack.callback(connection.close)
        return connection


@contextmanager
def cluster(folder: Path, connections: Mapping[str, Mapping[str, Any]], *env_files: Path) -> Iterator[Cluster]:
    """Bring everything up on free ports of 127.0.0.1; nothing of it is left afterwards but the folder.

    :param folder: new or empty; logs are in ``logs`` below it.
    :param connections: Airflow connections by id; in production they are in a secrets backend.
    :param env_files: read after ``airflow.env``.
    """
    folder.chmod(0o711)  # PostgreSQL runs as another user, when we are root
    (logs := folder / "logs").mkdir(exist_ok=True)
    (home := folder / "airflow").mkdir()
    with ExitStack() as stack:
        database = stack.enter_context(postgres(folder / "postgres", logs / "postgres.log"))
        broker = stack.enter_context(redis_server(folder / "redis", logs / "redis.log"))
        [port] = free_ports(1)
        url = f"http://127.0.0.1:{port}"
        values = {
            "AIRFLOW_HOME": str(home),
            "DAGS_FOLDER": str(HERE / "dags"),
            "POSTGRES": database,
            "REDIS_URL": broker,
            "API_URL": url,
            "API_HOST": "127.0.0.1",
            "API_PORT": str(port),
            "JWT_SECRET": secrets.token_urlsafe(32),
            "FERNET_KEY": Fernet.generate_key().decode(),
        }
        env = dict(os.environ)
        for file in (HERE / "airflow.env", *env_files):
            env |= read_env(file.read_text(), values)
        env |= {f"AIRFLOW_CONN_{name.upper()}": json.dumps(value) for name, value in connections.items()}
        env |= _of_this_checkout() | _login(home, password := secrets.token_urlsafe(9))
        api = stack.enter_context(AirflowApi(url))
        commands = read_procfile((HERE / "Procfile").read_text())
        made = Cluster(url, password, api, database, logs, env, commands, stack=stack.enter_context(ExitStack()))
        try:
            _start(made)
            yield made
        finally:
            made.interrupt()


def _of_this_checkout() -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {"PATH": path, "PYTHONPATH": str(CHECKOUT), "PYTHONUNBUFFERED": "1"}


def _login(home: Path, password: str) -> dict[str, str]:
    """The simple auth manager, with one user: for a run on one machine, production has its own."""
    file = home / "passwords.json"
    file.touch(mode=0o600)
    file.write_text(json.dumps({LOGIN: password}))
    return {
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{LOGIN}:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(file),
    }


def _start(made: Cluster) -> None:
    migrated = subprocess.run(["airflow", "db", "migrate"], env=made.env, cwd=made.logs, capture_output=True, text=True)
    if migrated.returncode:
        raise ServerDied(f"airflow db migrate: {migrated.stderr[-2000:]}")
    for name in made.commands:
        made.start(name)
    api_server, log = made.processes["api-server"], made.logs / "api-server.log"

    def is_up() -> bool | None:
        made.check()
        return made.api.is_healthy()

    wait_until(is_up, process=api_server, log=log, timeout=START_TIMEOUT, what="Airflow")
    made.api.log_in(LOGIN, made.password)
