"""One API server and one database for all tests of the gallery; each test leaves XComs of its own in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import airflow
import httpx
import pytest
from packaging.version import Version

from tests.integration.plugins.gallery.seed import Generation, Pictures, many_runs, seed
from tests.integration.plugins.gallery.server import serve_airflow
from tests.integration.plugins.gallery.world import Gallery, Left


@pytest.fixture(scope="session", autouse=True)
def _airflow_that_shows_pages_of_plugins() -> None:
    if Version(airflow.__version__).release < (3, 1):
        pytest.skip("the gallery needs Airflow 3.1+")


@pytest.fixture(scope="session")
def gallery(airflow_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gallery]:
    from airflow.utils.session import create_session

    folder = tmp_path_factory.mktemp("gallery")
    pictures = Pictures(folder, side=600, kinds=2)
    denied = Generation(800_001, "denied", "run-of-denied")
    with create_session(scoped=False) as session:
        opened = many_runs(120, "open")
        seed(session, opened, pictures, on_disk=60)
        seed(session, [denied], pictures, on_disk=1)
    with serve_airflow(folder) as server:
        yield Gallery(server, folder, pictures, opened[-1], denied)


@pytest.fixture
def admin(gallery: Gallery) -> Iterator[httpx.Client]:
    with gallery.server.client("admin") as client:
        yield client


@pytest.fixture
def left(gallery: Gallery) -> Callable[..., Left]:
    """``left(run_state="failed")``: a run of the DAG ``open``, in which the test leaves XComs."""

    def left(**fields: Any) -> Left:
        return Left("open", **fields)

    return left
