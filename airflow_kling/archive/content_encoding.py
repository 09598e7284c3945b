"""Undoes the ``Content-Encoding`` of an answer, as far as it has one.

None was asked for. Servers name one all the same: gzip or deflate that is there, and words that mean nothing
(``aws-chunked``, ``utf-8``, ``binary``, ``none``). The bytes are looked at, and not the word alone. What cannot be
decoded is left as it is: whether it is an image is decided by who reads it.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from airflow_kling.media.kinds import HEAD_BYTES, find_type

MAX_LAYERS = 4  # nobody packs anything oftener
_DECODED = frozenset({"gzip", "x-gzip", "deflate"})
_PIECE = 64 * 1024  # bytes that one step of a bomb becomes


class BadEncoding(Exception):
    """Bytes that began as an encoding do not go on as one."""


def decode(pieces: Iterator[bytes], content_encoding: str) -> Iterator[bytes]:
    """Yield the decoded body piece by piece, in constant memory.

    :param pieces: of the body as it came.
    :param content_encoding: the header; the encodings in the order in which they were applied.
    :raises BadEncoding: it is damaged, or packed too often.
    """
    layers = [name for token in content_encoding.split(",") if (name := token.strip(' \t"').lower()) in _DECODED]
    if len(layers) > MAX_LAYERS:
        raise BadEncoding(f"it is encoded {len(layers)} times")
    for name in reversed(layers):
        pieces = _undo(name, pieces)
    return pieces


def _undo(name: str, pieces: Iterator[bytes]) -> Iterator[bytes]:
    head = b""
    for piece in pieces:
        head += piece
        if len(head) >= HEAD_BYTES:
            break
    window_bits = _window_bits(name, head)
    if window_bits is None:
        yield head
        yield from pieces
        return
    inflate = _Inflate(window_bits)
    yield from inflate.feed(head)
    for piece in pieces:
        yield from inflate.feed(piece)


def _window_bits(name: str, head: bytes) -> int | None:
    """Return what zlib calls the format of the data; None where they are not encoded at all."""
    if head.startswith(b"\x1f\x8b"):
        return 31
    if name != "deflate" or not head or find_type(head) is not None:
        return None
    has_header = head[0] & 15 == 8 and int.from_bytes(head[:2], "big") % 31 == 0
    return 15 if has_header else -15  # "deflate" without the header of zlib is as common


class _Inflate:
    """Inflates one stream after another, as gzip allows it; what follows the last one is dropped."""

    def __init__(self, window_bits: int) -> None:
        self._window_bits = window_bits
        self._stream = zlib.decompressobj(window_bits)

    def feed(self, piece: bytes) -> Iterator[bytes]:
        while piece:
            if self._stream.eof:
                if self._window_bits != 31 or not piece.startswith(b"\x1f\x8b"):
                    return
                self._stream = zlib.decompressobj(self._window_bits)
            try:
                data = self._stream.decompress(piece, _PIECE)
            except zlib.error as error:
                raise BadEncoding(f"its compression is damaged ({error})") from error
            piece = self._stream.unused_data if self._stream.eof else self._stream.unconsumed_tail
            if data:
                yield data
