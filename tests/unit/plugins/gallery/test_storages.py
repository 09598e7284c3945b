"""Reads from storages: each has slots and a deadline of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from airflow_kling.plugins.gallery.image_pool import Busy
from airflow_kling.plugins.gallery.locations import NOT_READABLE, Unreadable
from airflow_kling.plugins.gallery.storages import MOST, REST, SLOTS, SLOW, Storages


class Dead:
    """A storage that does not answer until the test ends."""

    def __init__(self) -> None:
        self.end = threading.Event()
        self.asked = 0
        self.abandoned: list[threading.Event] = []

    def read(self, abandoned: threading.Event) -> None:
        self.asked += 1
        self.abandoned.append(abandoned)
        self.end.wait(60)


@pytest.fixture
def dead() -> Any:
    dead = Dead()
    yield dead
    dead.end.set()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - it is another process or thread that changes it
            await asyncio.sleep(0.01)


def alive(_: threading.Event) -> str:
    return "content"


def test_dead_storage_holds_up_nobody_else(dead: Dead) -> None:
    async def work() -> None:
        storages = Storages()
        waiting = [asyncio.create_task(storages.read("dead", dead.read)) for _ in range(50)]
        await until(lambda: dead.asked == SLOTS)
        assert await storages.read("alive", alive) == "content"
        assert dead.asked == SLOTS
        for one in waiting:
            one.cancel()
        await asyncio.wait(waiting)
        assert all(event.is_set() for event in dead.abandoned)

    asyncio.run(work())


def test_storage_that_does_not_answer_rests(dead: Dead) -> None:
    now = [0.0]

    async def work() -> None:
        storages = Storages(deadline=0.05, clock=lambda: now[0])
        for _ in range(3):
            with pytest.raises(Unreadable, match=r"^The gallery cannot read it") as refused:
                await storages.read("dead", dead.read)
            assert str(refused.value) == NOT_READABLE
        await until(lambda: dead.asked == 1)  # its thread may be late
        now[0] += REST
        storages._deadline = 60
        assert await storages.read("dead", alive) == "content"

    asyncio.run(work())


def test_storage_that_answers_others_does_not_rest(dead: Dead) -> None:
    async def work() -> None:
        storages = Storages(clock=lambda: 0.0)
        assert await storages.read("slow", alive) == "content"
        storages._deadline = 0.05
        with pytest.raises(Unreadable):
            await storages.read("slow", dead.read)
        storages._deadline = 60
        assert await storages.read("slow", alive) == "content"

    asyncio.run(work())


@pytest.mark.parametrize(("took", "rests"), [(SLOW, True), (0.0, False)])
def test_error_after_a_long_time_is_no_answer(took: float, rests: bool) -> None:
    now = [0.0]

    def fails(_: threading.Event) -> None:
        now[0] += took
        raise Unreadable("ConnectTimeoutError")

    async def work() -> None:
        storages = Storages(clock=lambda: now[0])
        with pytest.raises(Unreadable):
            await storages.read("x", fails)
        if rests:
            with pytest.raises(Unreadable, match="gallery"):
                await storages.read("x", alive)
        else:
            assert await storages.read("x", alive) == "content"

    asyncio.run(work())


def test_thread_that_hangs_keeps_its_slot_until_it_ends(dead: Dead) -> None:
    async def work() -> None:
        storages = Storages(deadline=0.2, clock=lambda: 0.0)
        storages._storage("x").answered = 0.0  # it never rests
        await asyncio.gather(*(storages.read("x", dead.read) for _ in range(SLOTS)), return_exceptions=True)
        with pytest.raises(Busy):
            await storages.read("x", alive)
        dead.end.set()
        await until(lambda: storages._storages["x"].users == 0)
        storages._deadline = 60
        assert await storages.read("x", alive) == "content"

    asyncio.run(work())


def test_number_of_storages_has_a_limit(dead: Dead) -> None:
    async def work() -> None:
        storages = Storages()
        for number in range(3 * MOST):
            assert await storages.read(f"healthy-{number}", alive) == "content"
        waiting = [asyncio.create_task(storages.read(f"dead-{number}", dead.read)) for number in range(MOST)]
        await until(lambda: dead.asked == MOST)
        with pytest.raises(Busy):
            await storages.read("another", alive)
        for one in waiting:
            one.cancel()
        await asyncio.wait(waiting)

    asyncio.run(work())


def test_error_of_the_work_is_raised() -> None:
    def fails(_: threading.Event) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(Storages().read("x", fails))
