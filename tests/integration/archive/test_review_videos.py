"""Approved videos are copied with their posters, rejected ones taken down with them; choices are by index."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_kling.api.tasks import KlingTask
from airflow_kling.archive.manifest import ManifestImage, ManifestVideo, Poster, build_manifest, dump_manifest
from airflow_kling.exceptions import KlingInputError
from airflow_kling.storage.base import Store
from airflow_kling.storage.open import open_store
from tests.integration.archive.test_review import AT, BY, Places, moto, places, publish, put, s3_places

__all__ = ["moto", "places", "s3_places"]

CLIPS = {0: b"\0\0\0\x20ftypisom first", 1: b"\0\0\0\x20ftypisom second"}
POSTER = b"\xff\xd8\xff a poster"


def fill(store: Store, *, images: tuple[ManifestImage, ...] = ()) -> None:
    """Put an archive of two videos into a store; the first has a poster."""
    videos = []
    for index, data in CLIPS.items():
        sides = {"width": 640, "height": 360}
        poster = None
        if index == 0:
            key = "task-1/0.poster.jpg"
            sha256 = put(store, key, POSTER, "image/jpeg")
            poster = Poster(
                uri=store.uri(key), key=key, sha256=sha256, bytes=len(POSTER), content_type="image/jpeg", **sides
            )
        key = f"task-1/{index}.mp4"
        fields: dict[str, Any] = {"index": index, "uri": store.uri(key), "key": key, "content_type": "video/mp4"}
        fields |= {"sha256": put(store, key, data, "video/mp4"), "bytes": len(data), **sides, "duration": 5.0}
        fields |= {"codec": "avc1", "id": f"v{index}", "source_url": "https://h/0.mp4", "poster": poster}
        videos.append(ManifestVideo.model_validate(fields))
    manifest = build_manifest(KlingTask(kling_task_id="task-1"), [*images, *videos], request={}, run={})
    put(store, "task-1/manifest.json", dump_manifest(manifest), "application/json")


def copies(places: Places) -> dict[str, bytes]:
    names = ("0.mp4", "0.poster.jpg", "1.mp4", "1.poster.jpg", "0.png")
    found = {name: places.read(f"{places.published}/task-1/{name}") for name in names}
    return {name: data for name, data in found.items() if data is not None}


@pytest.fixture
def clips(places: Places) -> Places:
    store = open_store(places.archive)
    for key in list(store.keys("task-1")):
        store.remove(key)
    fill(store)
    return places


def test_an_approved_video_is_copied_with_its_poster(clips: Places) -> None:
    summary = publish(clips, 0)
    assert copies(clips) == {"0.mp4": CLIPS[0], "0.poster.jpg": POSTER}
    [video] = summary["published"]
    assert (video["index"], video["uri"], video["duration"]) == (0, f"{clips.published}/task-1/0.mp4", 5.0)
    assert video["poster"]["uri"] == f"{clips.published}/task-1/0.poster.jpg"
    assert summary["rejected"] == [1]
    said = clips.review()
    assert said["images"] == []
    assert [(one["kind"], one["index"], one["verdict"], one["published"]) for one in said["videos"]] == [
        ("video", 0, "approved", f"{clips.published}/task-1/0.mp4"),
        ("video", 1, "rejected", None),
    ]
    assert (said["by"], said["at"]) == (BY, AT)
    assert publish(clips, 0) == summary


def test_a_rejected_video_is_taken_down_with_its_poster(clips: Places) -> None:
    publish(clips, 0, 1)
    assert set(copies(clips)) == {"0.mp4", "0.poster.jpg", "1.mp4"}
    publish(clips, 1)
    assert copies(clips) == {"1.mp4": CLIPS[1]}


def test_a_poster_that_nobody_has_published_is_in_the_way(clips: Places) -> None:
    put(open_store(clips.published), "task-1/0.poster.jpg", POSTER, "image/jpeg")
    with pytest.raises(KlingInputError, match=r"Video 0 was rejected, but .*0\.poster\.jpg is there"):
        publish(clips, 1)
    assert set(copies(clips)) == {"0.poster.jpg"}


def test_a_video_that_has_changed_is_not_published(clips: Places) -> None:
    put(open_store(clips.archive), "task-1/0.mp4", CLIPS[1], "video/mp4")
    with pytest.raises(Exception, match=r"0\.mp4 is not what the manifest says"):
        publish(clips, 0)
    assert copies(clips) == {}


def test_a_video_that_is_not_there_cannot_be_approved(clips: Places) -> None:
    with pytest.raises(KlingInputError, match="Video 7 was approved, Kling task task-1 has no such video"):
        publish(clips, 7)


def test_a_choice_that_would_mean_two_results_is_refused(clips: Places) -> None:
    store = open_store(clips.archive)
    fields: dict[str, Any] = {"index": 0, "uri": store.uri("task-1/0.png"), "key": "task-1/0.png", "bytes": 1}
    fields |= {"sha256": "0" * 64, "width": 1, "height": 1, "content_type": "image/png", "source_url": "https://h/0"}
    fill(store, images=(ManifestImage.model_validate(fields),))
    with pytest.raises(KlingInputError, match="an image and a video with the same index"):
        publish(clips, 0)
    assert copies(clips) == {}
