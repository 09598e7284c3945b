"""A Chromium, logged in to a real Airflow through its own login page."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="the browser tests need Playwright (extra dev)")
pytest.importorskip("airflow.sdk", reason="the gallery needs Airflow 3.1+")

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright  # noqa: E402

from tests.browser.session import log_in  # noqa: E402
from tests.browser.world import World, full_world  # noqa: E402


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with full_world(tmp_path_factory.mktemp("gallery")) as world:
        yield world


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.fail("there is no chromium: run tests/browser/install-chromium.sh")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@dataclass
class Visitor:
    """Somebody who looks, and what their browser complained about.

    :param context: their browser's profile, logged in
    """

    context: BrowserContext
    url: str
    complaints: list[str] = field(default_factory=list)

    def open(self, path: str) -> Page:
        page = self.context.new_page()
        page.on("console", lambda message: self._note(message.type, message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.goto(self.url + path)
        return page

    def _note(self, kind: str, text: str) -> None:
        # Chromium's remark on the frame in which Airflow shows every plugin's page.
        if kind in ("error", "warning") and "can escape its sandboxing" not in text:
            self.complaints.append(f"{kind}: {text}")


@pytest.fixture(scope="session")
def state_of(browser: Browser, world: World) -> Callable[[str], dict[str, object]]:
    """Cookies of a user who has logged in, once for all tests."""
    states: dict[str, dict[str, object]] = {}

    def state_of(user: str) -> dict[str, object]:
        if user not in states:
            states[user] = log_in(browser, world.url, user, world.passwords[user])
        return states[user]

    return state_of


@pytest.fixture
def visit(
    browser: Browser, world: World, state_of: Callable[[str], dict[str, object]]
) -> Iterator[Callable[..., Visitor]]:
    """``visit("admin", color_scheme="dark")``: a visitor; those who are not told otherwise must not complain."""
    visitors: list[Visitor] = []

    def visit(user: str = "admin", **options: object) -> Visitor:
        context = browser.new_context(storage_state=state_of(user), **options)  # type: ignore[arg-type]
        context.set_default_timeout(20_000)
        visitors.append(Visitor(context, world.url))
        return visitors[-1]

    yield visit
    for visitor in visitors:
        visitor.context.close()
    assert [complaint for visitor in visitors for complaint in visitor.complaints] == []


@pytest.fixture(scope="session")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("downloads")
