"""The output of an archive task as a reference: which result it means, where it lies, that its bytes are checked."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from PIL import Image

from airflow_kling.api.archived import ArchivedResult, find_archived, first_archived, with_connection
from airflow_kling.api.reference_checks import address_of, check_reference_literal
from airflow_kling.api.reference_images import load_reference
from airflow_kling.exceptions import KlingInputError

SHA = "ab" * 32


def entry(index: int = 0, name: str = "", **more: Any) -> dict[str, Any]:
    return {
        "index": index,
        "uri": f"s3://bucket/kling/8334/{name or f'{index}.png'}",
        "sha256": SHA,
        "bytes": 9,
        "width": 1024,
        "height": 1024,
        "content_type": "image/png",
        **more,
    }


VIDEO = entry(name="0.mp4", content_type="video/mp4", poster=entry(name="0.poster.jpg", content_type="image/jpeg"))
IMAGES = {"manifest": "s3://bucket/kling/8334/manifest.json", "kling_task_id": "8334", "images": [entry(), entry(1)]}
VIDEOS = {**IMAGES, "images": [], "videos": [VIDEO]}
FINISHED = {
    "kling_task_id": "8334",
    "status": "succeed",
    "images": [{"index": 0, "url": "https://h.example/a.png?s=1"}],
}


def found(value: Any, **options: Any) -> ArchivedResult:
    result = find_archived(first_archived(value), **options)
    assert result is not None
    return result


@pytest.mark.parametrize("spell", [lambda value: value, str, json.dumps], ids=["native", "jinja", "json"])
@pytest.mark.parametrize(
    ("value", "index"),
    [(IMAGES, 0), (IMAGES["images"][1], 1), (IMAGES["images"], 0), ([IMAGES, IMAGES], 0), ((entry(1),), 1)],
    ids=["output", "entry", "entries", "outputs of mapped tasks", "tuple"],
)
def test_the_image_that_is_meant(spell: Any, value: Any, index: int) -> None:
    result = found(spell(list(value) if isinstance(value, tuple) and spell is json.dumps else value))
    assert result == (entry(index)["uri"], SHA, False, None, {"kling_task_id": "8334", "kind": "image", "index": index})


def test_the_video_that_is_meant() -> None:
    both = {**IMAGES, "videos": [VIDEO]}
    assert found(both, video=True).uri == found(VIDEO, video=True).uri == VIDEO["uri"]
    assert found(both, video=True).described == {"kling_task_id": "8334", "kind": "video", "index": 0}
    assert found(both).uri == entry()["uri"]


def test_a_poster_is_an_image_of_the_video_that_it_is_of() -> None:
    result = found(VIDEO["poster"])
    assert not result.is_video
    assert result.described == {"kling_task_id": "8334", "kind": "video", "index": 0}


@pytest.mark.parametrize(
    ("value", "video", "reason"),
    [
        (VIDEOS, False, "has no image"),
        (IMAGES, True, "has no video"),
        (VIDEO, False, "is an archived video, where an image is needed"),
        (entry(), True, "is an archived image, where a video is needed"),
        (FINISHED, False, "is a finished task, whose URLs expire"),
        ({"uri": "https://h.example/8334/0.png", "sha256": SHA}, False, "no address in an archive"),
        ({"uri": "8334/0.png", "sha256": SHA}, False, "no address in an archive"),
        ({"uri": None, "sha256": SHA}, False, "no address in an archive"),
        ({"uri": "s3://bucket/8334/0.png"}, False, "without the sha256"),
        ({"uri": "s3://bucket/8334/0.png", "sha256": "0"}, False, "without the sha256"),
    ],
)
def test_what_no_result_can_be_read_by(value: Any, video: bool, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        find_archived(value, video=video)
    if not video:
        for check in (check_reference_literal, load_reference):
            with pytest.raises(KlingInputError, match=rf"^scene_image .*{reason}.*\.$"):
                check(value, name="scene_image")
        assert address_of(value) is None


@pytest.mark.parametrize(
    "value", ["a.png", "{{ a }}", "{no json", "s3://bucket/a.png", b"x", None, 7, [], {}, {"a": 1}, ["a.png"]], ids=str
)
def test_what_is_not_of_an_archive(value: Any) -> None:
    assert first_archived(value) is value
    assert find_archived(value) is None


def test_its_address_has_the_connection_and_the_plain_path() -> None:
    named = with_connection(IMAGES, "team")
    assert found(named).location == found(named["images"][0]).location == "s3://team@bucket/kling/8334/0.png"
    assert address_of(named) == "s3://team@bucket/kling/8334/0.png"
    assert with_connection(IMAGES, None) == IMAGES
    assert found({**entry(), "uri": "file:///a%20room/8334/0.png"}).location == "file:///a room/8334/0.png"
    assert found({**entry(), "uri": "s3://own@bucket/8334/0.png", "conn_id": "team"}).location.startswith("s3://own@")


def test_a_result_elsewhere_has_no_number() -> None:
    assert found(entry(name="copy of it.png")).described == {}


def png() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (400, 300), "teal").save(out, "PNG")
    return out.getvalue()


def test_it_is_read_from_the_storage_and_described() -> None:
    data, opened = png(), []

    def storage(url: str) -> BinaryIO:
        opened.append(url)
        return io.BytesIO(data)

    given = with_connection({**IMAGES, "images": [entry(sha256=hashlib.sha256(data).hexdigest())]}, "team")
    loaded = load_reference(given, name="image", open_file=storage)
    assert opened == ["s3://team@bucket/kling/8334/0.png"]
    assert loaded.description == {
        "name": "image",
        "source": "archive",
        "uri": "s3://bucket/kling/8334/0.png",
        "sha256": hashlib.sha256(data).hexdigest(),
        "bytes": len(data),
        "width": 400,
        "height": 300,
        "content_type": "image/png",
        "kling_task_id": "8334",
        "kind": "image",
        "index": 0,
    }


def test_a_file_of_an_archive(tmp_path: Path) -> None:
    file = tmp_path / "a room" / "8334" / "0.png"
    file.parent.mkdir(parents=True)
    file.write_bytes(png())
    given = entry(uri=file.as_uri(), sha256=hashlib.sha256(png()).hexdigest())
    assert load_reference(given, name="image").description["uri"] == file.as_uri()


def test_other_bytes_than_those_archived_are_refused() -> None:
    with pytest.raises(KlingInputError) as caught:
        load_reference(IMAGES, name="image", open_file=lambda url: io.BytesIO(png()))
    message = str(caught.value)
    assert message.startswith("image lies at s3://bucket/kling/8334/0.png, but is not what was archived there")
    assert SHA in message
    assert hashlib.sha256(png()).hexdigest() in message
    assert message.endswith("nothing was submitted.")
