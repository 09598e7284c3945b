"""Which objects the gallery reads: those of an archive where the archive task puts them, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_kling.plugins.gallery.locations import (
    NOT_READABLE,
    ArchiveLocation,
    NotShown,
    Unreadable,
    UriLocation,
    archived_image,
    is_below,
    manifest_location,
    read_roots,
    reference_image,
)

SHA256 = "0123456789abcdef" * 4
MIB = 1024 * 1024
ROOTS = ("/place", "/our data", "/tmp")
IMAGE = {
    "index": 1,
    "uri": "s3://bucket/our/8334/1.jpg",
    "content_type": "image/jpeg",
    "sha256": SHA256,
    "bytes": 9,
}
ARCHIVE = {"manifest": "s3://bucket/our/8334/manifest.json", "conn_id": "our_s3", "images": [IMAGE]}
FILE = {"source": "file", "uri": "s3://refs/a.png", "sha256": SHA256, "bytes": 9}


@contextmanager
def not_readable(reason: str) -> Iterator[None]:
    """Expect the one answer, with this reason for the log; or a reason that lies in no place."""
    with pytest.raises(NotShown) as refused:
        yield
    error = refused.value
    if isinstance(error, Unreadable):
        assert (str(error), re.search(reason, error.reason) is not None) == (NOT_READABLE, True), error.reason
    else:
        assert re.search(reason, str(error))


def image(**changes: Any) -> Any:
    return archived_image({**ARCHIVE, "images": [{**IMAGE, **changes}]}, "8334", 1, ROOTS)


def test_an_archived_image_is_beside_its_manifest() -> None:
    found = archived_image(ARCHIVE, "8334", 1, ROOTS)
    assert found.location == ArchiveLocation("s3://bucket/our", "8334/1.jpg", "our_s3")
    assert (found.sha256, found.bytes, found.version) == (SHA256, 9, SHA256[:12])
    assert not found.location.is_local


@pytest.mark.parametrize(
    ("scheme", "is_local"),
    [("file", True), ("s3", False), ("gs", False), ("abfss", False), ("wasb", False)],
)
def test_storage_of_archives(scheme: str, is_local: bool) -> None:
    place = "/place" if is_local else "place"
    location = manifest_location({"manifest": f"{scheme}://{place}/8334/manifest.json"}, "8334", ROOTS)
    assert (location.uri, location.is_local, location.conn_id) == (
        f"{scheme}://{place}/8334/manifest.json",
        is_local,
        None,
    )


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        ("https://example.com/8334/manifest.json", "does not read from 'https'"),
        ("http://169.254.169.254/8334/manifest.json", "does not read from 'http'"),
        ("github://o:r@main/8334/manifest.json", "does not read from 'github'"),
        ("/etc/8334/manifest.json", "does not read from"),
        ("file:///etc/passwd", "would not have put"),
        ("file:///tmp/8335/manifest.json", "would not have put"),
        ("file:///tmp/\n/8334/manifest.json", "would not have put"),
        ("s3://b/x8334/manifest.json", "would not have put"),
        (None, "would not have put"),
        (["s3://b/8334/manifest.json"], "would not have put"),
    ],
)
def test_no_other_place_has_a_manifest(manifest: Any, message: str) -> None:
    with not_readable(message):
        manifest_location({"manifest": manifest}, "8334", ROOTS)


@pytest.mark.parametrize("conn_id", ["", "a b", "a/b", "a@b", "ü", "x" * 251, 5, {}])
def test_a_connection_id_is_one(conn_id: Any) -> None:
    with not_readable("no valid connection id"):
        manifest_location({**ARCHIVE, "conn_id": conn_id}, "8334", ROOTS)


@pytest.mark.parametrize("kling_task_id", ["..", "../8334", "", "a/b", "x" * 200])
def test_a_kling_task_id_is_one(kling_task_id: str) -> None:
    with pytest.raises(NotShown, match="not an id of a Kling task"):
        manifest_location({"manifest": f"s3://b/{kling_task_id}/manifest.json"}, kling_task_id, ROOTS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"uri": "s3://bucket/our/8334/2.jpg"}, "not beside"),
        ({"uri": "s3://other/our/8334/1.jpg"}, "not beside"),
        ({"uri": "file:///etc/passwd"}, "not beside"),
        ({"content_type": "image/png"}, "not beside"),  # its name would end with .png
        ({"content_type": "image/svg+xml"}, "none of the types"),
        ({"content_type": None}, "none of the types"),
        ({"sha256": SHA256.upper()}, "SHA-256"),
        ({"sha256": "0" * 63}, "SHA-256"),
        ({"sha256": None}, "SHA-256"),
        ({"bytes": 0}, "size"),
        ({"bytes": True}, "size"),
        ({"bytes": "9"}, "size"),
        ({"bytes": 64 * MIB + 1}, "over 64 MiB"),
        ({"index": 2}, "no such image"),
    ],
)
def test_no_other_image_is_read(change: dict[str, Any], message: str) -> None:
    with not_readable(message):
        image(**change)


def test_the_largest_image_is_read() -> None:
    assert image(bytes=64 * MIB).bytes == 64 * MIB


@pytest.mark.parametrize("index", [-1, 100, 10**12, True, "../../etc/passwd", None])
def test_an_index_that_no_archive_has(index: Any) -> None:
    with pytest.raises(NotShown):
        archived_image({**ARCHIVE, "images": [{**IMAGE, "index": index}]}, "8334", index, ROOTS)


def test_a_reference_that_was_a_file() -> None:
    found = reference_image({"references": [{}, FILE]}, 1, ROOTS)
    assert (found.location, found.sha256) == (UriLocation("s3://refs/a.png"), SHA256)
    local = reference_image({"references": [{**FILE, "uri": "file:///our%20data/a.png"}]}, 0, ROOTS).location
    assert isinstance(local, UriLocation)
    assert (local.is_local, local.path) == (True, "/our data/a.png")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": "url", "uri": "https://example.com/a.png"}, "not given as a file"),
        ({"source": "bytes", "uri": None}, "not given as a file"),
        ({"uri": 5}, "not given as a file"),
        ({"uri": "https://example.com/a.png"}, "does not read from 'https'"),
        ({"bytes": 10 * MIB + 1}, "over 10 MiB"),
        ({"sha256": None}, "SHA-256"),
    ],
)
def test_no_other_reference_is_read(change: dict[str, Any], message: str) -> None:
    with not_readable(message):
        reference_image({"references": [{**FILE, **change}]}, 0, ROOTS)


@pytest.mark.parametrize("index", [-1, 1, 10**9])
def test_a_reference_that_is_not_there(index: int) -> None:
    with pytest.raises(NotShown, match="no such reference"):
        reference_image({"references": [FILE]}, index, ROOTS)


anything = st.none() | st.integers() | st.text() | st.sampled_from([*ARCHIVE.values(), *IMAGE.values(), "file:///etc"])


@given(
    st.fixed_dictionaries({"manifest": anything, "conn_id": anything}),
    st.dictionaries(st.sampled_from(list(IMAGE)), anything),
)
def test_whatever_an_xcom_says_an_image_is_below_its_manifest(value: dict[str, Any], described: dict[str, Any]) -> None:
    try:
        found = archived_image({**value, "images": [{**IMAGE, **described}]}, "8334", 1, ROOTS)
    except NotShown:
        return
    assert str(value["manifest"]).rpartition("/")[0] == found.location.uri.rpartition("/")[0]


@pytest.mark.parametrize("destination", ["/srv/kling", "/srv/klingon", "/srv/kling/../secret", "/", "/etc", "/srv"])
def test_files_below_the_folders_of_the_configuration_alone(destination: str) -> None:
    value = {"manifest": f"file://{destination}/8334/manifest.json"}
    if destination == "/srv/kling":
        assert manifest_location(value, "8334", ["/srv/kling"]).is_local
    else:
        with not_readable("gallery_file_roots|no address of a file"):
            manifest_location(value, "8334", ["/srv/kling"])
    with not_readable("gallery_file_roots|no address of a file"):
        manifest_location(value, "8334", [])


def test_folders_of_the_configuration() -> None:
    assert read_roots("") == read_roots("relative, ,") == ()
    assert read_roots("/srv/kling/, file:///our data") == ("/srv/kling", "/our data")
    assert is_below("/anything", read_roots("/"))
