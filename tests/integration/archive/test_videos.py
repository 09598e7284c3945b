"""Videos and images of one task are archived, with posters; archives of manifest version 1 go on."""

from __future__ import annotations

import hashlib
import json
import logging
import signal
import subprocess
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from airflow_kling.archive.manifest import parse_manifest
from airflow_kling.archive.review import open_archive
from airflow_kling.exceptions import KlingImageError
from airflow_kling.media import frames
from airflow_kling.storage.open import open_store
from tests.clips import clip
from tests.integration.archive.test_archiver import KILLED, Images, archive, finished, images, noise
from tests.integration.stores import Place, s3_listing

__all__ = ["images"]

CLIP, OTHER = clip(), clip(96, 64, 24)


def made(images: Images, *videos: bytes, pages: tuple[bytes, ...] = (), **changes: Any) -> dict[str, Any]:
    """A finished task with videos, and images beside them."""
    task = finished(images, *pages, route="multi-image-to-image", **changes)
    listed = []
    for index, data in enumerate(videos):
        images.pages[f"/v{index}"] = data
        listed.append({"index": index, "url": images.url(f"/v{index}"), "id": f"id-{index}", "duration": "5.1"})
    return {**task, "videos": listed}


def test_videos_and_images_and_a_manifest(images: Images, place: Place) -> None:
    png = noise()
    summary = archive(made(images, CLIP, OTHER, pages=(png,)), place.store)
    stored = place.listing()
    manifest = json.loads(stored.pop("task-1/manifest.json"))
    posters = {key: stored.pop(key) for key in ("task-1/0.poster.jpg", "task-1/1.poster.jpg")}
    assert stored == {"task-1/0.png": png, "task-1/0.mp4": CLIP, "task-1/1.mp4": OTHER}
    poster = posters["task-1/1.poster.jpg"]
    assert list(summary) == ["manifest", "kling_task_id", "route", "images", "videos"]
    assert summary["videos"][1] == {
        "index": 1,
        "uri": place.store.uri("task-1/1.mp4"),
        "sha256": hashlib.sha256(OTHER).hexdigest(),
        "bytes": len(OTHER),
        "width": 96,
        "height": 64,
        "content_type": "video/mp4",
        "duration": 2.0,
        "codec": "avc1",
        "id": "id-1",
        "poster": {
            "uri": place.store.uri("task-1/1.poster.jpg"),
            "sha256": hashlib.sha256(poster).hexdigest(),
            "bytes": len(poster),
            "width": 96,
            "height": 64,
            "content_type": "image/jpeg",
        },
    }
    with Image.open(BytesIO(poster)) as image:
        assert (image.format, image.size) == ("JPEG", (96, 64))
    assert (manifest["version"], [one["kind"] for one in (*manifest["images"], *manifest["videos"])]) == (
        2,
        ["image", "video", "video"],
    )
    assert "SECRET" not in json.dumps(manifest)


def test_again_changes_nothing_and_fetches_nothing(images: Images, place: Place) -> None:
    task = made(images, CLIP, pages=(noise(),))
    first, before = archive(task, place.store), place.listing()
    images.pages.clear()
    assert archive(task, place.store) == first
    assert place.listing() == before
    assert sorted(images.requests) == ["/0", "/v0"]


def test_a_lost_poster_is_made_again_from_the_archived_video(images: Images, place: Place) -> None:
    task = made(images, CLIP)
    first, before = archive(task, place.store), place.listing()
    place.store.remove("task-1/0.poster.jpg")
    images.pages.clear()
    assert archive(task, place.store) == first
    assert place.listing() == before


def test_a_video_of_a_killed_run_is_taken_from_the_store(images: Images, place: Place) -> None:
    task = made(images, CLIP, OTHER)
    place.put("task-1/0.mp4", CLIP)
    place.put("task-1/1.mp4", OTHER[:-50])
    place.put("task-1/1.poster.jpg", b"of another try")
    archive(task, place.store)
    assert images.requests == ["/v1"]
    assert place.listing()["task-1/1.mp4"] == OTHER
    assert set(place.listing()) == {f"task-1/{i}.{e}" for i in (0, 1) for e in ("mp4", "poster.jpg")} | {
        "task-1/manifest.json"
    }


def test_one_that_cannot_be_verified_lies_aside_until_a_whole_one_comes(images: Images, place: Place) -> None:
    task = made(images, CLIP[:-50], pages=(noise(),))
    with pytest.raises(KlingImageError, match=r"Video 0 .* kept as .*unverified/video-0\.mp4") as caught:
        archive(task, place.store, refresh=lambda: task)
    assert "is not whole" in str(caught.value)
    assert place.listing()["task-1/unverified/video-0.mp4"] == CLIP[:-50]
    accepted = archive(task, place.store, refresh=lambda: task, accept_unverified=True)
    assert [(one["kind"], one["index"]) for one in accepted["unverified"]] == [("video", 0)]
    place.store.remove("task-1/manifest.json")
    images.pages["/v0"] = CLIP
    assert "unverified" not in archive(task, place.store)


def test_an_image_where_a_video_should_be(images: Images, place: Place) -> None:
    task = made(images, noise())
    with pytest.raises(KlingImageError, match="did not answer with an MP4 video"):
        archive(task, place.store, refresh=lambda: task)
    assert "task-1/unverified/video-0.png" in place.listing()


def test_sounds_are_kept_as_they_came(images: Images, place: Place) -> None:
    """Nothing verifies them, and they are paid for: the task does not fail, and the manifest says so."""
    task = made(images, CLIP) | {"audios": [{"index": 0, "url": images.url("/s")}]}
    images.pages["/s"] = b"ID3\4 sound"
    summary = archive(task, place.store)
    assert place.listing()["task-1/unverified/audio-0.bin"] == b"ID3\4 sound"
    assert summary["warnings"] == [
        "Audio 0 is kept as it came, as task-1/unverified/audio-0.bin: only images and videos are verified."
    ]
    assert summary["unverified"][0]["kind"] == "audio"
    images.pages.clear()
    assert archive(task, place.store) == summary


def test_a_video_that_is_shorter_than_asked(images: Images, tmp_path: Path) -> None:
    store = open_store(tmp_path.as_uri())
    summary = archive(made(images, CLIP), store, request={"duration": "5"})
    assert summary["warnings"] == ["5 seconds were asked for, and video 0 has 1.0."]
    summary = archive(made(images, CLIP, kling_task_id="task-2"), store, request={"duration": "1"})
    assert "warnings" not in summary


def test_without_pyav_there_is_no_poster(
    images: Images, place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setitem(sys.modules, "av", None)
    summary = archive(made(images, CLIP), place.store)
    assert "poster" not in summary["videos"][0]
    assert "poster" not in json.loads(place.listing()["task-1/manifest.json"])["videos"][0]
    assert (
        "Video 0 of Kling task task-1 has no poster: install airflow-provider-kling[video] for it." in caplog.messages
    )


def test_a_poster_that_fails_fails_nothing(
    images: Images, place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(file: Any) -> Any:
        raise OSError("no more memory")

    monkeypatch.setattr(frames, "draw_poster", broken)
    assert "poster" not in archive(made(images, CLIP), place.store)["videos"][0]
    assert "Video 0 of Kling task task-1 has no poster: no more memory" in caplog.messages


@pytest.mark.parametrize("write", [1, 2, 3])
def test_a_killed_run_leaves_nothing_half_written_and_the_next_one_makes_it_whole(
    images: Images, tmp_path: Path, write: int
) -> None:
    """Write 1 is the poster, 2 the video, 3 the manifest."""
    task, folder = made(images, CLIP), tmp_path / "task-1"
    run = subprocess.run([sys.executable, "-c", KILLED, json.dumps(task), tmp_path.as_uri(), str(write)])
    assert run.returncode == -signal.SIGKILL
    left = {path.name for path in folder.iterdir() if path.name[0] != "."}
    assert left == {1: set(), 2: {"0.poster.jpg"}, 3: {"0.poster.jpg", "0.mp4"}}[write]
    archive(task, open_store(tmp_path.as_uri()))
    assert {path.name for path in folder.iterdir()} == {"0.mp4", "0.poster.jpg", "manifest.json"}
    assert (folder / "0.mp4").read_bytes() == CLIP
    assert images.requests == ["/v0"] * (1 if write == 3 else 2), "fetched anew unless it was stored"


KILLED_ON_S3 = """
import functools, json, os, signal, sys
from botocore.client import BaseClient
from airflow_kling.api.tasks import KlingTask
from airflow_kling.archive.archiver import archive_task
from airflow_kling.archive.download import download_result
from airflow_kling.storage.open import open_store
send, left = BaseClient._make_api_call, [int(sys.argv[2])]
def dying(client, name, arguments):
    left[0] -= name == "PutObject"
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    return send(client, name, arguments)
BaseClient._make_api_call = dying
store = open_store("s3://images/pre/fix", aws_conn_id="my_s3")
download = functools.partial(download_result, allow_private_hosts=True)
task = KlingTask.from_xcom(json.loads(sys.argv[1]))
archive_task(task, store=store, download=download, refresh=lambda: None, request={}, run={})
"""


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_run_that_is_killed_at_an_upload_to_s3_is_made_whole_by_the_next_one(
    images: Images, s3: Any, number: int
) -> None:
    task = made(images, CLIP)
    run = subprocess.run([sys.executable, "-c", KILLED_ON_S3, json.dumps(task), str(number)])
    assert run.returncode == -signal.SIGKILL
    assert len(s3_listing(s3)) == number - 1
    archive(task, open_store("s3://images/pre/fix", aws_conn_id="my_s3"))
    assert set(s3_listing(s3)) == {"task-1/0.mp4", "task-1/0.poster.jpg", "task-1/manifest.json"}
    assert s3_listing(s3)["task-1/0.mp4"] == CLIP
    assert images.requests == ["/v0"] * (1 if number == 3 else 2)


def version_1(summary: dict[str, Any], place: Place) -> bytes:
    """Make the manifest one of version 1."""
    content = json.loads(place.listing()["task-1/manifest.json"])
    del content["videos"]
    for image in content["images"]:
        del image["kind"]
    data = json.dumps(content | {"version": 1}).encode()
    place.put("task-1/manifest.json", data)
    return data


def test_an_archive_of_version_1_is_whole(images: Images, place: Place) -> None:
    task = finished(images, noise(), noise())
    first = archive(task, place.store)
    old = version_1(first, place)
    assert archive(task, place.store) == first
    assert place.listing()["task-1/manifest.json"] == old
    assert sorted(images.requests) == ["/0", "/1"]


def test_an_archive_of_version_1_is_repaired(images: Images, place: Place) -> None:
    task = finished(images, noise(), noise())
    first = archive(task, place.store)
    before = place.listing()
    version_1(first, place)
    place.store.remove("task-1/1.png")
    assert archive(task, place.store) == first
    assert place.listing() == before, "and its manifest is one of version 2"
    assert sorted(images.requests) == ["/0", "/1", "/1"]


def test_an_archive_of_version_1_is_opened_for_review(images: Images, tmp_path: Path) -> None:
    store = open_store(tmp_path.as_uri())
    first = archive(finished(images, noise()), store)
    path = tmp_path / "task-1" / "manifest.json"
    content = json.loads(path.read_text())
    del content["videos"], content["images"][0]["kind"]
    path.write_text(json.dumps(content | {"version": 1}))
    opened, _ = open_archive(first["manifest"])
    assert [image.uri for image in opened.manifest.images] == [first["images"][0]["uri"]]


def test_addresses_are_those_of_the_store_that_has_it(images: Images, tmp_path: Path) -> None:
    archive(made(images, CLIP), open_store((tmp_path / "a").as_uri()))
    (tmp_path / "a").rename(tmp_path / "b")
    opened, _ = open_archive(f"file://{tmp_path}/b/task-1/manifest.json")
    (video,) = opened.manifest.videos
    assert video.poster is not None
    assert (video.uri, video.poster.uri) == (
        f"file://{tmp_path}/b/task-1/0.mp4",
        f"file://{tmp_path}/b/task-1/0.poster.jpg",
    )


@pytest.mark.parametrize(
    "change",
    [
        {"key": "task-1/1.mp4"},
        {"key": "task-1/0.png"},
        {"duration": 0},
        {"poster": {"key": "task-1/1.poster.jpg"}},
    ],
)
def test_a_damaged_manifest_with_videos_is_none(images: Images, tmp_path: Path, change: dict[str, Any]) -> None:
    archive(made(images, CLIP), open_store(tmp_path.as_uri()))
    content = json.loads((tmp_path / "task-1" / "manifest.json").read_text())
    assert parse_manifest(json.dumps(content).encode()) is not None
    video = content["videos"][0]
    if "poster" in change:
        change = {"poster": {**video["poster"], **change["poster"]}}
    content["videos"][0] = {**video, **change}
    assert parse_manifest(json.dumps(content).encode()) is None
