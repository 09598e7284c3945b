"""Downloads of videos: one for all who ask at the same time, and none that nobody waits for."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_kling.plugins.gallery import videos
from airflow_kling.plugins.gallery.cache import DiskCache
from airflow_kling.plugins.gallery.locations import ExpectedFile, Unreadable, UriLocation
from airflow_kling.plugins.gallery.storages import Storages
from airflow_kling.plugins.gallery.videos import Videos

CONTENT = b"\0\0\0\x20ftypisom" + bytes(1000)
MIB = 1024 * 1024


class Storage:
    """Stands for :func:`copy_video`: waits until the test lets it go on."""

    def __init__(self) -> None:
        self.asked = 0
        self.go_on, self.abandoned, self.broken = threading.Event(), threading.Event(), False

    def copy(self, video: Any, target: Any, roots: Any, abandoned: threading.Event) -> None:
        self.asked += 1
        while not self.go_on.wait(0.01):
            if abandoned.is_set():
                self.abandoned.set()
                raise Unreadable("abandoned")
        if self.broken:
            raise Unreadable("broken")
        target.write(CONTENT)


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch) -> Any:
    storage = Storage()
    monkeypatch.setattr(videos, "copy_video", storage.copy)
    yield storage
    storage.go_on.set()


@pytest.fixture
def cache(tmp_path: Path) -> DiskCache:
    return DiskCache(tmp_path / "videos", 10 * MIB, suffix=".video")


def video(name: str = "a") -> ExpectedFile:
    return ExpectedFile(UriLocation(f"file:///{name}"), hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))


def run(work: Callable[[Videos], Any]) -> Any:
    async def main() -> Any:
        return await work(Videos(Storages()))

    return asyncio.run(main())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - a thread changes it
            await asyncio.sleep(0.01)


def test_all_who_ask_share_a_download(storage: Storage, cache: DiskCache) -> None:
    async def work(videos: Videos) -> None:
        asking = [asyncio.create_task(videos.open(video(), cache, ())) for _ in range(20)]
        await until(lambda: storage.asked == 1)
        storage.go_on.set()
        for file in await asyncio.gather(*asking):
            with file:
                assert file.seek(0) == 0
                assert file.read() == CONTENT
        (await videos.open(video(), cache, ())).close()
        assert storage.asked == 1

    run(work)


def test_one_who_goes_ends_nothing_and_the_last_one_ends_it(storage: Storage, cache: DiskCache, tmp_path: Path) -> None:
    async def work(videos: Videos) -> None:
        first, last = (asyncio.create_task(videos.open(video(), cache, ())) for _ in range(2))
        await until(lambda: storage.asked == 1)
        first.cancel()
        await asyncio.wait((first,))
        assert not storage.abandoned.is_set()
        last.cancel()
        await asyncio.wait((last,))
        await until(storage.abandoned.is_set)
        await until(lambda: list((tmp_path / "videos").iterdir()) == [])
        storage.go_on.set()
        (await videos.open(video(), cache, ())).close()  # who comes later begins anew
        assert storage.asked == 2

    run(work)


def test_a_download_that_fails_fails_for_all_and_leaves_nothing(
    storage: Storage, cache: DiskCache, tmp_path: Path
) -> None:
    storage.broken = True

    async def work(videos: Videos) -> None:
        asking = [asyncio.create_task(videos.open(video(), cache, ())) for _ in range(3)]
        await until(lambda: storage.asked == 1)
        storage.go_on.set()
        results = await asyncio.gather(*asking, return_exceptions=True)
        assert [type(result) for result in results] == [Unreadable] * 3
        assert list((tmp_path / "videos").iterdir()) == []

    run(work)


def test_so_many_at_once(storage: Storage, cache: DiskCache) -> None:
    async def work(videos_: Videos) -> None:
        asking = [asyncio.create_task(videos_.open(video(str(number)), cache, ())) for number in range(10)]
        await until(lambda: storage.asked == videos.AT_ONCE)
        await asyncio.sleep(0)
        assert storage.asked == videos.AT_ONCE
        storage.go_on.set()
        for file in await asyncio.gather(*asking):
            file.close()
        assert storage.asked == 10

    run(work)


def test_room_is_made_before_a_video_comes(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path / "videos", 4 * 1000, suffix=".video")
    for number in range(10):
        with cache.new_file(str(number), 1000) as file:
            file.write(bytes(1000))
        assert sum(one.stat().st_size for one in (tmp_path / "videos").iterdir()) <= 4000
    assert cache.open("0") is None
    newest = cache.open("9")
    assert newest is not None
    for number in range(10, 20):
        with cache.new_file(str(number), 1000) as file:
            file.write(bytes(1000))
    with newest:  # removed meanwhile, and still whole for who reads it
        assert len(newest.read()) == 1000
