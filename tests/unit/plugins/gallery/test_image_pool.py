"""Images are verified and scaled in real processes, which are killed when they take too long or nobody waits."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, BinaryIO

import psutil
import pytest
from PIL import Image

from airflow_kling.plugins.gallery import image_pool, thumbnails
from airflow_kling.plugins.gallery.image_pool import SMALL_ONES, Busy, ImagePool, ImageProcess
from airflow_kling.plugins.gallery.image_process import DONE, LARGE, REFUSED
from airflow_kling.plugins.gallery.locations import NotShown

MIB = 1024 * 1024
Files = Callable[..., BinaryIO]


#: Processes that were there before a test: a gallery of an earlier one in the same session keeps its own.
_earlier: set[int] = set()


@pytest.fixture(autouse=True)
def know_earlier_processes() -> None:
    _earlier.clear()
    _earlier.update(one.pid for one in processes())


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hand no image on to the process of large ones, and give none up, because the machine is slow."""
    for limit in ("QUICK", "DEADLINE", "WAIT", "_START"):
        monkeypatch.setattr(image_pool, limit, 600.0)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """``files(side=90, kind="PNG")``: an open image."""

    def made(side: int = 90, kind: str = "PNG") -> BinaryIO:
        path = tmp_path / f"{side}.{kind}"
        if not path.exists():
            Image.new("RGB", (side, side), "teal").save(path, kind)
        return path.open("rb")

    return made


def run(work: Callable[[ImagePool], Coroutine[Any, Any, Any]]) -> Any:
    """Run a test in an event loop, with a pool whose processes end with it."""

    async def whole() -> Any:
        pool = ImagePool()
        try:
            return await work(pool)
        finally:
            pool.close()

    return asyncio.run(whole())


def ask(pool: ImagePool, file: BinaryIO, size: str = "thumb") -> Awaitable[bytes]:
    return pool.ask(file, size=size, max_pixels=thumbnails.MAX_PIXELS)


def processes() -> list[psutil.Process]:
    return [one for one in psutil.Process().children() if one.pid not in _earlier and _is_ours(one)]


def _is_ours(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE and "image_process" in " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return False


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - it is another process or thread that changes it
            await asyncio.sleep(0.01)


def stop(*pids: int) -> None:
    """Let processes hang, as in an image that takes for ever."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)


async def warmed_up(pool: ImagePool, files: Files) -> set[int]:
    """Start all processes; returns their ids."""
    await asyncio.gather(*(ask(pool, files()) for _ in range(SMALL_ONES)), ask(pool, files(2100)))
    return {one.pid for one in processes()}


def test_thumbnail_and_facts(files: Files) -> None:
    async def work(pool: ImagePool) -> tuple[bytes, bytes, set[int], set[int]]:
        first = await ask(pool, files(900))
        pids = {one.pid for one in processes()}
        return first, await ask(pool, files(90, "JPEG"), "original"), pids, {one.pid for one in processes()}

    thumb, facts, before, after = run(work)
    with Image.open(io.BytesIO(thumb)) as image:
        assert (image.format, image.size) == ("WEBP", (480, 480))
    assert json.loads(facts) == ["image/jpeg", "jpg"]
    assert (len(before), before) == (1, after)  # the same process answers again


def test_what_is_no_image(tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_bytes(b"root:x:0:0")
    with pytest.raises(NotShown, match="not a whole image"):
        run(lambda pool: ask(pool, file.open("rb")))  # type: ignore[arg-type,return-value]


def test_large_images_have_a_process_of_their_own(files: Files) -> None:
    async def work(pool: ImagePool) -> int:
        await asyncio.gather(*(ask(pool, files(2100)) for _ in range(6)))
        return len(processes())

    assert run(work) <= SMALL_ONES + 1


def test_image_that_takes_too_long_is_given_up_and_the_next_one_is_made(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(pool: ImagePool) -> None:
        hanging = await warmed_up(pool, files)
        stop(*hanging)
        monkeypatch.setattr(image_pool, "QUICK", 0.2)
        with monkeypatch.context() as impatience:
            impatience.setattr(image_pool, "DEADLINE", 0.4)
            with pytest.raises(NotShown, match="takes longer than"):
                await ask(pool, files())
        await until(lambda: len(hanging & {one.pid for one in processes()}) == SMALL_ONES - 1)
        assert await ask(pool, files(91))

    run(work)


def test_abandoned_requests_leave_their_processes_to_others(files: Files) -> None:
    async def work(pool: ImagePool) -> None:
        hanging = await warmed_up(pool, files)
        stop(*hanging)
        abandoned = [asyncio.create_task(ask(pool, files())) for _ in range(8)]  # type: ignore[arg-type]
        await until(lambda: not pool._small._idle)
        for one in abandoned:
            one.cancel()
        await asyncio.wait(abandoned)
        assert await ask(pool, files(91))
        await until(lambda: len(hanging & {one.pid for one in processes()}) == 1)  # the one for large images

    run(work)


def test_queue_has_an_end(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(pool: ImagePool) -> None:
        stop(*await warmed_up(pool, files))
        held = [asyncio.create_task(ask(pool, files())) for _ in range(SMALL_ONES)]  # type: ignore[arg-type]
        await until(lambda: not pool._small._idle)
        monkeypatch.setattr(image_pool, "WAIT", 0.05)
        with pytest.raises(Busy):
            await ask(pool, files())
        for one in held:
            one.cancel()
        await asyncio.wait(held)

    run(work)


def test_process_that_has_ended_meanwhile_is_replaced(files: Files) -> None:
    async def work(pool: ImagePool) -> None:
        for pid in await warmed_up(pool, files):
            os.kill(pid, signal.SIGKILL)
        await until(lambda: not any(process.is_alive for process in pool._small._idle))
        assert await ask(pool, files())

    run(work)


def test_image_that_ends_its_process_is_not_shown(files: Files) -> None:
    async def work(pool: ImagePool) -> None:
        pids = await warmed_up(pool, files)
        stop(*pids)
        asked = asyncio.create_task(ask(pool, files()))  # type: ignore[arg-type]
        await until(lambda: len(pool._small._idle) == SMALL_ONES - 1)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(NotShown, match="process that tried it has ended"):
            await asked

    run(work)


def test_memory_of_a_process_has_a_limit(files: Files) -> None:
    async def work(_: ImagePool) -> tuple[bytes, bytes]:
        process = ImageProcess(60 * MIB)
        try:
            await process.ready()
            question = {"size": "large", "max_pixels": 4096 * 4096, "may_be_large": True}
            return await process.ask(files(4000), **question)
        finally:
            process.kill()

    kind, reason = run(work)
    assert kind == REFUSED
    assert b"more memory" in reason


def test_large_image_is_told_before_it_is_decoded(files: Files) -> None:
    async def work(_: ImagePool) -> list[bytes]:
        process = ImageProcess(256 * MIB)
        try:
            await process.ready()
            question = {"size": "thumb", "max_pixels": 4096 * 4096, "may_be_large": False}
            return [(await process.ask(files(side), **question))[0] for side in (2049, 90)]
        finally:
            process.kill()

    assert run(work) == [LARGE, DONE]


def test_process_has_no_secret_of_airflow(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "DISTINCTIVE")

    async def work(pool: ImagePool) -> dict[str, str]:
        await ask(pool, files())
        [process] = processes()
        return process.environ()

    assert "DISTINCTIVE" not in str(run(work))
