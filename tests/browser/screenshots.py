"""Saves screenshots of the gallery to docs/images: `python -m tests.browser.screenshots`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import quote

from playwright.sync_api import Browser, Page, expect

from deploy.local.paths import CHECKOUT
from deploy.local.stack import USER
from tests.airflow.harness.shared import shared_airflow
from tests.browser.session import Visitor, assert_decoded, chromium, frame_of, log_in, wait_for_player
from tests.browser.world import CLIPS, LOOKBOOK, World, empty_world, fill

IMAGES = CHECKOUT / "docs" / "images"
DESKTOP, PHONE = {"width": 1360, "height": 900}, {"width": 390, "height": 844}
CARDS = "article.card"


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="kling-gallery-") as folder,
        shared_airflow(Path(folder)) as shared,
        chromium() as browser,
    ):
        world = empty_world(shared)
        state = log_in(browser, world.url, USER, world.passwords[USER])
        empty = open_in(browser, world, state, "/plugin/kling", "light")
        expect(frame_of(empty).get_by_role("heading", name="No pictures yet")).to_be_visible()
        save(empty, "gallery-empty")
        fill(world, Path(folder) / "seeds")
        run = f"/dags/{LOOKBOOK}/runs/{quote(world.runs[LOOKBOOK], safe='')}/plugin/kling-run"
        for theme in ("light", "dark"):
            save(with_pictures(open_in(browser, world, state, "/plugin/kling", theme)), f"gallery-{theme}")
            save(with_pictures(open_in(browser, world, state, run, theme)), f"gallery-run-{theme}")
        phone = open_in(browser, world, state, f"/kling/gallery?dag_id={LOOKBOOK}", "light", viewport=PHONE)
        expect(phone.locator(CARDS)).to_have_count(4)
        save(phone, "gallery-phone")
        for theme, viewport, name in (
            ("light", DESKTOP, "light"),
            ("dark", DESKTOP, "dark"),
            ("dark", PHONE, "phone"),
        ):
            page = open_in(browser, world, state, f"/kling/gallery?dag_id={CLIPS}", theme, viewport=viewport)
            expect(page.locator(CARDS)).to_have_count(2)
            save(with_clip(page) if name != "light" else page, f"gallery-clip-{name}")
        viewer = with_pictures(open_in(browser, world, state, "/plugin/kling", "light"))
        frame_of(viewer).locator(".results a:not(.video)").first.click()
        assert_decoded(frame_of(viewer).locator("#viewer-image"))
        save(viewer, "gallery-viewer")


def open_in(browser: Browser, world: World, state: Any, path: str, theme: str, viewport: Any = None) -> Page:
    """Open a page in Airflow's light or dark mode."""
    context = browser.new_context(storage_state=state, viewport=viewport or DESKTOP)
    context.add_init_script(f"localStorage.setItem('theme', '{theme}')")
    return Visitor(context, world.url).open(path)


def with_pictures(page: Page) -> Page:
    """Wait for the pictures that are seen without scrolling."""
    frame = frame_of(page)
    frame.locator(CARDS).nth(3).wait_for()
    page.wait_for_load_state("networkidle")
    return page


def with_clip(page: Page) -> Page:
    """Open the clip in the viewer, and play the first second of it."""
    page.locator("a.video").click()
    page.keyboard.press(" ")
    wait_for_player(page.locator("#viewer-video"), "video.currentTime > 1")
    page.keyboard.press(" ")
    return page


def save(page: Page, name: str) -> None:
    page.wait_for_timeout(1500)  # fonts, and the animation of placeholders
    page.screenshot(path=IMAGES / f"{name}.png")
    page.context.close()


if __name__ == "__main__":
    main()
