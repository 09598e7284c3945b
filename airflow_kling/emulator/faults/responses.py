"""Sends answers that a good server never sends: dropped, cut, endless, slow, or far too large."""

from __future__ import annotations

import asyncio
import functools
import struct
import zlib
from asyncio import Transport

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

_CHUNK = b"\x00" * 65536


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _transport(scope: Scope) -> Transport:
    transport: Transport = scope["state"]["transport"]
    return transport


class Drop(Response):
    """The TCP connection is closed without any answer."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Close, and wait for the server to notice it."""
        # If this returned at once, the server would answer in its place.
        _transport(scope).abort()
        await _disconnect(receive)


class Truncated(Response):
    """All headers and a part of the body are sent, then the connection is closed.

    :param whole: the answer to cut
    :param size: bytes of the body to send; None for half of it
    """

    def __init__(self, whole: Response, size: int | None) -> None:
        super().__init__(whole.body, whole.status_code)
        self.raw_headers = whole.raw_headers
        self._size = len(whole.body) // 2 if size is None else size

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the part and close."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": bytes(self.body[: self._size]), "more_body": True})
        _transport(scope).close()
        await _disconnect(receive)


class Endless(Response):
    """A chunked body that goes on until the client hangs up."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the client is gone."""
        headers = [(b"content-type", (self.media_type or "image/png").encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        gone = asyncio.ensure_future(_disconnect(receive))
        try:
            while not gone.done():
                await send({"type": "http.response.body", "body": _CHUNK, "more_body": True})
                # Gives the loop to other requests, and to the one that notices the end.
                await asyncio.sleep(0)
        finally:
            gone.cancel()


class Slow(Response):
    """A body that arrives slowly, in small parts.

    :param whole: the answer to slow down
    :param seconds: how long the whole of it takes
    """

    _PARTS = 50

    def __init__(self, whole: Response, seconds: float) -> None:
        super().__init__(whole.body, whole.status_code)
        self.raw_headers = whole.raw_headers
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the body in small parts."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        step = max(1, -(-len(self.body) // self._PARTS))
        for start in range(0, len(self.body), step):
            await asyncio.sleep(self._seconds / self._PARTS)
            await send(
                {"type": "http.response.body", "body": bytes(self.body[start : start + step]), "more_body": True}
            )
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


# A large one takes seconds to make.
@functools.lru_cache(maxsize=4)
def bomb(side: int) -> bytes:
    """A valid PNG of ``side`` x ``side`` black pixels, one bit each: a small file, huge when decoded."""
    # Row by row: the whole picture would need the memory that it is made to fill.
    packer = zlib.compressobj(9)
    row = bytes(1 + (side + 7) // 8)
    data = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    parts = (_png_chunk(b"IHDR", header), _png_chunk(b"IDAT", data), _png_chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)
