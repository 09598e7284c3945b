"""Plays a clip in Chromium that a real run made from a picture; no browser may report an error or a warning."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest

pytest.importorskip("playwright", reason="needs Playwright (extra dev)")

from playwright.sync_api import Page, expect

from tests.browser.session import Visitor, assert_decoded, frame_of, wait_for_player
from tests.browser.world import CLIPS

if TYPE_CHECKING:
    Visit = Callable[..., Visitor]

CARDS = "article.card"
PLAYER = "#viewer-video"


def clips(**query: Any) -> str:
    return f"/kling/gallery?{urlencode({'dag_id': CLIPS, **query})}"


def state(page: Page, name: str) -> Any:
    return page.locator(PLAYER).evaluate(f"video => video.{name}")


def wait_until(page: Page, condition: str) -> None:
    wait_for_player(page.locator(PLAYER), condition)


def test_a_clip_plays_and_seeks_by_ranges(visit: Visit) -> None:
    page = visit().open(clips(kind="video"))
    expect(page.locator(CARDS)).to_have_count(1)
    assert_decoded(page.locator("a.video img"))  # the poster
    statuses: list[int] = []
    page.on("response", lambda answer: statuses.append(answer.status) if "/video?" in answer.url else None)
    page.locator("a.video").click()
    expect(page.locator(PLAYER)).to_be_visible()
    expect(page.locator("#viewer-image")).to_be_hidden()
    before = page.locator(PLAYER).bounding_box()
    assert (state(page, "paused"), state(page, "readyState"), statuses) == (True, 0, [])  # nothing by itself
    page.locator(PLAYER).evaluate("video => { video.muted = true; }")
    page.keyboard.press(" ")
    wait_until(page, "video.readyState >= 2 && video.currentTime > 0.3")
    assert 4.5 < state(page, "duration") < 5.5
    page.locator(PLAYER).evaluate("video => { video.currentTime = 4; }")
    wait_until(page, "!video.seeking && video.currentTime >= 4 && video.readyState >= 2")
    assert set(statuses) == {206}
    assert state(page, "error") is None
    assert page.locator(PLAYER).bounding_box() == before  # nothing has moved
    expect(page.locator("#viewer-problem")).to_be_hidden()


def test_a_clip_by_keyboard_alone(visit: Visit) -> None:
    page = visit().open(clips())
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowRight")
    while not page.evaluate("document.activeElement.classList.contains('video')"):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    # So slowly that it does not end by itself before it is stopped.
    page.locator(PLAYER).evaluate("video => { video.muted = true; video.playbackRate = 0.1; }")
    page.keyboard.press(" ")
    wait_until(page, "!video.paused && video.currentTime > 0.1")
    page.keyboard.press(" ")
    wait_until(page, "video.paused")
    page.keyboard.press("Tab")
    page.keyboard.press("Escape")
    expect(page.locator("#viewer")).to_be_hidden()
    expect(page.locator("a.video:focus")).to_have_count(1)
    expect(page.locator(PLAYER)).to_have_js_property("src", "")  # and nothing more of it is loaded


def test_arrows_go_from_a_clip_to_a_picture_and_back(visit: Visit) -> None:
    page = visit().open(clips())
    page.locator("a.video").click()
    page.keyboard.press("ArrowRight")
    while page.locator(PLAYER).is_visible():
        page.keyboard.press("ArrowRight")
    assert_decoded(page.locator("#viewer-image"))
    assert state(page, "paused")
    page.keyboard.press("ArrowLeft")


def test_a_clip_and_its_picture_lead_to_each_other(visit: Visit) -> None:
    page = visit().open(clips(kind="video"))
    assert_decoded(page.locator(".references img"))
    page.locator(".chain", has_text="Made from").get_by_role("link").click()
    expect(page.locator(".prompt")).to_have_text("The mug on the window sill")
    page.locator(".chain", has_text="Used in").get_by_role("link").click()
    expect(page.locator(".prompt")).to_have_text("A slow turn around the mug, steam rises")


def test_filter_by_route_and_kind(visit: Visit) -> None:
    page = visit().open(clips())
    page.get_by_label("Kind").select_option("Videos")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator(CARDS)).to_have_count(1)
    page.get_by_label("Kind").select_option("All")
    page.get_by_label("Route").select_option("multi-image-to-image")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator(".prompt")).to_have_text("The mug on the window sill")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_phone(visit: Visit, scheme: str) -> None:
    page = visit(viewport={"width": 390, "height": 844}, color_scheme=scheme).open(clips())
    expect(page.locator(CARDS)).to_have_count(2)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.locator("a.video").click()
    box = page.locator(PLAYER).bounding_box()
    assert box
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390
    page.locator(PLAYER).evaluate("video => { video.muted = true; return video.play(); }")
    wait_until(page, "video.currentTime > 0.1")


def test_a_clip_plays_within_airflow(visit: Visit) -> None:
    page = visit().open(f"/dags/{CLIPS}/plugin/kling-dag")
    frame = frame_of(page)
    frame.locator("a.video").click()
    player = frame.locator(PLAYER)
    player.evaluate("video => { video.muted = true; return video.play(); }")
    expect(player).to_have_js_property("error", None)
    wait_for_player(player, "video.readyState >= 2")
