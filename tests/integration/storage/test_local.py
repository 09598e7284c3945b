"""Files in a directory: permissions, and the temporary files of killed runs."""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path

from airflow_kling.storage.local import LocalStore, _temporary


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
