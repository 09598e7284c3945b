"""Gives all system tests the shared Airflow, and what it talks to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deploy.local.stack import EMULATOR_KEY
from tests.airflow.harness.airflows import Airflow3
from tests.airflow.harness.emulator import Emulator
from tests.airflow.harness.runs import Run, files_with, finish, start
from tests.airflow.harness.shared import Shared
from tests.airflow.harness.storage import Storage


@pytest.fixture(scope="session")
def kling(shared: Shared) -> Emulator:
    return shared.kling


@pytest.fixture(scope="session")
def catalog_folder(shared: Shared) -> Path:
    """Where runs that no test gives parameters find ``catalog.csv`` and write ``archive`` and ``published``."""
    return shared.catalog


@pytest.fixture(scope="session")
def storage(shared: Shared) -> Storage:
    return shared.storage


@pytest.fixture(scope="session")
def running(shared: Shared) -> Airflow3:
    return shared.airflow


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
