"""Gives all system tests one real Airflow, which talks to one emulator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.local.paths import CHECKOUT
from deploy.local.stack import EMULATOR_KEY, POOL
from tests.airflow.harness.airflows import Airflow3, airflow_3
from tests.airflow.harness.emulator import Emulator, running_emulator
from tests.airflow.harness.runs import Run, files_with, finish, start
from tests.airflow.harness.storage import Storage
from tests.airflow.harness.storage import storage as running_storage

DAGS = (CHECKOUT / "dags", CHECKOUT / "tests" / "airflow" / "system" / "dags")
SLOTS = 4


@pytest.fixture(scope="session")
def kling(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    log = tmp_path_factory.mktemp("emulator") / "emulator.log"
    # As many slots as the pool has: were the pool to let one generation too many through, it would be refused.
    with running_emulator(log, "--concurrency", str(SLOTS), duration=3, image_size=480) as kling:
        yield kling


@pytest.fixture(scope="session")
def catalog_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where runs that no test gives parameters find ``catalog.csv`` and write ``archive`` and ``published``."""
    return tmp_path_factory.mktemp("catalog")


@pytest.fixture(scope="session")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storage]:
    with running_storage(tmp_path_factory.mktemp("storage") / "storage.log") as storage:
        yield storage


@pytest.fixture(scope="session")
def running(
    kling: Emulator, storage: Storage, catalog_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Airflow3]:
    env = {
        "KLING_CATALOG": (catalog_folder / "catalog.csv").as_uri(),
        "KLING_ARCHIVE": (catalog_folder / "archive").as_uri(),
        "KLING_PUBLISHED": (catalog_folder / "published").as_uri(),
    }
    home = tmp_path_factory.mktemp("airflow")
    connections = {
        "kling_default": kling.connection(),
        "kling_official": kling.connection("official"),
        "aws_default": storage.connection(),
    }
    # The gallery reads files of this machine only where it is told to.
    options = {"kling__gallery_file_roots": tmp_path_factory.getbasetemp()}
    with airflow_3(home, connections, dags=DAGS, options=options, env=env) as running:
        running.api.ensure_pool(POOL, SLOTS)
        yield running


@pytest.fixture(scope="session")
def run_dag(running: Airflow3) -> Callable[..., Run]:
    """Start a run with parameters, or with none wait for the scheduler to start one; wait for its end."""

    def run_dag(dag_id: str, **params: Any) -> Run:
        return finish(running.api, dag_id, start(running.api, dag_id, **params))

    return run_dag


@pytest.fixture
def assert_key_is_nowhere(running: Airflow3) -> Callable[[], None]:
    def check() -> None:
        assert files_with(EMULATOR_KEY, running.home) == []
        assert running.database.tables_with(EMULATOR_KEY) == []

    return check
