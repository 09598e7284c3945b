"""Documents beside the images: read within a limit, and what they say compared with the store."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from airflow_kling.archive.documents import is_stored, read_document, write_document
from airflow_kling.archive.manifest import MAX_BYTES, ManifestImage, dump_manifest, parse_manifest
from airflow_kling.storage.local import LocalStore

KEY = "task-1/manifest.json"


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    (tmp_path / "task-1").mkdir()
    return LocalStore(str(tmp_path))


def test_a_document_is_read_as_it_was_written(store: LocalStore) -> None:
    manifest = parse_manifest((Path(__file__).parent / "old" / "manifest.json").read_bytes())
    assert manifest is not None
    assert read_document(store, KEY) is None
    assert write_document(store, KEY, manifest) == store.uri(KEY)
    assert read_document(store, KEY) == dump_manifest(manifest)


@pytest.mark.parametrize(("size", "read"), [(MAX_BYTES, MAX_BYTES), (MAX_BYTES + 1, 0)])
def test_what_is_too_large_is_as_good_as_empty(store: LocalStore, tmp_path: Path, size: int, read: int) -> None:
    (tmp_path / KEY).write_bytes(bytes(size))
    data = read_document(store, KEY)
    assert data is not None
    assert len(data) == read


@pytest.mark.parametrize(("data", "stored"), [(b"image", True), (b"other", False), (b"imag", False), (None, False)])
def test_an_image_is_stored_when_its_bytes_are_there(
    store: LocalStore, tmp_path: Path, data: bytes | None, stored: bool
) -> None:
    if data is not None:
        (tmp_path / "task-1" / "0.png").write_bytes(data)
    image = ManifestImage(
        index=0,
        uri=store.uri("task-1/0.png"),
        key="task-1/0.png",
        sha256=hashlib.sha256(b"image").hexdigest(),
        bytes=5,
        width=2,
        height=3,
        content_type="image/png",
        source_url="https://h/0.png",
    )
    assert is_stored(store, image) is stored
