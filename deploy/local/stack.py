"""Runs the Kling emulator, and a whole Airflow 3 as ``airflow standalone`` does, on SQLite."""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.local.airflow_api import AirflowApi
from deploy.local.paths import CHECKOUT
from deploy.local.processes import free_ports, server, wait_until

EMULATOR_KEY = "kling-emulator-key"
USER = "admin"
POOL = "kling"
_LISTENING = re.compile(r"Kling emulator listening on (http://\S+)")


@dataclass(frozen=True)
class Airflow:
    """A running Airflow.

    :param home: its ``AIRFLOW_HOME``
    :param url: of its UI and API
    :param password: of the user ``admin``
    :param api: a client of its REST API
    :param process: ``airflow standalone``, the parent of its servers
    """

    home: Path
    url: str
    password: str
    api: AirflowApi
    process: subprocess.Popen[bytes]


class AlreadyRunning(RuntimeError):
    """Another demonstration uses the same ``AIRFLOW_HOME``."""


def emulator_connection(url: str) -> dict[str, object]:
    """Return the Airflow connection to an emulator; its image URLs are on a private address."""
    return {"conn_type": "kling", "host": url, "password": EMULATOR_KEY, "extra": {"allow_private_hosts": True}}


def cometapi_connection(api_key: str, host: str | None) -> dict[str, object]:
    """Return the Airflow connection to CometAPI.

    :param host: base URL of a proxy in front of it, which may be on a private address.
    """
    proxy: dict[str, object] = {"host": host, "extra": {"allow_private_hosts": True}} if host else {}
    return {"conn_type": "kling", "password": api_key, **proxy}


@contextmanager
def emulator(log: Path, *options: str) -> Iterator[str]:
    """Run the emulator on a free port; yields its base URL."""
    command = [sys.executable, "-m", "airflow_kling.emulator", "--port", "0", *options]
    with server(command, log=log, env=os.environ | {"PYTHONUNBUFFERED": "1"}, cwd=CHECKOUT) as process:

        def listening() -> str | None:
            found = _LISTENING.search(log.read_text(errors="replace"))
            return found and found.group(1)

        yield wait_until(listening, process=process, log=log, what="The emulator")


@contextmanager
def airflow(home: Path, connection: Mapping[str, object], env: Mapping[str, str] | None = None) -> Iterator[Airflow]:
    """Run scheduler, DAG processor, triggerer and API server on free ports.

    The connection goes to Airflow through the environment alone, so its key is in no file and in no argument list.
    """
    with _only_one(home):
        yield from _airflow(home, connection, env or {})


@contextmanager
def _only_one(home: Path) -> Iterator[None]:
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunning(f"An Airflow is already running in {home}; end that one first.") from None
        yield


def _airflow(home: Path, connection: Mapping[str, object], env: Mapping[str, str]) -> Iterator[Airflow]:
    api_port, *log_ports = free_ports(3)
    url = f"http://127.0.0.1:{api_port}"
    password = write_password(home)
    environment = (
        {**os.environ, **env} | settings(home, url, log_ports) | {"AIRFLOW_CONN_KLING_DEFAULT": json.dumps(connection)}
    )
    log = home / "standalone.log"
    command = [str(Path(sys.executable).parent / "airflow"), "standalone"]
    # The scheduler ends before the API server: its running tasks still have to tell the API server how they ended.
    with (
        server(command, log=log, env=environment, cwd=home, ends_first="scheduler") as process,
        AirflowApi(url) as api,
    ):
        wait_until(api.is_healthy, process=process, log=log, what="Airflow")
        api.log_in(USER, password)
        yield Airflow(home, url, password, api, process)


def settings(home: Path, url: str, log_ports: list[int]) -> dict[str, str]:
    """Return Airflow's configuration as environment variables: local, small, and only our DAGs."""
    values = {
        "core__dags_folder": CHECKOUT / "dags",
        "core__load_examples": False,
        "core__executor": "LocalExecutor",
        "core__parallelism": 4,
        "core__simple_auth_manager_users": f"{USER}:admin",
        "core__simple_auth_manager_passwords_file": home / "passwords.json",
        "core__execution_api_server_url": f"{url}/execution/",
        "api__host": "127.0.0.1",
        "api__port": url.rpartition(":")[2],
        "api__base_url": url,
        "api__workers": 1,
        "dag_processor__min_file_process_interval": 10,
        "logging__worker_log_server_port": log_ports[0],
        "logging__trigger_log_server_port": log_ports[1],
        "triggerer__default_capacity": 100,
        "usage_data_collection__enabled": False,
        "workers__min_heartbeat_interval": 1,  # a worker notices that late, at most, that its task has ended
    }
    return {
        "AIRFLOW_HOME": str(home),
        # `airflow standalone` starts its components by name.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONUNBUFFERED": "1",
        **variables(values),
    }


def variables(settings: Mapping[str, object]) -> dict[str, str]:
    """Return settings of Airflow as environment variables.

    :param settings: values by ``section__name``.
    """
    return {f"AIRFLOW__{name.upper()}": str(value) for name, value in settings.items()}


def write_password(home: Path) -> str:
    """Return the password of the user ``admin``, made once for each ``AIRFLOW_HOME`` and kept in it."""
    file = home / "passwords.json"
    if file.exists():
        return str(json.loads(file.read_text())[USER])
    password = secrets.token_urlsafe(9)
    file.touch(mode=0o600)
    file.write_text(json.dumps({USER: password}) + "\n")
    return password
