"""Pictures and the clips that were made from them: linked both ways, for who may read both, and where it is true."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.integration.conftest import picture
from tests.integration.plugins.gallery.seed import many_runs, seed
from tests.integration.plugins.gallery.test_pages import card_of, shown, statements
from tests.integration.plugins.gallery.test_videos import CLIP
from tests.integration.plugins.gallery.world import Gallery, Left

Leave = Callable[..., Left]


def reference_to(one: Left, archive: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Describe image 0 of an archive as the request record of a clip does."""
    image = archive["images"][0]
    described = {"name": "image", "source": "file", **{name: image[name] for name in ("uri", "sha256", "bytes")}}
    source = {"kling_task_id": one.generation.kling_task_id, "kind": "image", "index": 0, "content_type": "image/png"}
    return {**described, **source, **changes}


def links(card: str, name: str) -> list[str]:
    found = re.search(rf"<span>{name}</span>(.*?)</p>", card, re.DOTALL)
    return re.findall(r'href="([^"]*)"', found[1]) if found else []


def test_a_clip_and_its_picture_lead_to_each_other(gallery: Gallery, admin: httpx.Client, left: Leave) -> None:
    source, clip = left(), left()
    clip.clip(gallery.folder, CLIP, references=[reference_to(source, source.archive(gallery.pictures))])
    page = admin.get("/kling/gallery")
    [there] = links(card_of(page, clip), "Made from")
    [back] = links(card_of(page, source), "Used in")
    assert shown(admin.get(f"/kling/{there}")) == [source.generation.kling_task_id]
    assert shown(admin.get(f"/kling/{back}")) == [clip.generation.kling_task_id]
    assert links(card_of(page, clip), "Used in") == links(card_of(page, source), "Made from") == []
    # The reference is shown as the picture's own card shows it.
    [thumb] = re.findall(r'<img src="(dags/open/image[^"]*)" width="56"', card_of(page, clip))
    assert admin.get(f"/kling/{thumb}").status_code == 200


def test_a_poster_that_became_a_reference_is_one_of_its_video(
    gallery: Gallery, admin: httpx.Client, left: Leave
) -> None:
    source, clip = left(), left()
    made = source.clip(gallery.folder, CLIP, poster=picture(640, 360, kind="JPEG"))
    poster = made["videos"][0]["poster"]
    reference = {"name": "image", "source": "file", **poster, "kind": "video", "index": 0}
    clip.clip(gallery.folder, CLIP, references=[{**reference, "kling_task_id": source.generation.kling_task_id}])
    page = admin.get("/kling/gallery")
    assert len(links(card_of(page, clip), "Made from")) == len(links(card_of(page, source), "Used in")) == 1
    [thumb] = re.findall(r'<img src="(dags/open/poster[^"]*)" width="56"', card_of(page, clip))
    assert admin.get(f"/kling/{thumb}").status_code == 200


def test_nothing_leads_to_a_dag_that_may_not_be_read(gallery: Gallery, left: Leave) -> None:
    secret, opened, clip, secret_clip = Left("denied"), left(), left(), Left("denied")
    clip.clip(gallery.folder, CLIP, references=[reference_to(secret, secret.archive(gallery.pictures))])
    secret_clip.clip(gallery.folder, CLIP, references=[reference_to(opened, opened.archive(gallery.pictures))])
    with gallery.server.client("admin") as admin, gallery.server.client("viewer") as viewer:
        assert links(card_of(admin.get("/kling/gallery"), clip), "Made from") != []
        assert links(card_of(admin.get("/kling/gallery"), opened), "Used in") != []
        page = viewer.get("/kling/gallery")
        assert links(card_of(page, clip), "Made from") == links(card_of(page, opened), "Used in") == []
        assert secret_clip.generation.kling_task_id not in page.text


@pytest.mark.parametrize(
    "change",
    [{"sha256": "0" * 64}, {"sha256": None}, {"index": 1}, {"kind": "video"}, {"kind": ["image"]}, {"index": True}],
    ids=repr,
)
def test_who_does_not_know_the_picture_links_to_nothing(
    gallery: Gallery, admin: httpx.Client, left: Leave, change: dict[str, Any]
) -> None:
    source, clip = left(), left()
    archive = source.archive(gallery.pictures)
    clip.clip(gallery.folder, CLIP, references=[reference_to(source, archive, **change)])
    page = admin.get("/kling/gallery")
    assert links(card_of(page, clip), "Made from") == links(card_of(page, source), "Used in") == []


HOSTILE = [
    None,
    17,
    "javascript:alert(1)",
    [],
    {"kling_task_id": "javascript:alert(1)", "results": []},
    {"kling_task_id": '"><script>alert(1)</script>', "route": "x"},
    {"kling_task_id": ["x"], "results": "y"},
    {"kling_task_id": "1", "route": 5, "results": {"a": 1}},
    {"kling_task_id": "1", "results": [None, 5, {}, {"kind": {}, "index": [], "sha256": 5}]},
    {"kling_task_id": "1", "results": [{}] * 5000},
]


@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: repr(value)[:40])
def test_no_use_injects_a_link(gallery: Gallery, admin: httpx.Client, left: Leave, value: Any) -> None:
    source, other = left(), left()
    image = source.archive(gallery.pictures)["images"][0]
    if isinstance(value, dict) and value.get("results") == []:
        value = {**value, "results": [{"kind": "image", "index": 0, "sha256": image["sha256"]}]}
    other.put("submit", f"kling_use_{source.generation.kling_task_id}", value)
    assert links(card_of(admin.get("/kling/gallery"), source), "Used in") == []


def test_html_of_a_route_is_text(gallery: Gallery, admin: httpx.Client, left: Leave) -> None:
    source, other = left(), left()
    image = source.archive(gallery.pictures)["images"][0]
    route = '"><script>alert(1)</script>'
    results = [{"kind": "image", "index": 0, "sha256": image["sha256"]}]
    use = {"kling_task_id": "1", "route": route, "results": results}
    other.put("submit", f"kling_use_{source.generation.kling_task_id}", use)
    page = admin.get("/kling/gallery")
    assert "<script>alert" not in page.text
    assert html.unescape(card_of(page, source)).count("<script>alert(1)</script> 1</a>") == 1


def test_chains_cost_one_statement_more(gallery: Gallery, admin: httpx.Client, left: Leave) -> None:
    for _ in range(5):
        source, clip = left(), left()
        clip.clip(gallery.folder, CLIP, references=[reference_to(source, source.archive(gallery.pictures))])
    with statements() as sent:
        admin.get("/kling/gallery?dag_id=open")
    assert len([one for one in sent if " task_instance" not in one]) == 5


def test_filters_by_route_and_kind(gallery: Gallery, admin: httpx.Client) -> None:
    from airflow.utils.session import create_session

    with create_session(scoped=False) as session:
        seed(session, many_runs(1, "filters"), gallery.pictures)
    old, clip, waiting = (Left("filters") for _ in range(3))
    old.archive(gallery.pictures)
    clip.clip(gallery.folder, CLIP)
    waiting.request(gallery.pictures, route="text-to-video")

    def found(**query: Any) -> set[str]:
        return set(shown(admin.get("/kling/gallery", params={"dag_id": "filters", **query})))

    ids = [one.generation.kling_task_id for one in (old, clip, waiting)]
    seeded = many_runs(1)[0].kling_task_id
    assert found(route="multi-image-to-image") == found(kind="image") == {ids[0], seeded}
    assert found(route="image-to-video") == {ids[1]}
    assert found(route="text-to-video") == {ids[2]}
    assert found(kind="video") == {ids[1], ids[2]}
    assert found(kind="no such kind") == {*ids, seeded}
    assert found(route="' OR 1=1 --") == set()
    page = admin.get("/kling/gallery?dag_id=filters").text
    assert re.findall(r"<b>([^<]*)</b> (video)(?! unit)", page) == [("1", "video")]
    assert re.findall(r'<option value="video">Videos</option>', page) != []
