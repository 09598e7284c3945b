"""Reads from storages with a deadline, and with slots of each one's own: a dead storage holds up nobody but itself."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from airflow_kling.plugins.gallery.image_pool import Busy
from airflow_kling.plugins.gallery.locations import Unreadable

T = TypeVar("T")

SLOTS = 4  # threads of one storage
MOST = 32  # storages at a time: their names come from XComs
DEADLINE = 15.0  # seconds of one read, and of the wait for a slot
SLOW = 2.0  # seconds after which an error counts as no answer: a storage library has tried in vain to connect
REST = 30.0  # seconds in which a storage that did not answer is not asked


class _Storage:
    """One storage: its slots, and when it last answered and failed."""

    def __init__(self) -> None:
        self.slots = asyncio.Semaphore(SLOTS)
        self.users = 0
        self.answered = self.silent = float("-inf")

    def rests(self, now: float) -> bool:
        """Tell whether it has lately not answered, and not answered anything since long."""
        return now - self.silent < REST and now - self.answered >= REST


class Storages:
    """The storages that are being read.

    :param deadline: seconds.
    :param clock: seconds.
    """

    def __init__(self, *, deadline: float = DEADLINE, clock: Callable[[], float] = time.monotonic) -> None:
        self._deadline = deadline
        self._clock = clock
        self._storages: dict[str, _Storage] = {}

    async def read(self, name: str, work: Callable[[threading.Event], T], *, extra_time: float = 0.0) -> T:
        """Run blocking work in a thread.

        :param name: of the storage.
        :param work: gets an event that is set when nobody awaits its result any more.
        :param extra_time: seconds that the work may take beyond the deadline.
        :raises Unreadable: the storage has not answered in time, or not the one before.
        :raises Busy: too many others wait.
        """
        storage = self._storage(name)
        storage.users += 1
        try:
            if not storage.rests(self._clock()):
                async with asyncio.timeout(self._deadline):
                    await storage.slots.acquire()
                return await self._in_slot(storage, work, extra_time)
        except TimeoutError:
            raise Busy from None
        finally:
            storage.users -= 1
        raise Unreadable("The storage has lately not answered.")

    async def _in_slot(self, storage: _Storage, work: Callable[[threading.Event], T], extra_time: float) -> T:
        if storage.rests(self._clock()):  # others have found out meanwhile
            storage.slots.release()
            raise Unreadable("The storage has lately not answered.")
        storage.users += 1  # the thread is one
        abandoned, began, deadline = threading.Event(), self._clock(), self._deadline + extra_time
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        # A thread of its own that ends with the process: one that hangs must hold neither a pool nor the server's end.
        threading.Thread(
            target=_run, args=(future, work, abandoned, storage), name="kling-gallery", daemon=True
        ).start()
        try:
            async with asyncio.timeout(deadline):
                result = await future
        except TimeoutError:
            storage.silent = self._clock()
            raise Unreadable(f"The storage has not answered within {deadline:g} s.") from None
        except Unreadable:
            if self._clock() - began >= SLOW + extra_time:
                storage.silent = self._clock()
            else:
                storage.answered = self._clock()
            raise
        finally:
            abandoned.set()
        storage.answered = self._clock()
        return result

    def _storage(self, name: str) -> _Storage:
        if name not in self._storages:
            now = self._clock()
            for other, known in list(self._storages.items()):
                if not known.users and not known.rests(now):
                    del self._storages[other]
            if len(self._storages) >= MOST:
                raise Busy
            self._storages[name] = _Storage()
        return self._storages[name]


def _run(
    future: asyncio.Future[T], work: Callable[[threading.Event], T], abandoned: threading.Event, storage: _Storage
) -> None:
    result: T | None = None
    error: BaseException | None = None
    try:
        result = work(abandoned)
    except BaseException as raised:
        error = raised

    def tell() -> None:
        storage.users -= 1
        storage.slots.release()
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    with contextlib.suppress(RuntimeError):  # the server has ended
        future.get_loop().call_soon_threadsafe(tell)
