"""A real Airflow with scheduler, triggerer, API server and LocalExecutor, against the emulator; one for all tests."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from demo.__main__ import wait_for_dag
from demo.airflow_api import AirflowApi, label
from demo.stack import CHECKOUT, EMULATOR_KEY, POOL, Airflow, airflow, emulator, emulator_connection
from tests.database import Database, database

DAGS = (CHECKOUT / "dags", CHECKOUT / "tests" / "system" / "dags")
SLOTS = 4
RUN_TIMEOUT = 240.0


@dataclass
class Run:
    """A finished run of a DAG.

    :param state: how it ended
    :param history: the states that were seen of each task instance, in order
    """

    api: AirflowApi
    dag_id: str
    run_id: str
    state: str
    history: dict[str, list[str]] = field(default_factory=dict)

    def instances(self) -> dict[str, dict[str, Any]]:
        return {label(one): one for one in self.api.task_instances(self.dag_id, self.run_id)}

    def states(self) -> dict[str, str]:
        return {name: one["state"] for name, one in self.instances().items()}

    def xcom(self, task_id: str, map_index: int = -1) -> Any:
        return self.api.xcom(self.dag_id, self.run_id, task_id, map_index)

    def log(self, name: str) -> str:
        return self.api.log(self.dag_id, self.run_id, self.instances()[name])

    def was_deferred(self, name: str) -> bool:
        """Whether a worker has handed the task on; its log says so, of a short wait the history may have seen nothing."""
        return "Pausing task as DEFERRED" in self.log(name)

    def asset_events(self) -> list[dict[str, Any]]:
        found = self.api.get("assets/events", source_dag_id=self.dag_id, source_run_id=self.run_id)
        return list(found["asset_events"])


def bundle(folder: Path) -> dict[str, Any]:
    """A folder of DAG files, as Airflow is configured to read it."""
    classpath = "airflow.dag_processing.bundles.local.LocalDagBundle"
    return {"name": "-".join(folder.parts[-2:]), "classpath": classpath, "kwargs": {"path": str(folder)}}


@pytest.fixture(scope="session")
def emulator_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    log = tmp_path_factory.mktemp("emulator") / "emulator.log"
    # As many slots as the pool has: were the pool to let one generation too many through, it would be refused.
    with emulator(log, "--duration", "3", "--image-size", "480", "--concurrency", str(SLOTS)) as url:
        yield url


@pytest.fixture(scope="session")
def catalog_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where runs that no test gives parameters find ``catalog.csv`` and write ``archive`` and ``published``."""
    return tmp_path_factory.mktemp("catalog")


@pytest.fixture(scope="session")
def airflow_database() -> Iterator[Database]:
    with database() as running:
        yield running


@pytest.fixture(scope="session")
def running(
    emulator_url: str, catalog_folder: Path, airflow_database: Database, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Airflow]:
    env = airflow_database.env | {
        "KLING_CATALOG": (catalog_folder / "catalog.csv").as_uri(),
        "KLING_ARCHIVE": (catalog_folder / "archive").as_uri(),
        "KLING_PUBLISHED": (catalog_folder / "published").as_uri(),
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps([bundle(folder) for folder in DAGS]),
    }
    with airflow(tmp_path_factory.mktemp("airflow"), emulator_connection(emulator_url), env) as running:
        running.api.ensure_pool(POOL, SLOTS)
        yield running


@pytest.fixture(scope="session")
def run_dag(running: Airflow) -> Callable[..., Run]:
    """Start a run with parameters, or with none wait for the scheduler to start one; wait for its end."""

    def run_dag(dag_id: str, **params: Any) -> Run:
        api = running.api
        wait_for_dag(api, dag_id)
        api.unpause(dag_id)
        run_id = api.trigger(dag_id, params) if params else scheduled_run(api, dag_id)
        history: dict[str, list[str]] = {}
        state = api.wait_for_run(
            dag_id,
            run_id,
            timeout=RUN_TIMEOUT,
            on_change=lambda name, state: history.setdefault(name, []).append(state),
        )
        return Run(api, dag_id, run_id, state, history)

    return run_dag


def scheduled_run(api: AirflowApi, dag_id: str, timeout: float = 60.0) -> str:
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if runs := api.get(f"dags/{dag_id}/dagRuns", run_type="scheduled")["dag_runs"]:
            return str(runs[0]["dag_run_id"])
        time.sleep(0.5)
    raise AssertionError(f"the scheduler has started no run of {dag_id} in {timeout:.0f} s")


@pytest.fixture(scope="session")
def ledger(emulator_url: str) -> Callable[[], dict[str, Any]]:
    return lambda: httpx.get(f"{emulator_url}/_emulator/ledger", trust_env=False).raise_for_status().json()


def files_with(secret: str, folder: Path) -> list[Path]:
    """Return the files below ``folder`` in which ``secret`` occurs."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert files
    return [file for file in files if secret.encode() in file.read_bytes()]


@pytest.fixture
def assert_key_is_nowhere(running: Airflow, airflow_database: Database) -> Callable[[], None]:
    def check() -> None:
        assert files_with(EMULATOR_KEY, running.home) == []
        assert airflow_database.tables_with(EMULATOR_KEY) == []

    return check
