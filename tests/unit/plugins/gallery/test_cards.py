"""Cards from rows: what is known is shown, and no value of an XCom is believed to be what it should be."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_kling.plugins.gallery.cards import Card, make_card
from airflow_kling.plugins.gallery.locations import NOT_READABLE
from airflow_kling.plugins.gallery.rows import Identity, Row
from airflow_kling.plugins.gallery.values import as_mapping
from airflow_kling.plugins.gallery.views import MAX_REFERENCES, MAX_RESULTS

SHA256 = "0123456789abcdef" * 4
ONE = Identity("our dag", "manual__1+0", "archive", -1, "8334")
AT = datetime(2026, 1, 1, tzinfo=UTC)
REQUEST = {"prompt": "a mug", "negative_prompt": "text", "model_name": "kling-v2", "aspect_ratio": "3:4", "n": 2}
IMAGE = {
    "index": 0,
    "uri": "s3://b/8334/0.png",
    "content_type": "image/png",
    "sha256": SHA256,
    "bytes": 9,
    "width": 3,
    "height": 4,
}
TASK = {"created_at": "2026-01-01T00:00:00+00:00", "updated_at": "2026-01-01T00:00:21+00:00"}
ARCHIVE = {"asked": REQUEST, "task": TASK, "units": 8.0, "manifest": "s3://b/8334/manifest.json", "images": [IMAGE]}


def card_of(value: Any, *, archived: bool = True, identity: Identity = ONE) -> Card:
    return make_card(Row(identity, archived, AT, value), "archived" if archived else "running")


def test_an_archive_shows_all_that_is_known() -> None:
    card = card_of(ARCHIVE)
    assert (card.prompt, card.negative_prompt, card.expected, card.note) == ("a mug", "text", 2, "")
    assert card.facts == [("Model", "kling-v2"), ("Ratio", "3:4"), ("Units billed", "8 image units"), ("Took", "21 s")]
    [image] = card.images
    assert (image.width, image.height, image.bytes, image.uri, image.problem) == (3, 4, 9, "s3://b/8334/0.png", "")
    assert urlsplit(image.original).path == "dags/our%20dag/image"
    assert parse_qs(urlsplit(image.thumb).query)["v"] == [SHA256[:12]]
    assert card.manifest.startswith("dags/our%20dag/manifest?")
    assert card.manifest_uri == "s3://b/8334/manifest.json"
    assert card.run_url == "../dags/our%20dag/runs/manual__1%2B0"
    assert not card.can_change


def test_a_request_shows_what_was_asked() -> None:
    card = card_of(REQUEST, archived=False)
    assert (card.prompt, card.images, card.manifest, card.can_change) == ("a mug", [], "", True)
    assert card.facts == [("Model", "kling-v2"), ("Ratio", "3:4")]


@pytest.mark.parametrize("archived", [True, False])
@pytest.mark.parametrize(
    ("route", "facts"),
    [
        ({"route": "image-to-video"}, [("Route", "image-to-video")]),
        ({"route": "multi-image-to-image"}, []),
        ({}, []),  # of a version that knew no other
        ({"route": 17}, []),
    ],
)
def test_the_route_is_shown_where_it_is_another(
    route: dict[str, Any], facts: list[tuple[str, str]], archived: bool
) -> None:
    assert card_of({"asked": route} if archived else {"prompt": "x", **route}, archived=archived).facts == facts


def test_an_archive_by_id_alone_names_its_route() -> None:
    assert card_of({"asked": {}, "route": "text-to-video"}).facts == [("Route", "text-to-video")]


VIDEO = {
    "index": 0,
    "uri": "s3://b/8334/0.mp4",
    "content_type": "video/mp4",
    "sha256": SHA256,
    "bytes": 9,
    "width": 640,
    "height": 360,
    "duration": 65.2,
    "poster": {"uri": "s3://b/8334/0.poster.jpg", "sha256": "f" * 64, "bytes": 5, "content_type": "image/jpeg"},
}
CLIP = {"asked": {}, "manifest": "s3://b/8334/manifest.json", "images": [], "videos": [VIDEO]}


def test_a_video_has_a_poster_and_a_source() -> None:
    [video] = card_of(CLIP).videos
    assert (video.duration, video.width, video.problem) == ("1:05", 640, "")
    assert urlsplit(video.source).path == "dags/our%20dag/video"
    assert parse_qs(urlsplit(video.source).query)["v"] == [SHA256[:12]]
    assert urlsplit(video.thumb).path == urlsplit(video.large).path == "dags/our%20dag/poster"


def test_a_video_without_a_poster_can_be_played() -> None:
    [video] = card_of({**CLIP, "videos": [{**VIDEO, "poster": None, "duration": "x"}]}).videos
    assert (video.thumb, video.large, video.duration) == ("", "", "")
    assert video.source


@pytest.mark.parametrize("duration", [None, True, -1, 0, 10**400, float("nan"), float("inf"), 1e9, "5"], ids=str)
def test_a_duration_that_is_none_is_not_shown(duration: Any) -> None:
    assert card_of({**CLIP, "videos": [{**VIDEO, "duration": duration}]}).videos[0].duration == ""


@pytest.mark.parametrize(
    ("billed", "estimated", "shown"),
    [
        (10, 10, {"Units billed": "10 image units"}),
        (10, 9.5, {"Units billed": "10 image units"}),
        (10, 8, {"Units billed": "10 image units", "Units estimated": "8 image units"}),
        (8, 10, {"Units billed": "8 image units", "Units estimated": "10 image units"}),
        (None, 8, {"Units estimated": "8 image units"}),
        (8, None, {"Units billed": "8 image units"}),
        (8, "many", {"Units billed": "8 image units"}),
        (None, float("nan"), {}),
    ],
)
def test_an_estimate_is_shown_where_the_bill_is_another(billed: Any, estimated: Any, shown: dict[str, str]) -> None:
    facts = dict(card_of({"asked": {"estimated_units": estimated}, "units": billed}).facts)
    assert {name: fact for name, fact in facts.items() if name.startswith("Units")} == shown


@pytest.mark.parametrize(
    ("route", "units", "shown"),
    [
        ("image-to-video", 3, "3 video units"),
        ("virtual-try-on", 1, "1 try-on unit"),
        ("image-generation", 8, "8 image units"),
        ("no-such-route", 8, "8 image units"),
    ],
)
def test_units_are_those_of_the_routes_pack(route: str, units: float, shown: str) -> None:
    assert dict(card_of({"route": route, "units": units}).facts)["Units billed"] == shown


def test_an_image_that_is_not_shown_has_a_reason_and_no_address() -> None:
    [image] = card_of({**ARCHIVE, "images": [{**IMAGE, "uri": "file:///etc/passwd"}]}).images
    assert (image.thumb, image.large, image.original) == ("", "", "")
    assert image.problem == NOT_READABLE


def test_references_are_shown_linked_or_named() -> None:
    file = {"name": "subject_images[0]", "source": "file", "uri": "s3://r/a.png", "sha256": SHA256, "bytes": 5}
    url = {"name": "scene_image", "source": "url", "uri": "https://example.com/a.png"}
    data = {"name": "style_image", "source": "bytes", "sha256": SHA256}
    script = {"name": "style_image", "source": "url", "uri": "javascript:alert(1)"}
    shown, linked, named, unsafe = card_of({"references": [file, url, data, script]}, archived=False).references
    assert (shown.role, shown.label, shown.href) == ("subject", "s3://r/a.png", "")
    assert urlsplit(shown.thumb).path == "dags/our%20dag/reference"
    assert (linked.role, linked.thumb, linked.href) == ("scene", "", "https://example.com/a.png")
    assert (named.role, named.label, named.thumb, named.href) == ("style", "given as bytes", "", "")
    assert (unsafe.href, unsafe.thumb) == ("", "")


@pytest.mark.parametrize("value", [None, 17, "s3://xcoms/1.json", [], float("nan")], ids=repr)
def test_a_value_that_is_elsewhere_leaves_a_note(value: Any) -> None:
    assert "custom XCom backend" in card_of(value).note


def test_a_value_that_was_typed_in_is_json() -> None:
    assert as_mapping(json.dumps(ARCHIVE)) == ARCHIVE
    assert as_mapping('{"a":' + "[" * 100_000) == as_mapping("{not json") == {}


@pytest.mark.parametrize(
    ("task", "took"),
    [
        ({**TASK, "updated_at": "2026-01-01T00:03:05+00:00"}, "3 min 5 s"),
        ({**TASK, "updated_at": "2025-12-31T00:00:00+00:00"}, None),
        ({**TASK, "updated_at": "2026-01-01T00:00:21"}, None),  # one time with a zone, one without
        ({**TASK, "updated_at": 5}, None),
        ({}, None),
        (None, None),
    ],
)
def test_duration(task: Any, took: str | None) -> None:
    assert dict(card_of({"asked": {}, "task": task}).facts).get("Took") == took


@pytest.mark.parametrize("units", [True, "8", float("nan"), float("inf"), 10**400, None, [8]], ids=lambda u: str(u)[:9])
def test_units_that_are_no_number_are_not_shown(units: Any) -> None:
    assert "Units billed" not in dict(card_of({"units": units}).facts)


def test_a_hostile_value_makes_no_large_page() -> None:
    many = [{"index": n} for n in range(5000)]
    card = card_of({"images": many, "asked": {"n": 10**9, "prompt": "x" * 10**6, "references": [{}] * 5000}})
    assert (len(card.images), len(card.references), card.expected) == (MAX_RESULTS, MAX_REFERENCES, 1)
    assert len(card.prompt) < 10_000


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
NAMES = (
    "videos",
    "poster",
    "index",
    "duration",
    "asked",
    "task",
    "units",
    "manifest",
    "conn_id",
    "images",
    "prompt",
    "n",
    "route",
    "references",
    "model_name",
)
SHAPED = st.dictionaries(st.sampled_from(NAMES), JSON | st.dictionaries(st.sampled_from(NAMES), JSON))


@given(JSON | SHAPED, st.booleans())
def test_any_value_makes_a_card_that_can_be_sent(value: Any, archived: bool) -> None:
    card = card_of(value, archived=archived)
    repr(card).encode()
    for image in card.images:
        assert bool(image.thumb) != bool(image.problem)


def test_pure_modules_import_no_sqlalchemy() -> None:
    modules = ", ".join(f"airflow_kling.plugins.gallery.{name}" for name in ("rows", "cards", "status", "filters"))
    code = f"import sys, {modules}; print([one for one in ('sqlalchemy', 'airflow', 'fastapi') if one in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout == b"[]\n"


def test_a_generation_whose_values_are_too_large_says_so() -> None:
    card = make_card(Row(ONE, True, AT, None, is_too_large=True), "archived")
    assert (card.images, card.note) == (
        [],
        "Its values are larger than 128 kB, which is too large for the gallery to read them.",
    )


def test_a_kling_task_id_alone_names_no_generation() -> None:
    names = {card_of(ARCHIVE, identity=ONE._replace(**change)).generation for change in ({}, *OTHER_PLACES)}
    assert len(names) == 4
    assert card_of(ARCHIVE, identity=ONE._replace(task_id="submit")).generation in names


OTHER_PLACES: list[dict[str, Any]] = [{"dag_id": "other"}, {"run_id": "other"}, {"map_index": 0}]
