"""Approved images are copied to the byte, rejected ones marked, and doing it again changes nothing; real storages."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import Asset, HookLineageCollector
from moto.server import ThreadedMotoServer

from airflow_kling.api.tasks import SUCCEED, KlingTask, Result
from airflow_kling.archive.archiver import archive_task
from airflow_kling.archive.manifest import MAX_BYTES, ManifestImage, build_manifest, dump_manifest
from airflow_kling.archive.review import open_archive
from airflow_kling.exceptions import KlingError, KlingInputError
from airflow_kling.operators.publish import KlingPublishImagesOperator
from airflow_kling.storage.base import Store
from airflow_kling.storage.open import open_store
from tests.integration.conftest import picture

AT = "2026-01-02T03:04:05+00:00"
BY = {"id": "7", "name": "Ada"}
PICTURES = {0: picture(colour="red"), 1: picture(colour="green"), 3: picture(colour="blue")}


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


class Places:
    """An archive and where to publish it, in one kind of storage.

    :param read: returns the bytes at an address, None when there is nothing.
    """

    def __init__(self, archive: str, published: str, read: Callable[[str], bytes | None]) -> None:
        self.archive, self.published, self.read = archive, published, read

    @property
    def manifest(self) -> str:
        return f"{self.archive}/task-1/manifest.json"

    def review(self) -> dict[str, Any]:
        found = self.read(f"{self.archive}/task-1/review.json")
        assert found is not None
        said: dict[str, Any] = json.loads(found)
        return said

    def copies(self) -> dict[int, bytes]:
        found = {index: self.read(f"{self.published}/task-1/{index}.png") for index in PICTURES}
        return {index: data for index, data in found.items() if data is not None}


def read_file(uri: str) -> bytes | None:
    path = Path(uri.removeprefix("file://"))
    return path.read_bytes() if path.exists() else None


def read_object(uri: str) -> bytes | None:
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    path = ObjectStoragePath(uri)
    return path.read_bytes() if path.exists() else None


def attach_memory(conn_id: str | None = None) -> None:
    """Let Airflow know the object storage ``memory://``; a connection leads to a part of it."""
    from fsspec.implementations.dirfs import DirFileSystem
    from fsspec.implementations.memory import MemoryFileSystem

    try:
        from airflow.sdk.io import attach
    except ImportError:  # Airflow 2
        from airflow.io.store import attach
    memory = MemoryFileSystem()
    attach("memory", conn_id=conn_id, fs=DirFileSystem(f"/{conn_id}", memory) if conn_id else memory)


@pytest.fixture(params=["file", "s3", "object-storage"])
def places(request: pytest.FixtureRequest, tmp_path: Path) -> Places:
    if request.param == "file":
        places = Places((tmp_path / "archive").as_uri(), (tmp_path / "published").as_uri(), read_file)
    elif request.param == "s3":
        places = request.getfixturevalue("s3_places")
    else:
        attach_memory()
        name = f"memory://{tmp_path.name}"
        places = Places(f"{name}/archive", f"{name}/published", read_object)
    fill(open_store(places.archive))
    return places


@pytest.fixture
def s3_places(moto: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Places:
    import boto3

    extra = {"endpoint_url": moto, "region_name": "us-east-1"}
    connection = {"conn_type": "aws", "login": "an-id", "password": "a-secret", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))
    keys = {"aws_access_key_id": "an-id", "aws_secret_access_key": "a-secret", "region_name": "us-east-1"}
    client = boto3.client("s3", endpoint_url=moto, **keys)
    client.create_bucket(Bucket=tmp_path.name)

    def read(uri: str) -> bytes | None:
        try:
            found: bytes = client.get_object(Bucket=tmp_path.name, Key=uri.split("/", 3)[3])["Body"].read()
        except client.exceptions.NoSuchKey:
            return None
        return found

    return Places(f"s3://{tmp_path.name}/archive", f"s3://{tmp_path.name}/published", read)


def fill(store: Store) -> None:
    """Put an archive of three images into a store, as the archive task leaves it."""
    images = []
    for index, data in PICTURES.items():
        key = f"task-1/{index}.png"
        sha256 = put(store, key, data)
        fields = {"index": index, "uri": store.uri(key), "key": key, "sha256": sha256, "bytes": len(data)}
        size = {"width": 320, "height": 320, "content_type": "image/png", "source_url": "https://h/0.png"}
        images.append(ManifestImage.model_validate(fields | size))
    manifest = build_manifest(KlingTask(kling_task_id="task-1"), images, request={"prompt": "a mug"}, run={})
    put(store, "task-1/manifest.json", dump_manifest(manifest), "application/json")


def put(store: Store, key: str, data: bytes, content_type: str = "image/png") -> str:
    """Write an object; returns its hash."""
    sha256 = hashlib.sha256(data).hexdigest()
    store.put(key, BytesIO(data), content_type=content_type, sha256=sha256)
    return sha256


def review(places: Places, *approved: int, **changes: Any) -> dict[str, Any]:
    return {"manifest": places.manifest, "approved": list(approved), "by": BY, "at": AT, **changes}


def publish(places: Places, *approved: int, **fields: Any) -> dict[str, Any]:
    said = fields.pop("review", None) or review(places, *approved)
    context = fields.pop("context", {})
    task = KlingPublishImagesOperator(task_id="publish", review=said, destination=places.published, **fields)
    return task.execute(context)


def test_approved_images_are_copied_and_every_verdict_is_noted(places: Places) -> None:
    summary = publish(places, 0, 3)
    assert places.copies() == {0: PICTURES[0], 3: PICTURES[3]}
    assert summary["review"] == f"{places.archive}/task-1/review.json"
    assert summary["manifest"] == places.manifest
    assert [image["uri"] for image in summary["published"]] == [f"{places.published}/task-1/{i}.png" for i in (0, 3)]
    assert summary["rejected"] == [1]
    assert json.loads(json.dumps(summary)) == summary
    said = places.review()
    assert (said["schema"], said["version"]) == ("airflow-provider-kling/review", 1)
    assert (said["kling_task_id"], said["by"], said["at"]) == ("task-1", BY, AT)
    assert [(image["index"], image["verdict"], image["published"]) for image in said["images"]] == [
        (0, "approved", f"{places.published}/task-1/0.png"),
        (1, "rejected", None),
        (3, "approved", f"{places.published}/task-1/3.png"),
    ]
    assert {image["sha256"] for image in said["images"]} == {
        hashlib.sha256(data).hexdigest() for data in PICTURES.values()
    }


def test_a_second_run_writes_nothing(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    first = publish(places, 0, 3)
    for kind in ("local.LocalStore", "s3.S3Store", "fsspec.FsspecStore"):
        for method in ("put", "remove"):
            monkeypatch.setattr(f"airflow_kling.storage.{kind}.{method}", None)
    assert publish(places, 0, 3) == first


def test_the_review_names_the_run_that_published_first(places: Places) -> None:
    runs = [SimpleNamespace(dag_id="d", run_id=f"run-{number}", task_id="publish", map_index=-1) for number in (1, 2)]
    publish(places, 0, context={"ti": runs[0]})
    assert places.review()["run"] == {"dag_id": "d", "run_id": "run-1", "task_id": "publish", "map_index": -1}
    publish(places, 0, context={"ti": runs[1]})
    assert places.review()["run"]["run_id"] == "run-1", "the same verdict is not written again"
    publish(places, 1, context={"ti": runs[1]})
    assert places.review()["run"]["run_id"] == "run-2"


def test_another_verdict_takes_back_what_was_published(places: Places) -> None:
    publish(places, 0, 3)
    publish(places, 1, review=review(places, 1, by=None))
    assert places.copies() == {1: PICTURES[1]}
    assert [image["verdict"] for image in places.review()["images"]] == ["rejected", "approved", "rejected"]
    assert places.review()["by"] is None
    publish(places)
    assert places.copies() == {}


def test_a_take_down_reaches_earlier_destinations(places: Places) -> None:
    first, second = places.published, f"{places.published}-2"
    publish(places, 0, 3)
    places.published = second
    publish(places, 0, 3)
    publish(places, 3)
    assert places.copies() == {3: PICTURES[3]}
    places.published = first
    assert places.copies() == {3: PICTURES[3]}, "still published here, and known to be"
    places.published = f"{places.published}-3"
    publish(places)
    for place in (first, second):
        places.published = place
        assert places.copies() == {}
    assert [image["copies"] for image in places.review()["images"]] == [[], [], []]


def test_a_take_down_that_fails_is_loud_and_not_forgotten(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(places, 0, 3)
    places.published, first = f"{places.published}-2", places.published
    with monkeypatch.context() as patch:
        for kind in ("local.LocalStore", "s3.S3Store", "fsspec.FsspecStore"):
            patch.setattr(f"airflow_kling.storage.{kind}.remove", None)
        for _ in range(2):
            with pytest.raises(KlingError, match=f"its copy {first}/task-1/0.png could not be removed"):
                publish(places, 3)
    assert places.copies() == {3: PICTURES[3]}
    publish(places, 3)
    places.published = first
    assert places.copies() == {3: PICTURES[3]}


def test_a_moved_archive_has_the_addresses_of_where_it_lies_now(tmp_path: Path) -> None:
    fill(open_store((tmp_path / "old").as_uri()))
    (tmp_path / "old").rename(tmp_path / "new place")
    manifest = f"{(tmp_path / 'new place').as_uri()}/task-1/manifest.json"
    archive, _ = open_archive(manifest)
    assert [image.uri for image in archive.manifest.images] == [
        manifest.replace("manifest.json", f"{index}.png") for index in PICTURES
    ]


def test_the_archive_stays_as_it_was(places: Places) -> None:
    publish(places, 1)
    archive, store = open_archive(places.manifest)
    for index, data in PICTURES.items():
        assert places.read(f"{places.archive}/task-1/{index}.png") == data
    again = archive_task(
        KlingTask(
            kling_task_id="task-1",
            status=SUCCEED,
            results=tuple(Result(index=i, url="https://h/0.png") for i in PICTURES),
        ),
        store=store,
        download=lambda *_: pytest.fail("downloaded again"),
        refresh=lambda: pytest.fail("asked again"),
        request={},
        run={},
    )
    assert again == archive
    assert places.review()["at"] == AT


def test_bytes_that_are_not_those_of_the_manifest_are_never_published(places: Places) -> None:
    store = open_store(places.archive)
    put(store, "task-1/1.png", picture(colour="black"))
    with pytest.raises(KlingError, match=r"task-1/1\.png is not what the manifest says"):
        publish(places, 0, 1)
    store.remove("task-1/1.png")
    with pytest.raises(KlingError, match="is not what the manifest says"):
        publish(places, 0, 1)
    assert places.copies() == {0: PICTURES[0]}
    assert places.read(f"{places.archive}/task-1/review.json") is None, "written last"


def test_the_archive_is_not_published_onto_itself(places: Places) -> None:
    task = KlingPublishImagesOperator(task_id="publish", review=review(places), destination=f"{places.archive}/")
    with pytest.raises(KlingInputError, match=rf"{places.manifest} .* is an archive"):
        task.execute({})
    assert places.read(f"{places.archive}/task-1/0.png") == PICTURES[0]


def test_nor_under_another_name(tmp_path: Path) -> None:
    places = Places((tmp_path / "archive").as_uri(), (tmp_path / "published").as_uri(), read_file)
    fill(open_store(places.archive))
    (tmp_path / "published").symlink_to(tmp_path / "archive")
    with pytest.raises(KlingInputError, match="is an archive"):
        publish(places, 0)
    assert places.copies() == PICTURES


def test_nor_onto_a_second_archive_of_the_same_generation(places: Places) -> None:
    fill(open_store(places.published))
    with pytest.raises(KlingInputError, match=rf"{places.published}/task-1/manifest\.json .* is an archive"):
        publish(places, 0)
    assert places.copies() == PICTURES
    assert places.read(f"{places.archive}/task-1/review.json") is None


def test_what_no_review_has_published_is_not_taken_back(places: Places) -> None:
    """An archive that is just being written has its images already, and its manifest last."""
    put(open_store(places.published), "task-1/1.png", PICTURES[1])
    with pytest.raises(KlingInputError, match=rf"Image 1 was rejected, but {places.published}/task-1/1\.png is there"):
        publish(places, 0)
    assert places.copies() == {1: PICTURES[1]}, "nothing was done"
    publish(places, 1)
    publish(places)
    assert places.copies() == {}, "approved once, it is the review's own"


@pytest.mark.parametrize("damaged", [b"", b"[]", b"{", b'{"images": [{"published": 1}]}', b"[" * 1_000_000])
def test_a_damaged_review_has_published_nothing(tmp_path: Path, damaged: bytes) -> None:
    places = Places((tmp_path / "archive").as_uri(), (tmp_path / "published").as_uri(), read_file)
    fill(open_store(places.archive))
    publish(places, 0)
    put(open_store(places.archive), "task-1/review.json", damaged, "application/json")
    with pytest.raises(KlingInputError, match="Image 0 was rejected"):
        publish(places)
    publish(places, 0)
    assert places.review()["images"][0]["published"] == f"{places.published}/task-1/0.png"


def test_an_image_that_is_not_there_cannot_be_approved(places: Places) -> None:
    with pytest.raises(KlingInputError, match="Image 2 was approved, Kling task task-1 has no such image"):
        publish(places, 0, 2)
    assert places.copies() == {}


@pytest.mark.parametrize(
    "uri", ["task-1/manifest.json", "file:///a/task-1/other.json", "file:///a/b c/manifest.json", ""]
)
def test_what_is_no_address_of_a_manifest(uri: str) -> None:
    with pytest.raises(KlingInputError):
        open_archive(uri)


def test_a_manifest_that_is_missing_or_damaged(tmp_path: Path) -> None:
    uri = f"{tmp_path.as_uri()}/task-1/manifest.json"
    with pytest.raises(KlingError, match="There is no manifest"):
        open_archive(uri)
    fill(open_store(tmp_path.as_uri()))
    (tmp_path / "task-1").rename(tmp_path / "task-2")
    with pytest.raises(KlingError, match="is not a manifest of Kling task task-2"):
        open_archive(uri.replace("task-1", "task-2"))


def test_a_manifest_that_is_far_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(open_store(tmp_path.as_uri()))
    file = tmp_path / "task-1" / "manifest.json"
    file.write_text(file.read_text() + " " * MAX_BYTES)
    monkeypatch.setattr("airflow_kling.storage.local.LocalStore.download", None)
    with pytest.raises(KlingError, match="is not a manifest of Kling task task-1"):
        open_archive(file.as_uri())


@pytest.mark.parametrize("scheme", ["file", "local"])
def test_a_directory_needs_no_connection(tmp_path: Path, scheme: str) -> None:
    """One DAG reviews archives in several places, with one ``storage_conn_id``."""
    fill(open_store(tmp_path.as_uri()))
    archive, _ = open_archive(f"{scheme}://{tmp_path}/task-1/manifest.json", storage_conn_id="team")
    assert archive.manifest.kling_task_id == "task-1"


def test_another_storage_is_opened_with_its_connection(tmp_path: Path) -> None:
    attach_memory()
    attach_memory("team")
    fill(open_store(f"memory://team@{tmp_path.name}"))
    uri = f"memory://{tmp_path.name}/task-1/manifest.json"
    archive, store = open_archive(uri, storage_conn_id="team")
    assert (archive.uri, store.uri("task-1/manifest.json")) == (uri, uri)
    with pytest.raises(KlingError, match="There is no manifest"):
        open_archive(uri)


@pytest.mark.parametrize("said", ["approve it", {"approved": [0]}, None, ["a"]])
def test_a_review_that_is_none(said: Any) -> None:
    task = KlingPublishImagesOperator(task_id="publish", review=said, destination="file:///tmp/published")
    with pytest.raises(KlingInputError, match="nothing was published"):
        task.execute({})


def test_a_review_may_come_as_text_from_a_template(tmp_path: Path) -> None:
    places = Places((tmp_path / "archive").as_uri(), (tmp_path / "published").as_uri(), read_file)
    fill(open_store(places.archive))
    publish(places, review=json.dumps(review(places, 3)))
    assert set(places.copies()) == {3}


def test_outlets_hear_what_was_published(tmp_path: Path) -> None:
    class Event:
        def __init__(self) -> None:
            self.extra: dict[str, Any] = {}

    places = Places((tmp_path / "archive").as_uri(), (tmp_path / "published").as_uri(), read_file)
    fill(open_store(places.archive))
    asset = Asset("published")
    task = KlingPublishImagesOperator(
        task_id="publish", review=review(places, 0), destination=places.published, outlets=[asset]
    )
    events = {asset: Event()}
    assert task.execute({"outlet_events": events}) == events[asset].extra


def test_lineage_knows_what_was_published_from_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    collector = HookLineageCollector()
    monkeypatch.setattr("airflow.providers.common.compat.sdk.get_hook_lineage_collector", lambda: collector)
    monkeypatch.setattr("airflow_kling.reporting.lineage._is_read", lambda: True)
    places = Places((tmp_path / "archive").as_uri(), (tmp_path / "published").as_uri(), read_file)
    fill(open_store(places.archive))
    publish(places, 1)
    found = collector.collected_assets
    assert [item.asset.uri for item in found.inputs] == [f"{places.archive}/task-1/1.png"]
    assert [item.asset.uri for item in found.outputs] == [f"{places.published}/task-1/1.png"]
