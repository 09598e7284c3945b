"""The manifest: what gets into it, and which one is believed."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import ValidationError

from airflow_kling.api.tasks import SUCCEED, KlingTask, Result
from airflow_kling.archive.manifest import (
    Archive,
    Manifest,
    ManifestImage,
    build_manifest,
    dump_manifest,
    parse_manifest,
)
from airflow_kling.archive.summary import describe_event, summarize
from airflow_kling.exceptions import KlingInputError

OLD = Path(__file__).parent / "old"
TASK = KlingTask(
    kling_task_id="task-1",
    external_task_id="mine",
    status=SUCCEED,
    results=(Result(index=0, url="https://h/0.png?SECRET"),),
    created_at=datetime(2025, 1, 1, tzinfo=UTC),
    unit_deduction="8",
)


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
    assert (content["schema"], content["version"]) == ("airflow-provider-kling/manifest", 2)
    assert [image["index"] for image in content["images"]] == [0, 2]
    assert content["run"] == {"dag_id": "d", "map_index": -1}
    assert content["task"] == {
        "created_at": "2025-01-01T00:00:00+00:00",
        "external_task_id": "mine",
        "route": "multi-image-to-image",
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
    assert list(summary) == ["manifest", "kling_task_id", "route", "images"]
    assert summary["route"] == "multi-image-to-image"
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
        change("version", 3),
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


def test_what_the_route_records_of_a_request_and_no_more() -> None:
    asked = {"prompt": "p", "watermark_info": {"enabled": True}, "gateway": "official", "route": "multi-image-to-image"}
    secrets = {"callback_url": "https://h/?SECRET", "subject_images": ["SECRET"], "odd": "SECRET"}
    assert manifest(**asked, **secrets).request == asked


def test_the_estimate_is_kept() -> None:
    made = build_manifest(TASK, [entry()], request={"n": 1, "estimated_units": 16.0}, run={})
    assert made.request["estimated_units"] == 16.0


def test_an_unknown_route_has_no_manifest() -> None:
    odd = TASK.model_copy(update={"route": "of-tomorrow"})
    with pytest.raises(KlingInputError, match="route is 'of-tomorrow'"):
        build_manifest(odd, [entry()], request={}, run={})


def test_a_manifest_of_the_version_before_routes_is_read() -> None:
    old = parse_manifest((OLD / "manifest.json").read_bytes())
    assert old is not None
    assert old.kling_task_id == "831922345719271433"
    assert [image.index for image in old.images] == [0, 1]
    assert (old.request["prompt"], old.request["gateway"], "route" in old.request) == ("a mug", "cometapi", False)
    content = json.loads((OLD / "manifest.json").read_text())
    images = [{"kind": "image", **image} for image in content["images"]]
    assert json.loads(dump_manifest(old)) == {**content, "version": 2, "images": images, "videos": []}


def test_xcoms_of_the_version_before_routes_make_the_same_manifest_with_a_route() -> None:
    old = parse_manifest((OLD / "manifest.json").read_bytes())
    assert old is not None
    task = KlingTask.from_xcom(json.loads((OLD / "task.json").read_text()))
    request = json.loads((OLD / "request.json").read_text())
    new = build_manifest(task, old.images, request=request, run=old.run)
    assert new.model_copy(update={"task": old.task}) == old
    assert new.task == {**old.task, "route": "multi-image-to-image"}
