"""Decides which bytes of a file a request with a ``Range`` header gets (RFC 9110, 14.2). Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

_ONE_RANGE = re.compile(r"bytes=([0-9]{0,30})-([0-9]{0,30})")


class Span(NamedTuple):
    """Some bytes of a file in a row, the first and the last included."""

    first: int
    last: int

    @property
    def length(self) -> int:
        """Number of bytes."""
        return self.last - self.first + 1


class NotSatisfiable(Exception):
    """The file has no byte of the range."""


def read_range(header: str | None, size: int) -> Span | None:
    """Return the bytes that a ``Range`` header asks for; None for the whole file.

    A header that is none, or asks for several ranges, is left out of account: the standard allows that.

    :param size: bytes of the file, more than 0.
    :raises NotSatisfiable: the range begins behind the end, or is the last 0 bytes.
    """
    found = _ONE_RANGE.fullmatch((header or "").strip())
    if found is None or found.group() == "bytes=-":
        return None
    first, last = found.groups()
    span = Span(int(first), min(int(last or size), size - 1)) if first else Span(max(0, size - int(last)), size - 1)
    if first and last and int(last) < int(first):
        return None
    if span.first >= size:
        raise NotSatisfiable
    return span
