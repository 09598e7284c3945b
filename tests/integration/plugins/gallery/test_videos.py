"""Videos over HTTP: in ranges, checked before a byte is sent, downloaded once, and nothing but what was archived."""

from __future__ import annotations

import gc
import hashlib
import os
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from airflow_kling.plugins.gallery.locations import NOT_READABLE
from tests.integration.conftest import picture
from tests.integration.plugins.gallery.world import Gallery, Left

Leave = Callable[..., Left]
CLIP = b"\0\0\0\x20ftypisom" + bytes(range(256)) * 4000


def cached(gallery: Gallery) -> list[Path]:
    return sorted((gallery.folder / "thumbnails" / "videos").iterdir())


@pytest.fixture
def clip(gallery: Gallery, left: Leave) -> str:
    """Address of a video."""
    one = left()
    one.clip(gallery.folder, CLIP)
    return gallery.address(one.generation, "video")


def file_of(gallery: Gallery, one: Left) -> Path:
    return gallery.folder / "archive" / one.generation.kling_task_id / "0.mp4"


def test_the_whole_video(gallery: Gallery, admin: httpx.Client, clip: str) -> None:
    answer = admin.get(clip)
    assert (answer.status_code, answer.content) == (200, CLIP)
    headers = answer.headers
    assert headers["content-type"] == "video/mp4"
    assert headers["accept-ranges"] == "bytes"
    assert headers["content-length"] == str(len(CLIP))
    assert headers["etag"] == f'"{hashlib.sha256(CLIP).hexdigest()}"'
    assert headers["content-disposition"].startswith("inline; filename=")
    assert headers["x-content-type-options"] == "nosniff"
    assert "media-src 'self'" in headers["content-security-policy"]
    assert "content-range" not in headers


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-", 0, len(CLIP) - 1),
        ("bytes=0-0", 0, 0),
        ("bytes=1000-300000", 1000, 300000),
        ("bytes=-10", len(CLIP) - 10, len(CLIP) - 1),
        (f"bytes=5-{10**9}", 5, len(CLIP) - 1),
    ],
)
def test_a_range(admin: httpx.Client, clip: str, asked: str, first: int, last: int) -> None:
    answer = admin.get(clip, headers={"Range": asked, "Accept-Encoding": "gzip"})
    assert (answer.status_code, answer.content) == (206, CLIP[first : last + 1])
    assert answer.headers["content-range"] == f"bytes {first}-{last}/{len(CLIP)}"
    assert answer.headers["content-length"] == str(last - first + 1)


def test_a_range_that_the_video_does_not_have(admin: httpx.Client, clip: str) -> None:
    answer = admin.get(clip, headers={"Range": f"bytes={len(CLIP)}-"})
    assert (answer.status_code, answer.content) == (416, b"")
    assert answer.headers["content-range"] == f"bytes */{len(CLIP)}"


def test_several_ranges_are_the_whole_video(admin: httpx.Client, clip: str) -> None:
    assert admin.get(clip, headers={"Range": "bytes=0-1,5-6"}).status_code == 200


def test_a_range_of_another_version_is_the_whole_video(admin: httpx.Client, clip: str) -> None:
    tag = admin.head(clip).headers["etag"]
    ranged = {"Range": "bytes=0-1"}
    assert admin.get(clip, headers={**ranged, "If-Range": tag}).status_code == 206
    assert admin.get(clip, headers={**ranged, "If-Range": '"other"'}).status_code == 200
    assert admin.get(clip, headers={**ranged, "If-Range": "Wed, 21 Oct 2026 07:28:00 GMT"}).status_code == 200


def test_head_is_get_without_a_body(admin: httpx.Client, clip: str) -> None:
    for headers in ({}, {"Range": "bytes=10-19"}):
        head, got = admin.head(clip, headers=headers), admin.get(clip, headers=headers)
        assert (head.status_code, head.content) == (got.status_code, b"")
        for name in ("content-length", "content-range", "etag", "content-type", "accept-ranges"):
            assert head.headers.get(name) == got.headers.get(name)


def test_what_the_browser_has_is_not_sent_again(admin: httpx.Client, clip: str) -> None:
    answer = admin.get(clip, headers={"If-None-Match": admin.head(clip).headers["etag"]})
    assert (answer.status_code, answer.content) == (304, b"")


def test_a_video_comes_from_the_storage_once(gallery: Gallery, admin: httpx.Client, left: Leave) -> None:
    one = left()
    one.clip(gallery.folder, CLIP)
    before = set(cached(gallery))
    address = gallery.address(one.generation, "video")

    def ask(number: int) -> bytes:
        return admin.get(address, headers={"Range": f"bytes={number}-{number}"}).content

    with ThreadPoolExecutor(12) as threads:
        assert b"".join(threads.map(ask, range(48))) == CLIP[:48]
    [kept] = set(cached(gallery)) - before
    assert kept.stat().st_mode & 0o777 == 0o600
    assert kept.parent.stat().st_mode & 0o777 == 0o700
    file_of(gallery, one).unlink()
    assert admin.get(address).content == CLIP


def test_what_is_cached_is_not_served_for_another_place(gallery: Gallery, admin: httpx.Client, left: Leave) -> None:
    here, other = left(), left()
    for one in (here, other):
        one.clip(gallery.folder, CLIP)
    assert admin.get(gallery.address(here.generation, "video")).status_code == 200
    file_of(gallery, other).unlink()
    assert admin.get(gallery.address(other.generation, "video")).status_code == 404


def test_no_byte_of_another_file_is_sent_or_kept(gallery: Gallery, admin: httpx.Client, left: Leave) -> None:
    one = left()
    one.clip(gallery.folder, CLIP)
    before = cached(gallery)
    for content in (CLIP[:-1] + b"x", CLIP[:-1], CLIP + b"x", b""):
        file_of(gallery, one).write_bytes(content)
        for headers in ({}, {"Range": "bytes=0-9"}):
            answer = admin.get(gallery.address(one.generation, "video"), headers=headers)
            assert (answer.status_code, answer.json()) == (404, {"detail": NOT_READABLE})
    assert cached(gallery) == before


@pytest.mark.parametrize("content", [b"<html><script>alert(1)</script>", b"\x89PNG\r\n\x1a\n" + bytes(50), b"MP4"])
def test_what_is_no_mp4_is_not_sent(gallery: Gallery, admin: httpx.Client, left: Leave, content: bytes) -> None:
    one = left()
    one.clip(gallery.folder, content)
    assert admin.get(gallery.address(one.generation, "video")).status_code == 404


def test_a_file_that_lost_its_end_in_a_crash_is_fetched_again(
    gallery: Gallery, admin: httpx.Client, left: Leave
) -> None:
    one = left()
    one.clip(gallery.folder, CLIP)
    before = set(cached(gallery))
    address = gallery.address(one.generation, "video")
    assert admin.get(address).content == CLIP
    [kept] = set(cached(gallery)) - before
    os.truncate(kept, 100)
    assert admin.get(address).content == CLIP


HOSTILE = [
    {"uri": "file:///etc/passwd"},
    {"uri": "https://example.com/0.mp4"},
    {"content_type": "text/html"},
    {"content_type": "image/svg+xml"},
    {"index": "../../etc/passwd"},
    {"index": -1},
    {"bytes": 10**12},
    {"bytes": True},
    {"bytes": 0},
    {"sha256": "0" * 64},
    {"sha256": None},
]


@pytest.mark.parametrize("change", HOSTILE, ids=repr)
def test_no_video_but_the_archived_one_is_read(
    gallery: Gallery, admin: httpx.Client, left: Leave, change: dict[str, Any]
) -> None:
    one = left()
    one.clip(gallery.folder, CLIP, **change)
    assert admin.get(gallery.address(one.generation, "video")).status_code == 404
    assert admin.get("/kling/gallery").status_code == 200


def test_who_may_not_read_the_dag_gets_nothing(gallery: Gallery) -> None:
    one = Left("denied")
    one.clip(gallery.folder, CLIP, poster=picture(640, 360, kind="JPEG"))
    with gallery.server.client("admin") as admin, gallery.server.client("viewer") as viewer:
        for what in ("video", "poster"):
            address = gallery.address(one.generation, what)
            assert admin.get(address).status_code == 200  # so it is cached as well
            for headers in ({}, {"Range": "bytes=0-9"}, {"If-None-Match": admin.get(address).headers["etag"]}):
                assert viewer.get(address, headers=headers).status_code == 403
            assert viewer.head(address).status_code in (403, 404)


def test_version_of_a_video_is_that_of_the_record(gallery: Gallery, admin: httpx.Client, clip: str) -> None:
    versions = (hashlib.sha256(CLIP).hexdigest()[:12], "0" * 12)
    assert [admin.get(f"{clip}&v={version}").status_code for version in versions] == [200, 404]


def test_poster(gallery: Gallery, admin: httpx.Client, left: Leave) -> None:
    one = left()
    one.clip(gallery.folder, CLIP, poster=picture(640, 360, kind="JPEG"))
    answer = admin.get(gallery.address(one.generation, "poster", size="thumb"))
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/webp")
    without = left()
    without.clip(gallery.folder, CLIP)
    address = gallery.address(without.generation, "poster", size="thumb")
    assert admin.get(address).json() == {"detail": "This video has no poster."}


def test_a_video_that_is_too_large_says_so(
    gallery: Gallery, admin: httpx.Client, left: Leave, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__KLING__GALLERY_MAX_VIDEO_MB", "1")
    one = left()
    one.clip(gallery.folder, CLIP + bytes(1024 * 1024))
    answer = admin.get(gallery.address(one.generation, "video"))
    assert (answer.status_code, answer.json()["detail"]) == (
        404,
        "The size of the file is not known, or over 1 MiB.",
    )
    assert "over 1 MiB" in admin.get("/kling/gallery").text


def test_a_large_video_takes_no_memory(gallery: Gallery, admin: httpx.Client, left: Leave) -> None:
    """The API server runs in this process, so its memory is counted too."""
    one = left()
    one.clip(gallery.folder, CLIP)  # warms up
    assert admin.get(gallery.address(one.generation, "video")).status_code == 200
    large, size = left(), 100 * 2**20
    content = CLIP + bytes(size - len(CLIP))
    large.clip(gallery.folder, content)
    del content
    gc.collect()
    tracemalloc.start()
    try:
        with admin.stream("GET", gallery.address(large.generation, "video")) as answer:
            assert answer.status_code == 200
            assert sum(len(piece) for piece in answer.iter_raw(2**18)) == size
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16 * 2**20
