"""Reads a callback: its body within bounds, and the Kling task id in it, which is all that is taken from it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from airflow_kling.exceptions import KlingInputError
from airflow_kling.storage.keys import check_task_id

MAX_BYTES = 64 * 1024  # a callback with nine results has some 10 kB
SECONDS = 10.0
_DEPTH = 3  # CometAPI puts up to two envelopes around Kling's answers [C]; whether around callbacks too is unknown

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


async def read_body(receive: Receive, *, seconds: float = SECONDS) -> bytes | None:
    """Return the body; None where it is too large, takes too long or breaks off.

    :param receive: of ASGI.
    :param seconds: for the whole body, so that it cannot trickle.
    """
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    return None
                body += message.get("body", b"")
                if len(body) > MAX_BYTES:
                    return None
                if not message.get("more_body"):
                    return bytes(body)
    except TimeoutError:
        return None


def find_task_id(body: bytes) -> str | None:
    """Return the Kling task id that a callback names, None where it names none."""
    try:
        data: Any = json.loads(body)
    except (ValueError, RecursionError):  # text that is no UTF-8 is a ValueError too
        return None
    for _ in range(_DEPTH):
        if not isinstance(data, dict):
            return None
        if "task_id" in data:
            return _checked(data["task_id"])
        data = data.get("data")
    return None


def _checked(value: Any) -> str | None:
    try:
        return check_task_id(str(value) if type(value) is int else value)
    except (KlingInputError, ValueError):  # an int of thousands of digits has no text
        return None
