"""Thumbnails on disk: bounded, whole, and nobody else's."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from airflow_kling.plugins.gallery.cache import DiskCache

KB = 1024


def size_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())


def test_what_was_put_is_there_for_another_process_too(tmp_path: Path) -> None:
    DiskCache(tmp_path / "cache", 64 * KB, suffix=".webp").put("a", b"content")
    assert DiskCache(tmp_path / "cache", 64 * KB, suffix=".webp").get("a") == b"content"
    assert DiskCache(tmp_path / "cache", 64 * KB, suffix=".webp").get("b") is None


def test_it_stays_within_its_limit(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, 64 * KB, suffix=".webp")
    for number in range(200):
        cache.put(str(number), bytes(KB))
        assert size_of(tmp_path) <= 64 * KB + 64 * KB // 8 + KB
    assert cache.get("199") is not None
    assert cache.get("0") is None


def test_those_go_first_that_nobody_asks_for(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, 16 * KB, suffix=".webp")
    for number in range(12):
        cache.put(str(number), bytes(KB))
        os.utime(tmp_path / f"{number}.webp", (number + 1, number + 1))
    assert cache.get("0") is not None  # asked for, so the youngest now
    for number in range(12, 20):
        cache.put(str(number), bytes(KB))
    assert cache.get("0") is not None
    assert cache.get("1") is None


def test_leftovers_of_killed_writers_go(tmp_path: Path) -> None:
    old, young = tmp_path / "old.part", tmp_path / "young.part"
    old.write_bytes(b"x")
    young.write_bytes(b"x")
    os.utime(old, (time.time() - 7200,) * 2)
    DiskCache(tmp_path, KB, suffix=".webp").put("a", b"x")
    assert not old.exists()
    assert young.exists()


def test_readers_never_see_half_a_file(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, 1024 * KB, suffix=".webp")
    contents = [bytes([number]) * 50 * KB for number in range(4)]
    cache.put("a", contents[0])
    seen: set[bytes] = set()
    writers = [threading.Thread(target=lambda c=c: [cache.put("a", c) for _ in range(20)]) for c in contents]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        seen.add(cache.get("a") or b"")
    assert seen <= set(contents)


def test_full_disk_loses_the_file_and_nothing_else(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path / "cache", KB, suffix=".webp")
    (tmp_path / "cache").rmdir()
    (tmp_path / "cache").write_text("no directory any more")
    with pytest.raises(OSError, match="directory"):
        os.scandir(tmp_path / "cache")
    cache.put("a", b"x")
    assert cache.get("a") is None


def test_directory_that_somebody_has_removed_is_made_again(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path / "cache", 64 * KB, suffix=".webp")
    for number in range(3):
        (tmp_path / "cache").rmdir()
        cache.put(str(number), b"x")
        assert cache.get(str(number)) == b"x"
        assert (tmp_path / "cache").stat().st_mode & 0o777 == 0o700
        (tmp_path / "cache" / f"{number}.webp").unlink()


def test_directory_that_somebody_else_has_made_since_is_not_used(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path / "cache", 64 * KB, suffix=".webp")
    cache.put("a", b"x")
    (tmp_path / "cache").chmod(0o777)
    cache.put("b", b"x")
    assert (cache.get("a"), cache.get("b")) == (None, None)


def test_directory_that_others_may_write_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(PermissionError):
        DiskCache(tmp_path / "open", KB, suffix=".webp")
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(PermissionError):
        DiskCache(tmp_path / "link", KB, suffix=".webp")


def test_directory_is_for_its_owner_alone(tmp_path: Path) -> None:
    DiskCache(tmp_path / "deep" / "cache", KB, suffix=".webp")
    assert (tmp_path / "deep" / "cache").stat().st_mode & 0o777 == 0o700
