"""Files in a directory: permissions, and the temporary files of killed runs."""

from __future__ import annotations

import errno
import os
import stat
from io import BytesIO
from pathlib import Path

import pytest

from airflow_kling.storage.local import LocalStore, _temporary
from airflow_kling.storage.open import open_store


def test_files_have_the_permissions_of_the_umask(tmp_path: Path) -> None:
    previous = os.umask(0o027)
    try:
        LocalStore(str(tmp_path)).put("task-1/0.png", BytesIO(b"x"), content_type="image/png", sha256="")
    finally:
        os.umask(previous)
    assert (tmp_path / "task-1" / "0.png").stat().st_mode & 0o777 == 0o640


def test_a_living_writer_keeps_its_temporary_file(tmp_path):
    store = LocalStore(str(tmp_path))
    (tmp_path / "t").mkdir()
    with _temporary(tmp_path / "t" / "0.png") as (temporary, _):
        store.remove_leftovers("t")
        assert temporary.exists()
    assert not list((tmp_path / "t").iterdir())


def test_a_dead_writer_leaves_its_temporary_file_to_be_removed(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / ".0.png.0123.part").write_bytes(b"half")
    store = LocalStore(str(tmp_path))
    assert store.keys("t") == set()
    store.remove_leftovers("t")
    assert not list((tmp_path / "t").iterdir())


@pytest.mark.parametrize("number", [errno.ENOTSUP, errno.EINVAL, errno.ENOLCK, errno.ENOSYS])
def test_a_file_system_without_locks_or_fsync_of_directories_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, "not here")

    fsync = os.fsync

    def files_only(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            refuse()
        fsync(descriptor)

    monkeypatch.setattr("fcntl.flock", refuse)
    monkeypatch.setattr("os.fsync", files_only)
    store = LocalStore(str(tmp_path))
    store.put("task-1/0.png", BytesIO(b"x"), content_type="image/png", sha256="")
    (tmp_path / "task-1" / ".1.png.0.part").write_bytes(b"of another run")
    store.remove_leftovers("task-1")
    assert (tmp_path / "task-1" / "0.png").read_bytes() == b"x"
    assert (tmp_path / "task-1" / ".1.png.0.part").exists(), "nobody knows whether its writer lives"


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_a_disk_that_is_broken_or_full_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(number, "broken")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="broken"):
        LocalStore(str(tmp_path)).put("task-1/0.png", BytesIO(b"x"), content_type="image/png", sha256="")
    assert not list((tmp_path / "task-1").iterdir())


def test_a_uri_of_a_directory_is_decoded(tmp_path: Path) -> None:
    directory = tmp_path / "my ü"
    store = open_store(directory.as_uri())
    assert store.put("t/0.png", BytesIO(b"x"), content_type="image/png", sha256="") == (directory / "t/0.png").as_uri()
    assert (directory / "t" / "0.png").exists()
    assert open_store(f"file://{directory}").stat("t/0.png") == store.stat("t/0.png")
