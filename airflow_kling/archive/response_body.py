"""Makes the body of an answer a file, so that it can be checked while it arrives."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from typing import BinaryIO


class BodyTooLarge(Exception):
    """The body has more bytes than the limit."""


class ResponseBody(io.RawIOBase):
    """The body of an answer as a file: what is read for the first time comes from the network into ``target``.

    :param pieces: of the body, decoded; it raises when the body ends before it should.
    :param max_bytes: how many there may be.
    :ivar sha256: of what has arrived.
    """

    def __init__(self, pieces: Iterator[bytes], target: BinaryIO, max_bytes: int) -> None:
        self.sha256 = hashlib.sha256()
        self._pieces = pieces
        self._target = target
        self._max_bytes = max_bytes
        self._size = 0
        self._position = 0
        self._at_end = False  # of the target: most of a body arrives without a read in between

    def read(self, size: int = -1, /) -> bytes:
        """Read as a regular file does: less than ``size`` only at the end."""
        while size < 0 or self._size < self._position + size:
            if not self._receive():
                break
        self._target.seek(self._position)
        self._at_end = False
        data = self._target.read(size)
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move to a position; the end is known once everything has arrived."""
        if whence == io.SEEK_END:
            while self._receive():
                pass
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = start + offset
        return self._position

    def readable(self) -> bool:
        """Tell PyAV that this can be read."""
        return True

    def seekable(self) -> bool:
        """Tell PyAV that this can be read anywhere."""
        return True

    def tell(self) -> int:
        """Return where the next read begins."""
        return self._position

    def _receive(self) -> bool:
        piece = next(self._pieces, None)
        if piece is None:
            return False
        self._size += len(piece)
        if self._size > self._max_bytes:
            raise BodyTooLarge
        self.sha256.update(piece)
        if not self._at_end:
            self._target.seek(0, io.SEEK_END)
            self._at_end = True
        self._target.write(piece)
        return True


def limited(pieces: Iterator[bytes], max_bytes: int) -> Iterator[bytes]:
    """Yield what comes, up to a number of bytes.

    :raises BodyTooLarge: there are more.
    """
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > max_bytes:
            raise BodyTooLarge
        yield piece
