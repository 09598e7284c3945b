"""Drives a browser: logs in, opens pages, notes errors and warnings."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from playwright.sync_api import Browser, BrowserContext, FrameLocator, Locator, Page, expect, sync_playwright

from deploy.local.waiting import HUNG

#: Milliseconds. Far more than any answer takes: a machine at work elsewhere is slow, not wrong.
TIMEOUT = 1000 * HUNG
#: Chromium's remark on the frame in which Airflow shows every plugin's page.
_AIRFLOWS = "can escape its sandboxing"


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run Debian's Chromium."""
    expect.set_options(timeout=TIMEOUT)  # without this an expectation ends after five seconds
    with sync_playwright() as driver:
        path = shutil.which("chromium")
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])  # CI runs as root
        yield browser
        browser.close()


def log_in(browser: Browser, url: str, user: str, password: str) -> Any:
    """Fill in Airflow's login page; returns the browser's state afterwards."""
    context = browser.new_context()
    context.set_default_timeout(TIMEOUT)
    page = context.new_page()
    page.goto(f"{url}/auth/login")
    page.fill("input[name=username]", user)
    page.fill("input[name=password]", password)
    page.click("button[type=submit]")
    page.wait_for_url(lambda address: "/auth/login" not in address)
    page.get_by_test_id("nav-sidebar").wait_for()
    state = context.storage_state()
    context.close()
    return state


@dataclass
class Visitor:
    """A user with a browser.

    :param context: their browser's profile, logged in
    :param complaints: errors and warnings of the browser: scripts that failed, loads that were refused, the CSP
    """

    context: BrowserContext
    url: str
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.context.set_default_timeout(TIMEOUT)

    def open(self, path: str) -> Page:
        """Open a tab at an address."""
        page = self.context.new_page()
        page.on("console", lambda message: self._note(message.type, message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.goto(self.url + path)
        return page

    def _note(self, kind: str, text: str) -> None:
        if kind in ("error", "warning") and _AIRFLOWS not in text:
            self.complaints.append(f"{kind}: {text}")


def frame_of(page: Page, address: str = "/kling/") -> FrameLocator:
    """Return the gallery inside of Airflow's UI, when it is loaded: before that its links have no scripts.

    :param address: a part of the address that the frame is to have.
    """
    inside = page.locator("iframe[title=Kling]").element_handle().content_frame()
    assert inside is not None
    inside.wait_for_url(lambda url: address in url)
    return page.frame_locator("iframe[title=Kling]")


def assert_decoded(images: Locator) -> None:
    """Scroll to each image, and wait until it is more than a box."""
    expect(images).not_to_have_count(0)
    for image in images.all():
        image.scroll_into_view_if_needed()
        expect(image).to_have_js_property("complete", True)
        expect(image).not_to_have_js_property("naturalWidth", 0)


def wait_for_player(player: Locator, condition: str) -> None:
    """Wait until a JavaScript condition on ``video`` holds.

    Not by Playwright's own wait: that evaluates a text in the page, which the gallery's policy forbids.
    """
    player.evaluate(
        f"""async (video) => {{
          const end = Date.now() + {TIMEOUT};
          while (!({condition})) {{
            if (Date.now() > end) throw new Error(`not in time: {condition}`);
            await new Promise((go) => setTimeout(go, 50));
          }}
        }}"""
    )
