"""Verifies and scales images in other processes, so that a hostile one can neither hold up nor fill the API server.

Two processes take what comes, each image for :data:`QUICK` seconds at most. What is large, or has taken longer, goes
to a third one, one at a time, for :data:`DEADLINE` seconds at most. A process that overruns is killed, and so is one
whose answer nobody awaits any more.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import subprocess
import sys
import threading
from typing import BinaryIO

from airflow_kling.plugins.gallery import image_process
from airflow_kling.plugins.gallery.image_process import DONE, HEAD, LARGE
from airflow_kling.plugins.gallery.locations import NotShown

log = logging.getLogger(__name__)

SMALL_ONES = 2  # processes
QUICK = 2.0  # seconds for an image that is not large; a healthy one takes a tenth
DEADLINE = 10.0  # seconds for a large one
WAIT = 30.0  # seconds in the queue for a process
_START = 60.0  # seconds until a new process is ready, on a machine that is busy
_MIB = 1024 * 1024
#: Of data. Decoding takes up to 16 bytes a pixel (WebP), a picture in three forms 12.
SMALL_MEMORY, LARGE_MEMORY = 256 * _MIB, 768 * _MIB


class Busy(Exception):
    """Too many others wait; the message tells the user to come again."""

    def __init__(self) -> None:
        super().__init__("The gallery is busy with other pictures; reload the page in a minute.")


class ImageProcess:
    """A process of :mod:`.image_process`.

    :param memory: limit of its data, in bytes.
    """

    def __init__(self, memory: int) -> None:
        self._socket, theirs = socket.socketpair()
        self._socket.setblocking(False)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", image_process.__name__, str(theirs.fileno()), str(memory)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env=_environment(),
                # Ctrl-C in the server's terminal is for the server. Not a new session: Linux may share the CPU by
                # sessions, and the processes' low priority would mean nothing to the server.
                process_group=0,
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it can be asked."""
        return self._process.poll() is None

    async def ready(self) -> None:
        """Wait until it can be asked.

        :raises EOFError: it has ended.
        """
        await self._receive()

    async def ask(self, file: BinaryIO, **question: object) -> tuple[bytes, bytes]:
        """Ask about the image in ``file``, which is at its start.

        :param question: see :func:`airflow_kling.plugins.gallery.image_process.answer`.
        :raises EOFError: the process has ended, so the image is one that ends processes.
        """
        try:
            socket.send_fds(self._socket, [json.dumps(question).encode()], [file.fileno()])
        except OSError:
            raise EOFError from None
        return await self._receive()

    def kill(self) -> None:
        """End it; whoever waits for its answer must have gone."""
        self._socket.close()
        self._process.kill()
        # The system may take its time to free the memory.
        threading.Thread(target=self._process.wait, name="kling-gallery-reap", daemon=True).start()

    async def _receive(self) -> tuple[bytes, bytes]:
        kind, length = HEAD.unpack(await self._read(HEAD.size))
        return kind, await self._read(length)

    async def _read(self, count: int) -> bytes:
        loop, pieces = asyncio.get_running_loop(), bytearray()
        while len(pieces) < count:
            try:
                piece = await loop.sock_recv(self._socket, count - len(pieces))
            except OSError:
                piece = b""
            if not piece:
                raise EOFError
            pieces += piece
        return bytes(pieces)


def _environment() -> dict[str, str]:
    """Return what the interpreter needs, and nothing of Airflow's: the process reads what strangers have made."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "LANG", "SYSTEMROOT") if name in os.environ}
    return {**kept, "PYTHONPATH": os.pathsep.join(os.path.abspath(one) for one in sys.path)}


class _Lane:
    """Some processes of one size; each has one image at a time.

    :param count: of processes.
    :param memory: of each, in bytes.
    """

    def __init__(self, count: int, memory: int) -> None:
        self._slots = asyncio.Semaphore(count)
        self._memory = memory
        self._idle: list[ImageProcess] = []

    async def ask(self, file: BinaryIO, *, deadline: float, **question: object) -> tuple[bytes, bytes]:
        """Ask a process as soon as one is free.

        :param deadline: seconds for the answer, after which the process is killed.
        :raises Busy: none became free.
        :raises TimeoutError: the deadline has passed.
        :raises EOFError: the process has ended.
        """
        try:
            async with asyncio.timeout(WAIT):
                await self._slots.acquire()
        except TimeoutError:
            raise Busy from None
        try:
            return await self._ask(file, deadline, question)
        finally:
            self._slots.release()

    async def _ask(self, file: BinaryIO, deadline: float, question: dict[str, object]) -> tuple[bytes, bytes]:
        process = await self._process()
        try:
            file.seek(0)
            async with asyncio.timeout(deadline):
                answer = await process.ask(file, **question)
        except BaseException:  # a cancellation too: nobody awaits the answer
            process.kill()
            raise
        self._idle.append(process)
        return answer

    async def _process(self) -> ImageProcess:
        while self._idle:
            process = self._idle.pop()
            if process.is_alive:
                return process
            process.kill()
        process = ImageProcess(self._memory)
        try:
            async with asyncio.timeout(_START):
                await process.ready()
        except BaseException as error:
            process.kill()
            if isinstance(error, TimeoutError | EOFError):
                log.error("The Kling gallery cannot start %s.", image_process.__name__)
                raise Busy from None
            raise
        return process

    def close(self) -> None:
        """End the idle processes."""
        while self._idle:
            self._idle.pop().kill()


class ImagePool:
    """The processes of one API server process; they start with the first image."""

    def __init__(self) -> None:
        self._small = _Lane(SMALL_ONES, SMALL_MEMORY)
        self._large = _Lane(1, LARGE_MEMORY)

    async def ask(self, file: BinaryIO, *, size: str, max_pixels: int) -> bytes:
        """Verify an image, and scale it.

        :param file: with a descriptor.
        :param size: ``thumb`` or ``large``, or ``original`` which only verifies.
        :return: a WebP, or content type and extension in JSON.
        :raises NotShown: it is no whole image, or too hard to decode; it is so at each attempt.
        :raises Busy: too many images wait.
        """
        question = {"size": size, "max_pixels": max_pixels}
        try:
            try:
                kind, content = await self._small.ask(file, deadline=QUICK, may_be_large=False, **question)
            except TimeoutError:
                kind, content = LARGE, b""
            if kind == LARGE:
                kind, content = await self._large.ask(file, deadline=DEADLINE, may_be_large=True, **question)
        except TimeoutError:
            raise NotShown(f"The image takes longer than {DEADLINE:.0f} s to decode.") from None
        except EOFError:
            raise NotShown("The image cannot be decoded: the process that tried it has ended.") from None
        if kind != DONE:
            raise NotShown(content.decode())
        return content

    def close(self) -> None:
        """End the idle processes."""
        self._small.close()
        self._large.close()
