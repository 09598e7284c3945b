"""Runs the processes of the Procfile, each with its env files, and a PostgreSQL and a Redis of their own."""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cryptography.fernet import Fernet

from deploy.celery.files import env_files, read_env, read_procfile
from deploy.celery.services import add_database, postgres, redis_server, rows
from deploy.local.airflow_api import AirflowApi
from deploy.local.components import Components
from deploy.local.paths import CHECKOUT
from deploy.local.processes import free_ports
from deploy.local.stack import USER, variables, write_password
from deploy.local.waiting import wait_for

HERE = Path(__file__).parent
#: Starts of the names of the processes that use connections.
CONNECTED = ("worker", "triggerer")
NO_SETTINGS: Mapping[str, object] = MappingProxyType({})


@dataclass(kw_only=True)
class Cluster(Components):
    """A running Airflow on CeleryExecutor.

    :param api: a client of its REST API.
    :param database: ``user:password@host:port/name`` of its PostgreSQL.
    :param commands: of the Procfile, by name.
    :param envs: environments of the processes, by name; ``env`` is that of the API server.
    """

    api: AirflowApi
    database: str
    commands: dict[str, list[str]]
    envs: dict[str, dict[str, str]]

    def restart(self, name: str) -> None:
        """Start a process of the Procfile again, as a service manager would."""
        self.start(name, *self.commands[name], env=self.envs[name])

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """Return the answer of Airflow's database to a query."""
        return rows(self.database, query, *values)


@contextmanager
def cluster(
    folder: Path,
    connections: Mapping[str, Mapping[str, Any]],
    *more_env_files: Path,
    settings: Mapping[str, object] = NO_SETTINGS,
) -> Iterator[Cluster]:
    """Start everything on free ports of 127.0.0.1; nothing of it is left afterwards but the folder.

    :param folder: new or empty; logs are in ``logs`` below it.
    :param connections: Airflow connections by id, for workers and triggerers; in production they are in a secrets
        backend.
    :param more_env_files: read after those of the processes.
    :param settings: of Airflow, by ``section__name``; override the files.
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
            "CELERY_POSTGRES": add_database(database, "celery"),
            "REDIS_URL": broker,
            "API_URL": url,
            "API_HOST": "127.0.0.1",
            "API_PORT": str(port),
            "JWT_SECRET": secrets.token_urlsafe(32),
            "API_SECRET_KEY": secrets.token_urlsafe(32),
            "FERNET_KEY": Fernet.generate_key().decode(),
        }
        common = variables(settings) | _of_this_checkout() | _login(home)
        connected = {f"AIRFLOW_CONN_{name.upper()}": json.dumps(value) for name, value in connections.items()}

        def environment(process: str) -> dict[str, str]:
            env = dict(os.environ)
            for file in (*(HERE / name for name in env_files(process)), *more_env_files):
                env |= read_env(file.read_text(), values)
            return env | common | (connected if process.startswith(CONNECTED) else {})

        api = stack.enter_context(AirflowApi(url))
        commands = read_procfile((HERE / "Procfile").read_text())
        envs = {process: environment(process) for process in commands}
        made = Cluster(env=envs["api-server"], envs=envs, logs=logs, api=api, database=database, commands=commands)
        stack.enter_context(made.stack)
        try:
            _start(made, home)
            yield made
        finally:
            made.stop()


def _of_this_checkout() -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {"PATH": path, "PYTHONPATH": str(CHECKOUT), "PYTHONUNBUFFERED": "1"}


def _login(home: Path) -> dict[str, str]:
    """Return the settings of the simple auth manager, with one user; production has its own auth manager."""
    write_password(home)
    return variables(
        {
            "core__simple_auth_manager_users": f"{USER}:admin",
            "core__simple_auth_manager_passwords_file": home / "passwords.json",
        }
    )


def _start(made: Cluster, home: Path) -> None:
    made.run("airflow", "db", "migrate")
    for name in made.commands:
        made.restart(name)
    wait_for("Airflow's health", made.api.is_healthy, check=made.check)
    made.api.log_in(USER, write_password(home))
