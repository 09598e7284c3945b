"""Receives callbacks: an ASGI app that checks the token, notes the Kling task id, and does nothing else.

Nobody logs in. Whatever is not a callback with a genuine token gets the same answer, 404.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from airflow_kling.api.callbacks import is_genuine
from airflow_kling.plugins.callbacks import body as bodies
from airflow_kling.plugins.callbacks.body import Receive, find_task_id, read_body
from airflow_kling.plugins.callbacks.rate_limit import RateLimit
from airflow_kling.plugins.callbacks.receivers import Find, Receiver
from airflow_kling.submission.callback_notes import write_note

log = logging.getLogger(__name__)

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

OK, NOT_FOUND, TOO_MANY, UNAVAILABLE = 200, 404, 429, 503
_TEXTS = {OK: b"", NOT_FOUND: b"Not Found", TOO_MANY: b"Too Many Requests", UNAVAILABLE: b"Service Unavailable"}
STORAGE_SECONDS = 20.0
_STORAGE_THREADS = 8
_NOBODY = "a secret that signs nothing"


class CallbackApp:
    """The receiver of ``POST <anything>/<name>/<token>``.

    :param find: the receiver for the last part of ``<anything>``.
    :param body_seconds: for a whole body.
    :param clock: seconds of a clock that never goes back.
    """

    def __init__(
        self,
        find: Find,
        *,
        limit: RateLimit | None = None,
        body_seconds: float = bodies.SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._find = find
        self._limit = limit or RateLimit()
        self._body_seconds = body_seconds
        self._clock = clock
        # Threads of its own: a storage that hangs must not take those of Airflow's API server.
        self._threads = ThreadPoolExecutor(_STORAGE_THREADS, thread_name_prefix="kling-callbacks")
        # Two callbacks of one task at once would both find no note.
        self._locks = [asyncio.Lock() for _ in range(4 * _STORAGE_THREADS)]

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer a request, as ASGI says."""
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close"})
        else:
            await _answer(send, *await self._take(scope, receive))

    async def _take(self, scope: MutableMapping[str, Any], receive: Receive) -> tuple[int, bool]:
        """Return the status, and whether the connection ends with it, because of a body that was not read."""
        name, receiver = await self._check(scope)
        if receiver is None:
            return NOT_FOUND, False
        if not self._limit.allow(name, self._clock()):
            return TOO_MANY, False
        body = await read_body(receive, seconds=self._body_seconds)
        if body is None:
            return NOT_FOUND, True
        kling_task_id = find_task_id(body)
        if kling_task_id is None or not receiver.is_signed(body, _headers(scope)):
            return NOT_FOUND, False
        return await self._note(receiver, name, kling_task_id), False

    async def _check(self, scope: MutableMapping[str, Any]) -> tuple[str, Receiver | None]:
        """Return the name, and the receiver if it is a POST with a genuine token."""
        place, name, token = f"//{scope['path']}".rsplit("/", 2)
        receiver = await self._find(place.rpartition("/")[2])
        # The work is the same where there is no receiver.
        genuine = is_genuine(receiver.secret if receiver else _NOBODY, name, token)
        return name, receiver if genuine and scope["method"] == "POST" else None

    async def _note(self, receiver: Receiver, name: str, kling_task_id: str) -> int:
        write = functools.partial(write_note, receiver.store, name, kling_task_id)
        try:
            async with asyncio.timeout(STORAGE_SECONDS), self._locks[hash(name) % len(self._locks)]:
                noted = await asyncio.get_running_loop().run_in_executor(self._threads, write)
        except Exception:
            log.exception("The callback for %s, Kling task %s, is not noted.", name, kling_task_id)
            return UNAVAILABLE
        if noted != kling_task_id:
            _warn_of_another(name, noted, kling_task_id)
        return OK


@functools.lru_cache(maxsize=1024)
def _warn_of_another(name: str, noted: str, kling_task_id: str) -> None:
    """Log it once: who has the URL may call as often as they like."""
    log.warning("A callback for %s names Kling task %s; the first one, %s, stays.", name, kling_task_id, noted)


def _headers(scope: MutableMapping[str, Any]) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


async def _answer(send: Send, status: int, closes: bool) -> None:
    text = _TEXTS[status]
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(text)).encode())]
    if closes:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text})


async def _live(receive: Receive, send: Send) -> None:
    """There is nothing to start and nothing to end."""
    while True:
        event = (await receive())["type"].rpartition(".")[2]
        await send({"type": f"lifespan.{event}.complete"})
        if event == "shutdown":
            return
