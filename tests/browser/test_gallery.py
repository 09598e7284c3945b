"""Tests the gallery in Chromium, in a real Airflow after real runs; no browser may report an error or a warning."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import pytest

pytest.importorskip("playwright", reason="needs Playwright (extra dev)")

from playwright.sync_api import Page, expect

from tests.browser.session import Visitor, assert_decoded, frame_of
from tests.browser.world import LOOKBOOK, SEEDED, SEEDED_GENERATIONS, SLOW_PROMPT, World
from tests.integration.plugins.gallery.auth import DENIED_DAG, DENIED_USER

if TYPE_CHECKING:
    Visit = Callable[..., Visitor]

CARDS = "article.card"
RESULTS = ".results img"
DARK, LIGHT = "rgb(22, 29, 45)", "rgb(251, 251, 252)"


@pytest.fixture
def run(world: World) -> str:
    """Path of the lookbook's run in Airflow's UI."""
    return f"/dags/{LOOKBOOK}/runs/{quote(world.runs[LOOKBOOK], safe='')}"


def gallery(**query: Any) -> str:
    return f"/kling/gallery?{urlencode(query)}"


def test_pictures_of_a_run_are_decoded_beside_their_references(visit: Visit) -> None:
    page = visit().open(gallery(dag_id=LOOKBOOK))
    expect(page.locator(CARDS)).to_have_count(4)
    expect(page.locator(RESULTS)).to_have_count(10)
    expect(page.locator(".references img")).to_have_count(12)
    assert_decoded(page.locator(".card img"))
    assert all(image.get_attribute("alt") for image in page.locator(".card img").all())
    assert "10 images" in page.locator(".totals").inner_text()
    assert "160 image units billed" in page.locator(".totals").inner_text()


def test_images_far_below_are_not_loaded_before_somebody_comes(visit: Visit) -> None:
    page = visit().open(gallery(dag_id=SEEDED))
    expect(page.locator(RESULTS)).to_have_count(100)
    last = page.locator(RESULTS).last
    assert last.evaluate("image => image.complete") is False
    last.scroll_into_view_if_needed()
    expect(last).to_have_js_property("complete", True)


def test_filter_by_words_of_the_prompt(visit: Visit) -> None:
    page = visit().open("/kling/gallery")
    page.keyboard.press("/")
    page.keyboard.type("READING LAMP")
    page.keyboard.press("Enter")
    expect(page.locator(CARDS)).to_have_count(1)
    expect(page.locator(".prompt")).to_have_text("The reading lamp in a quiet corner, evening")
    assert page.url.endswith("/kling/gallery?q=READING+LAMP")  # empty fields stay out of the address
    page.get_by_role("link", name="Show all").click()
    expect(page.locator(CARDS)).to_have_count(50)


def test_filter_by_dag_and_date(visit: Visit) -> None:
    page = visit().open("/kling/gallery")
    page.get_by_label("DAG").select_option(SEEDED)
    page.get_by_label("From", exact=True).fill("2026-01-01")
    page.get_by_label("To", exact=True).fill("2026-01-01")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator(".pager")).to_contain_text(f"50 of {SEEDED_GENERATIONS}")
    page.get_by_label("From", exact=True).fill("2026-01-02")
    page.get_by_label("To", exact=True).fill("2026-01-03")
    page.get_by_role("button", name="Filter").click()
    expect(page.get_by_role("heading", name="Nothing matches")).to_be_visible()


def test_paging(visit: Visit) -> None:
    page = visit().open(gallery(dag_id=SEEDED))
    page.get_by_role("link", name="Older").click()
    expect(page.locator(CARDS)).to_have_count(SEEDED_GENERATIONS - 50)
    assert_decoded(page.locator(RESULTS))
    expect(page.get_by_role("link", name="Older")).to_have_count(0)
    page.get_by_role("link", name="Newer").click()
    expect(page.locator(CARDS)).to_have_count(50)


def test_spend_per_dag_leads_to_the_dag(visit: Visit) -> None:
    page = visit().open("/kling/gallery")
    page.get_by_text("Spend per DAG").click()
    row = page.get_by_role("row").filter(has=page.get_by_role("link", name=LOOKBOOK))
    expect(row.get_by_role("cell")).to_have_text(["4", "4", "10", "0", "160", "0"])  # of videos none
    row.get_by_role("link").click()
    expect(page.locator(CARDS)).to_have_count(4)


def test_page_in_airflows_navigation(visit: Visit) -> None:
    page = visit().open("/")
    page.get_by_test_id("nav-sidebar").get_by_role("link", name="Kling").click()
    frame = frame_of(page)
    expect(frame.locator(CARDS)).to_have_count(50)
    assert_decoded(frame.locator(RESULTS).first)
    assert_decoded(page.locator("[data-testid=nav-sidebar] img[src*='kling/static/icon.svg']"))


def test_tab_of_the_run(visit: Visit, run: str) -> None:
    page = visit().open(run)
    page.locator("a[href$='/plugin/kling-run']").click()  # the navigation has a link of that name too
    frame = frame_of(page)
    expect(frame.locator(CARDS)).to_have_count(4)
    assert_decoded(frame.locator(RESULTS))


@pytest.mark.parametrize("task_id", ["look.submit", "look.wait", "look.archive"])
def test_tab_of_a_mapped_task_instance(visit: Visit, run: str, task_id: str) -> None:
    page = visit().open(f"{run}/tasks/{task_id}/mapped/2/plugin/kling-task")
    frame = frame_of(page)
    expect(frame.locator(CARDS)).to_have_count(1)
    expect(frame.locator(".prompt")).to_have_text("Plants for the winter garden, three by three")
    assert_decoded(frame.locator(RESULTS))


def test_tab_of_a_task_that_is_not_mapped_and_makes_no_pictures(visit: Visit, run: str) -> None:
    page = visit().open(f"{run}/tasks/rows/plugin/kling-task")
    expect(frame_of(page).get_by_role("heading", name="Nothing matches")).to_be_visible()


def test_link_out_of_the_frame_leads_to_airflows_own_page(visit: Visit) -> None:
    page = visit().open("/plugin/kling")
    frame_of(page).locator(CARDS).filter(has_text="reading lamp").get_by_role("link", name="look.archive").click()
    page.wait_for_url(re.compile(r"/dags/lookbook/runs/[^/]+/tasks/look\.archive/mapped/1$"))
    expect(page.get_by_role("heading", name="look.archive")).to_be_visible()


def test_manifest_opens_in_a_tab_of_its_own_from_the_frame(visit: Visit) -> None:
    visitor = visit()
    page = visitor.open("/plugin/kling")
    with visitor.context.expect_page() as opened:
        frame_of(page).locator(CARDS).filter(has_text="reading lamp").get_by_role("link", name="Manifest").click()
    opened.value.wait_for_load_state()
    assert "airflow-provider-kling/manifest" in opened.value.content()


@pytest.mark.parametrize(
    ("system", "chosen", "ground"),
    [("light", "dark", DARK), ("dark", "light", LIGHT), ("dark", None, DARK), ("light", "system", LIGHT)],
)
def test_colours_follow_airflows(visit: Visit, system: str, chosen: str | None, ground: str) -> None:
    visitor = visit(color_scheme=system)
    if chosen:
        visitor.context.add_init_script(f"localStorage.setItem('theme', '{chosen}')")
    page = visitor.open("/plugin/kling")
    expect(frame_of(page).locator("body")).to_have_css("background-color", ground)


def test_colours_change_at_once_when_airflows_do(visit: Visit) -> None:
    page = visit(color_scheme="light").open("/plugin/kling")
    body = frame_of(page).locator("body")
    expect(body).to_have_css("background-color", LIGHT)
    page.evaluate("localStorage.setItem('theme', 'dark')")
    expect(body).to_have_css("background-color", DARK)


def focused(page: Page) -> Any:
    return page.evaluate("document.activeElement.getAttribute('href')")


def test_pictures_by_keyboard_alone(visit: Visit) -> None:
    page = visit().open(gallery(dag_id=LOOKBOOK))
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the pictures")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    first = focused(page)
    page.keyboard.press("ArrowRight")
    second = focused(page)
    assert first != second
    page.keyboard.press("ArrowLeft")
    assert focused(page) == first
    page.keyboard.press("ArrowDown")
    assert focused(page) != first
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    image = page.locator("#viewer-image")
    expect(image).to_be_visible()
    assert_decoded(image)
    shown = image.get_attribute("src")
    page.keyboard.press("ArrowRight")
    expect(image).not_to_have_attribute("src", shown or "")
    assert_decoded(image)
    page.keyboard.press("Escape")
    expect(page.locator("#viewer")).to_be_hidden()
    expect(page.locator("a:focus img")).to_have_attribute("alt", image.get_attribute("alt") or "no text")


@pytest.mark.parametrize("sandbox", [None, "allow-scripts allow-same-origin allow-forms"], ids=["ours", "Airflow 3.1"])
def test_original_is_downloaded_from_the_frame(visit: Visit, world: World, sandbox: str | None) -> None:
    page = visit().open("/plugin/kling")
    frame = frame_of(page)
    if sandbox:
        expect(frame.locator(CARDS)).to_have_count(50)
        again = "(frame, sandbox) => { frame.sandbox = sandbox; frame.src = frame.src + '?since=2020-01-01'; }"
        page.locator("iframe[title=Kling]").evaluate(again, sandbox)
        frame = frame_of(page, "since=2020-01-01")
        expect(frame.get_by_role("link", name="Show all")).to_be_visible()
    frame.locator(CARDS).filter(has_text="reading lamp").locator(".results a").click()
    with page.expect_download() as downloaded:
        frame.get_by_role("link", name="Original").click()
    file = downloaded.value.path()
    assert file.read_bytes() in [one.read_bytes() for one in world.archive.rglob("0.*")]
    assert re.fullmatch(r"\d+-0\.(png|jpg|webp)", downloaded.value.suggested_filename)


def test_uri_is_copied(visit: Visit, world: World) -> None:
    visitor = visit(permissions=["clipboard-read", "clipboard-write"])
    page = visitor.open(gallery(dag_id=LOOKBOOK))
    page.get_by_role("button", name="Copy URI").first.click()
    expect(page.locator("#announcement")).to_have_text("Copied")  # the button says so for a moment only
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith(world.archive.as_uri())
    assert copied.endswith("/manifest.json")


def test_html_of_a_prompt_is_text(visit: Visit) -> None:
    page = visit().open(gallery(q="Everything on one shelf"))
    expect(page.locator(".prompt")).to_have_text("Everything on one shelf <b>sorted</b> by colour & size")


def test_failed_generation(visit: Visit) -> None:
    page = visit().open(gallery(q="moderation refuses"))
    expect(page.locator(CARDS)).to_have_attribute("data-state", "failed")
    expect(page.locator(".placeholder")).to_have_count(2)


def test_guest_sees_no_trace_of_the_dag_that_is_not_for_them(visit: Visit) -> None:
    guest = visit(DENIED_USER)
    page = guest.open("/plugin/kling")
    frame = frame_of(page)
    expect(frame.locator(CARDS)).to_have_count(50)
    assert DENIED_DAG not in frame.locator("html").inner_html()


def test_guest_gets_403_for_its_page_manifest_and_images(visit: Visit, world: World) -> None:
    admin = visit().open(gallery(dag_id=DENIED_DAG))
    picture = admin.locator(f"{RESULTS}").first.get_attribute("src") or ""
    manifest = admin.get_by_role("link", name="Manifest").get_attribute("href") or ""
    guest = visit(DENIED_USER)
    for address in (picture, picture.replace("thumb", "original"), manifest):
        assert visit().context.request.get(f"{world.url}/kling/{address}").status == 200
        assert guest.context.request.get(f"{world.url}/kling/{address}").status == 403
    page = guest.open(gallery(dag_id=DENIED_DAG))
    expect(page.get_by_role("heading", name="403")).to_be_visible()
    # Chromium notes the status of the page itself.
    assert [one for one in guest.complaints if "403" not in one] == []
    guest.complaints.clear()


def test_phone(visit: Visit) -> None:
    page = visit(viewport={"width": 390, "height": 844}).open(gallery(dag_id=LOOKBOOK))
    expect(page.locator(CARDS)).to_have_count(4)
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_placeholder_turns_into_its_pictures_by_itself(visit: Visit, world: World) -> None:
    visitor = visit()
    # The archive is too late for the second page, which keeps the card that it has.
    before_the_archive = datetime.now(UTC).isoformat()
    pages = [visitor.open(gallery(q=SLOW_PROMPT)), visitor.open(gallery(q=SLOW_PROMPT, until=before_the_archive))]
    for page in pages:
        expect(page.locator(".placeholder")).to_have_count(2)
        expect(page.locator(CARDS)).to_have_attribute("data-open", "")
    world.let_generation_end()
    for page in pages:
        card = page.locator(CARDS)
        expect(card).to_have_attribute("data-state", "archived")
        expect(card).not_to_have_attribute("data-open", "")
        expect(card.locator(RESULTS)).to_have_count(2)
        assert_decoded(card.locator(RESULTS))
    # A field for dates does not show a time.
    assert [one for one in visitor.complaints if "yyyy-MM-dd" not in one] == []
    visitor.complaints.clear()
