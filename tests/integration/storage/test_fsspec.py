"""Objects in the other storages of fsspec: one upload, or an upload beside and a move."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pytest

from airflow_kling.storage.fsspec import FsspecStore
from tests.integration.stores import memory_store


def test_object_storage_path_gives_the_filesystem(tmp_path):
    """Files stand for the storages that need an account: the real ObjectStoragePath works the same over all."""
    store = FsspecStore(tmp_path.as_uri())
    assert store.put("t/0.png", BytesIO(b"x"), content_type="image/png", sha256="") == f"{tmp_path.as_uri()}/t/0.png"
    assert (tmp_path / "t" / "0.png").read_bytes() == b"x"
    assert [path.name for path in (tmp_path / "t").iterdir()] == ["0.png"]


def test_an_object_store_gets_one_upload_under_the_final_name(monkeypatch):
    store = memory_store("gs")
    uploads = []
    monkeypatch.setattr(type(store._fs), "put_file", lambda fs, local, path: uploads.append((Path(local), path)))
    store.put("t/0.png", BytesIO(b"x"), content_type="image/png", sha256="")
    assert [(local.suffix, path) for local, path in uploads] == [(".png", "/gs-bucket/t/0.png")]


def test_a_move_that_fails_leaves_nothing_behind(monkeypatch):
    store = memory_store("memory")

    def fails(*args: object) -> None:
        raise OSError("no move")

    monkeypatch.setattr(type(store._fs), "mv", fails)
    with pytest.raises(OSError, match="no move"):
        store.put("t/0.png", BytesIO(b"x"), content_type="image/png", sha256="")
    assert store._fs.find("/memory-bucket") == []
