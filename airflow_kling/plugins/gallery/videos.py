"""Brings videos to the disk, from where ranges are sent: each is downloaded once, and verified before it is kept.

Who asks for a video that is being downloaded waits for that download. When nobody waits any more, it ends.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

from anyio import to_thread

from airflow_kling.plugins.gallery.cache import DiskCache
from airflow_kling.plugins.gallery.image_pool import WAIT, Busy
from airflow_kling.plugins.gallery.locations import ExpectedFile
from airflow_kling.plugins.gallery.reading import copy_video
from airflow_kling.plugins.gallery.storages import Storages

AT_ONCE = 4  # downloads; the cache has room for as many of the largest videos
_SLOWEST = 2 * 1024 * 1024  # bytes a second; a storage that sends less is given up


@dataclass
class _Download:
    task: asyncio.Task[None]
    waiting: int = 0


class Videos:
    """The downloads of one event loop.

    :param storages: that the videos are in. They have slots of their own, so that pictures need not wait for videos.
    """

    def __init__(self, storages: Storages) -> None:
        self._storages = storages
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._running: dict[str, _Download] = {}

    async def open(self, video: ExpectedFile, cache: DiskCache, roots: Sequence[str]) -> BinaryIO:
        """Return a file with the bytes of a video, which are those that were archived.

        :param roots: folders of the API server that may be read.
        :raises Unreadable: there is none, it has other bytes than expected, or the storage failed.
        :raises Busy: too many others wait.
        """
        # The location is part of the name: a hit must mean that this very object was read and checked before.
        name = hashlib.sha256(f"{video.location!r} {video.sha256}".encode()).hexdigest()
        file = await to_thread.run_sync(_open, cache, name, video.bytes)
        if file is None:
            await self._join(name, video, cache, roots)
            file = await to_thread.run_sync(_open, cache, name, video.bytes)
        if file is None:  # others have needed the room
            raise Busy
        return file

    async def _join(self, name: str, video: ExpectedFile, cache: DiskCache, roots: Sequence[str]) -> None:
        download = self._running.get(name)
        if download is None:
            task = asyncio.create_task(self._download(name, video, cache, roots))
            download = self._running[name] = _Download(task)
        download.waiting += 1
        try:
            await asyncio.wait((download.task,))  # a cancellation ends the wait, and not the download
        finally:
            download.waiting -= 1
            if not download.waiting:
                del self._running[name]  # who comes now begins anew
                download.task.cancel()
        download.task.result()

    async def _download(self, name: str, video: ExpectedFile, cache: DiskCache, roots: Sequence[str]) -> None:
        try:
            async with asyncio.timeout(WAIT):
                await self._slots.acquire()
        except TimeoutError:
            raise Busy from None

        def work(abandoned: threading.Event) -> None:
            with cache.new_file(name, video.bytes) as file:
                copy_video(video, file, roots, abandoned)

        try:
            storage = f"videos {video.location.storage}"
            await self._storages.read(storage, work, extra_time=video.bytes / _SLOWEST)
        finally:
            self._slots.release()


def _open(cache: DiskCache, name: str, size: int) -> BinaryIO | None:
    """Return a file of the cache; None where there is none, or the system has lost its end in a crash."""
    file = cache.open(name)
    if file is not None and file.seek(0, 2) != size:
        file.close()
        return None
    return file
