"""Names in the storage, the manifest, destinations, and what of a finished task is believed: all pure."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from pydantic import ValidationError

from airflow_kling.archive.archiver import image_urls
from airflow_kling.archive.manifest import (
    Archive,
    Manifest,
    ManifestImage,
    build_manifest,
    describe_event,
    dump_manifest,
    parse_manifest,
    summarize,
)
from airflow_kling.exceptions import KlingError, KlingInputError
from airflow_kling.storage.fsspec import FsspecStore
from airflow_kling.storage.keys import check_task_id, image_key, manifest_key
from airflow_kling.storage.local import LocalStore
from airflow_kling.storage.open import open_store
from airflow_kling.storage.s3 import S3Store

TASK = {
    "kling_task_id": "task-1",
    "external_task_id": "mine",
    "status": "succeed",
    "status_message": "",
    "images": [{"index": 0, "url": "https://h/0.png?SECRET"}],
    "created_at": "2025-01-01T00:00:00+00:00",
    "updated_at": None,
    "unit_deduction": "8",
}


def entry(index: int = 0, **changes: object) -> ManifestImage:
    fields = {
        "index": index,
        "uri": f"s3://b/task-1/{index}.png",
        "key": f"task-1/{index}.png",
        "sha256": "a" * 64,
        "bytes": 10,
        "width": 2,
        "height": 3,
        "content_type": "image/png",
        "source_url": "https://h/0.png",
    }
    return ManifestImage.model_validate(fields | changes)


def manifest(**request: object) -> Manifest:
    return build_manifest(TASK, [entry(2), entry(0)], request=request, run={"dag_id": "d", "map_index": -1, "x": 1})


def test_a_manifest_round_trip_gives_the_same_bytes():
    data = dump_manifest(manifest(prompt="ein Kätzchen", n=2))
    parsed = parse_manifest(data)
    assert parsed is not None
    assert dump_manifest(parsed) == data
    assert data.endswith(b"}\n")
    assert "Kätzchen" in data.decode()
    content = json.loads(data)
    assert list(content) == sorted(content)
    assert (content["schema"], content["version"]) == ("airflow-provider-kling/manifest", 1)
    assert [image["index"] for image in content["images"]] == [0, 2]
    assert content["run"] == {"dag_id": "d", "map_index": -1}
    assert content["task"] == {
        "created_at": "2025-01-01T00:00:00+00:00",
        "external_task_id": "mine",
        "status": "succeed",
        "status_message": "",
        "unit_deduction": "8",
    }


def test_no_payload_and_no_secret_gets_in():
    reference = {"name": "style_image", "source": "url", "uri": "https://u:SECRET@h/a?SECRET", "wire": "SECRET"}
    data = dump_manifest(manifest(prompt="p", references=[reference], style_image="SECRET", api_key="SECRET"))
    assert b"SECRET" not in data
    asked = {"name": "style_image", "source": "url", "uri": "https://h/a"}
    assert json.loads(data)["request"] == {"prompt": "p", "references": [asked]}


def test_the_summary_is_what_goes_into_xcom():
    summary = summarize(Archive(manifest(), "s3://b/task-1/manifest.json"))
    assert list(summary) == ["manifest", "kling_task_id", "images"]
    assert list(summary["images"][0]) == ["index", "uri", "sha256", "bytes", "width", "height", "content_type"]
    assert json.loads(json.dumps(summary)) == summary


def test_the_event_has_the_summary_and_the_rest_of_the_manifest():
    archive = Archive(manifest(prompt="p", n=2), "s3://b/task-1/manifest.json")
    extra = describe_event(archive)
    assert extra == {
        **summarize(archive),
        "request": {"prompt": "p", "n": 2},
        "task": archive.manifest.task,
        "run": {"dag_id": "d", "map_index": -1},
    }
    assert json.loads(json.dumps(extra)) == extra


def change(path: str, value: object) -> bytes:
    content = json.loads(dump_manifest(manifest()))
    *parents, last = path.split(".")
    place = content
    for name in parents:
        place = place[int(name) if name.isdigit() else name]
    place[last] = value
    return json.dumps(content).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"schema": "airflow-provider-kling/manifest"}',
        change("schema", "other"),
        change("version", 2),
        change("images", []),
        change("images.0.index", 2),
        change("images.0.index", 100),
        change("images.0.sha256", "A"),
        change("images.0.bytes", 0),
        change("images.0.key", "task-1/../0.png"),
        change("images.0.key", "task-2/0.png"),
        change("images.0.key", "task-1/1.png"),
        change("kling_task_id", "../etc"),
    ],
)
def test_a_damaged_or_foreign_manifest_is_none(data):
    assert parse_manifest(data) is None


def test_a_manifest_needs_images():
    with pytest.raises(ValidationError):
        build_manifest(TASK, [], request={}, run={})


def test_keys():
    assert image_key("A-b_9", 8, "jpg") == "A-b_9/8.jpg"
    assert manifest_key("1") == "1/manifest.json"


@pytest.mark.parametrize("task_id", ["", "a/b", "..", "a.b", "ä", "a\n", "a" * 129, None, 7, "٣"])
def test_a_task_id_that_may_not_be_a_name(task_id):
    with pytest.raises(KlingInputError, match="is not a Kling task id"):
        check_task_id(task_id)


@pytest.mark.parametrize(("index", "ext"), [(-1, "png"), (100, "png"), (True, "png"), ("0", "png"), (0, "html")])
def test_what_is_no_image_of_a_task(index, ext):
    with pytest.raises(KlingInputError):
        image_key("t", index, ext)


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        ([{"index": 0, "url": "a"}, {"index": 1, "url": "b"}], {0: "a", 1: "b"}),
        ([{"index": 1, "url": "b"}, {"index": 0, "url": "a"}], {0: "a", 1: "b"}),
        ([{"url": "a"}, {"index": None, "url": "b"}], {0: "a", 1: "b"}),
        ([{"index": 3, "url": "a"}, {"url": "b"}], {3: "a", 1: "b"}),
    ],
)
def test_indexes(images, expected):
    assert image_urls(TASK | {"images": images}) == expected


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"images": [{"index": 0, "url": "a"}, {"index": 0, "url": "b"}]}, "used twice"),
        ({"images": [{"index": 1, "url": "a"}, {"url": "b"}]}, "used twice"),
        ({"images": [{"index": -1, "url": "a"}]}, "not within 0 to 99"),
        ({"images": [{"index": 100, "url": "a"}]}, "not within 0 to 99"),
        ({"images": [{"index": "../x", "url": "a"}]}, "not within 0 to 99"),
        ({"images": [{"index": True, "url": "a"}]}, "not within 0 to 99"),
        ({"images": [{"index": 0}]}, "has no URL"),
        ({"images": []}, "without any image"),
        ({"images": None}, "without any image"),
        ({"status": "processing"}, "not succeeded"),
    ],
)
def test_a_task_that_makes_no_sense(changes, reason):
    with pytest.raises(KlingError, match=reason) as caught:
        image_urls(TASK | changes)
    assert caught.value.kling_task_id == "task-1"


@pytest.mark.parametrize(
    ("destination", "store", "uri"),
    [
        ("s3://bucket", S3Store, "s3://bucket/t/0.png"),
        ("s3://bucket/", S3Store, "s3://bucket/t/0.png"),
        ("s3://bucket/a/b/", S3Store, "s3://bucket/a/b/t/0.png"),
        ("s3://conn@bucket/a", S3Store, "s3://bucket/a/t/0.png"),
        ("file:///data/a b/", LocalStore, "file:///data/a b/t/0.png"),
        ("gs://conn@bucket/a/", FsspecStore, "gs://bucket/a/t/0.png"),
    ],
)
def test_destinations(destination, store, uri):
    opened = open_store(destination)
    assert isinstance(opened, store)
    assert opened.uri(image_key("t", 0, "png")) == uri


@pytest.mark.parametrize(
    "destination",
    [
        "",
        "bucket/a",
        "/data",
        "s3://",
        "s3:///a",
        "s3://a:SECRET@b/c",
        "file://data",
        "file:///a/../b",
        "s3://b/./c",
        "s3://b\n",
    ],
)
def test_what_is_no_destination(destination):
    with pytest.raises(KlingInputError) as caught:
        open_store(destination)
    assert "SECRET" not in str(caught.value)


def test_extra_args_are_for_s3():
    with pytest.raises(KlingInputError, match="s3:// only"):
        open_store("file:///data", extra_args={"StorageClass": "GLACIER"})


def test_import_is_light():
    code = (
        "import sys, airflow_kling.storage.open; print({'PIL','airflow','httpx','boto3','fsspec'} & set(sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "set()"
