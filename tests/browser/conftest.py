"""Gives browser tests a Chromium, logged in to a real Airflow through its login page."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import airflow
import pytest
from packaging.version import Version

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.airflow.harness.shared import Shared
    from tests.browser.session import Visitor
    from tests.browser.world import World


@pytest.fixture(scope="session", autouse=True)
def _airflow_that_shows_pages_of_plugins() -> None:
    if Version(airflow.__version__).release < (3, 1):
        pytest.skip("the gallery needs Airflow 3.1+")


@pytest.fixture(scope="session")
def world(shared: Shared, tmp_path_factory: pytest.TempPathFactory) -> World:
    """Return an Airflow with runs: one still waits for Kling, one was refused, and 60 generations are from before."""
    from tests.browser.world import empty_world, fill

    world = empty_world(shared)
    fill(world, tmp_path_factory.mktemp("gallery"))
    return world


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    from tests.browser.session import chromium

    if shutil.which("chromium") is None:
        pytest.fail("there is no chromium: run tests/browser/install-chromium.sh")
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="session")
def _log_in(browser: Browser, world: World) -> Callable[[str], Any]:
    """Log each user in once for all tests; returns their cookies."""
    from tests.browser.session import log_in

    states: dict[str, Any] = {}

    def state_of(user: str) -> Any:
        if user not in states:
            states[user] = log_in(browser, world.url, user, world.passwords[user])
        return states[user]

    return state_of


@pytest.fixture
def visit(browser: Browser, world: World, _log_in: Callable[[str], Any]) -> Iterator[Callable[..., Visitor]]:
    """Return visitors, as in ``visit("viewer", color_scheme="dark")``; fails when a browser reported an error."""
    from tests.browser.session import Visitor

    visitors: list[Visitor] = []

    def visit(user: str = "admin", **options: Any) -> Visitor:
        visitors.append(Visitor(browser.new_context(storage_state=_log_in(user), **options), world.url))
        return visitors[-1]

    yield visit
    for visitor in visitors:
        visitor.context.close()
    assert [complaint for visitor in visitors for complaint in visitor.complaints] == []
