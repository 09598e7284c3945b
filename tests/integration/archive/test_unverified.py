"""What was paid for and cannot be verified is kept; what differs between two runs or from the manifest is found."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from airflow_kling.archive import archiver
from airflow_kling.archive.manifest import parse_manifest
from airflow_kling.exceptions import KlingDownloadError, KlingError, KlingImageError
from airflow_kling.storage.open import open_store
from tests.integration.archive.test_archiver import Images, archive, finished, images, noise
from tests.integration.stores import Place

__all__ = ["images"]

CUT = noise()[:-12]
STRANGE = b"\0\0\0 ftypavif" + bytes(500)


def manifest_of(place: Place) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(place.listing()["task-1/manifest.json"])
    return found


def test_it_is_kept_named_and_the_task_fails(images: Images, place: Place) -> None:
    task = finished(images, noise(), CUT, STRANGE)
    with pytest.raises(
        KlingImageError, match=r"cannot be verified; it is paid for, and kept as .*1\.png, .*2\.bin"
    ) as caught:
        archive(task, place.store, refresh=lambda: task)
    assert caught.value.kling_task_id == "task-1"
    assert caught.value.retryable
    assert sorted(images.requests) == ["/0", "/1", "/1", "/2", "/2"]
    stored = place.listing()
    assert stored["task-1/unverified/1.png"] == CUT
    assert stored["task-1/unverified/2.bin"] == STRANGE
    manifest = manifest_of(place)
    assert [image["index"] for image in manifest["images"]] == [0]
    assert [(file["index"], file["accepted"]) for file in manifest["unverified"]] == [(1, False), (2, False)]
    assert "is not whole" in manifest["unverified"][0]["reason"]
    assert "SECRET" not in json.dumps(manifest)


def test_the_next_run_may_accept_it_without_a_download(images: Images, place: Place) -> None:
    task = finished(images, noise(), CUT)
    with pytest.raises(KlingImageError):
        archive(task, place.store, refresh=lambda: task)
    images.pages.clear()
    summary = archive(task, place.store, accept_unverified=True)
    assert [image["index"] for image in summary["images"]] == [0]
    assert [file["uri"] for file in summary["unverified"]] == [place.store.uri("task-1/unverified/1.png")]
    assert manifest_of(place)["unverified"][0]["accepted"]
    assert archive(task, place.store) == summary, "it stays accepted"


def test_it_may_be_accepted_from_the_start_though_nothing_else_came(images: Images, place: Place) -> None:
    task = finished(images, CUT)
    summary = archive(task, place.store, refresh=lambda: task, accept_unverified=True)
    assert summary["images"] == []
    assert parse_manifest(place.listing()["task-1/manifest.json"]) is not None


def test_a_later_whole_download_takes_its_place(images: Images, place: Place) -> None:
    task = finished(images, CUT)
    with pytest.raises(KlingImageError):
        archive(task, place.store, refresh=lambda: task)
    images.pages["/0"] = noise()
    summary = archive(task, place.store)
    assert "unverified" not in summary
    assert set(place.listing()) == {"task-1/0.png", "task-1/manifest.json"}
    assert "unverified" not in manifest_of(place)


def test_it_is_not_lost_when_its_url_expires(images: Images, place: Place) -> None:
    task = finished(images, CUT)
    gone = task | {"images": [{"index": 0, "url": images.url("/gone")}]}
    for _ in range(2):
        with pytest.raises(KlingImageError, match="kept as"):
            archive(task, place.store, refresh=lambda: gone)
        task = gone
    assert place.listing()["task-1/unverified/0.png"] == CUT


def test_a_page_in_place_of_an_image_is_not_kept(images: Images, place: Place) -> None:
    task = finished(images, b"<html>sign in</html>")
    with pytest.raises(KlingDownloadError, match="did not answer with"):
        archive(task, place.store, refresh=lambda: task)
    assert place.listing() == {}


def test_fewer_images_than_asked_for_are_archived_with_a_warning(
    images: Images, place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    said = "4 images were asked for, and 1 delivered."
    task = finished(images, noise())
    with caplog.at_level(logging.WARNING):
        assert archive(task, place.store, request={"n": 4})["warnings"] == [said]
    assert said in caplog.text
    assert manifest_of(place)["warnings"] == [said]
    assert archive(task, place.store, request={"n": 4})["warnings"] == [said]


def test_other_bytes_of_the_same_size_are_found_in_every_storage(images: Images, place: Place) -> None:
    task = finished(images, noise())
    first = archive(task, place.store)
    place.put("task-1/0.png", bytes(len(images.pages["/0"])))
    assert archive(task, place.store) == first
    assert place.listing()["task-1/0.png"] == images.pages["/0"]


def test_metadata_that_name_another_hash_are_no_proof(images: Images, s3: Any) -> None:
    store = open_store("s3://images/pre/fix", aws_conn_id="my_s3")
    task = finished(images, noise())
    first = archive(task, store)
    key, size = "pre/fix/task-1/0.png", len(images.pages["/0"])
    s3.put_object(Bucket="images", Key=key, Body=bytes(size), Metadata={"sha256": first["images"][0]["sha256"]})
    assert archive(task, store) == first
    assert s3.get_object(Bucket="images", Key=key)["Body"].read() == images.pages["/0"]


def test_two_runs_that_got_different_bytes_agree_on_what_lies_there(
    images: Images, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other run replaces the image between the image and the manifest of this one."""
    task, theirs = finished(images, noise()), noise()
    write, left = archiver.write_document, ["once"]

    def interrupted(*args: Any) -> str:
        if left:
            left.clear()
            place.put("task-1/0.png", theirs)
        return write(*args)

    monkeypatch.setattr(archiver, "write_document", interrupted)
    summary = archive(task, place.store)
    assert place.listing()["task-1/0.png"] == theirs
    assert summary["images"][0]["sha256"] == manifest_of(place)["images"][0]["sha256"]
    again = archive(task, place.store, download=None)
    assert again == summary


def test_an_archive_that_never_rests_ends_in_an_error(
    images: Images, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, write = finished(images, noise()), archiver.write_document

    def interrupted(*args: Any) -> str:
        place.put("task-1/0.png", noise())
        return write(*args)

    monkeypatch.setattr(archiver, "write_document", interrupted)
    with pytest.raises(KlingError, match="changes while it is written") as caught:
        archive(task, place.store)
    assert caught.value.retryable


def test_an_archive_that_was_moved_names_where_it_lies_now(images: Images, tmp_path: Any) -> None:
    task = finished(images, noise())
    archive(task, open_store((tmp_path / "old").as_uri()))
    (tmp_path / "old").rename(tmp_path / "new ü")
    store = open_store((tmp_path / "new ü").as_uri())
    summary = archive(task, store, download=None)
    assert summary["images"][0]["uri"] == (tmp_path / "new ü" / "task-1" / "0.png").as_uri()
    assert summary["manifest"] == (tmp_path / "new ü" / "task-1" / "manifest.json").as_uri()
