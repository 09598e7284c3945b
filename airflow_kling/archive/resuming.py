"""Goes on with a transfer that has broken off, by a request for the rest of the same file (RFC 9110, section 14)."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Final

import httpcore

from airflow_kling.archive.deadline import Deadline

log = logging.getLogger(__name__)

Headers = list[tuple[bytes, bytes]]
#: Sends the request again, with more headers.
Ask = Callable[[Headers], AbstractContextManager[httpcore.Response]]

#: Requests in a row that bring less than :data:`PROGRESS` bytes, before the transfer is given up.
TRIES: Final = 4
PROGRESS: Final = 64 * 1024
_BROKEN_OFF = (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException)
_MAY_PASS = frozenset({408, 425, 429, 500, 502, 503, 504})
_ANEW = frozenset({200, 206, 412, 416})  # the file is another one, or the server knows no ranges
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


class StartAnew(Exception):
    """The rest that is there does not belong to what has arrived."""


class NoRest(Exception):
    """The server refuses the rest.

    :param status: of its answer.
    """

    def __init__(self, status: int) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status


class _TryAgain(httpcore.NetworkError):
    """The server cannot answer now."""


@dataclass(frozen=True)
class _File:
    """The file that an answer is the whole of.

    :param validator: its strong ETag, else its Last-Modified: what tells it from another one at the same URL.
    """

    size: int
    validator: str

    @classmethod
    def of(cls, response: httpcore.Response) -> _File | None:
        """Read the headers of a 200; None where the rest could not be asked for, or not be told from another file's."""
        length, etag = header(response, b"content-length"), header(response, b"etag")
        validator = etag if etag.startswith('"') else header(response, b"last-modified")
        plain = header(response, b"content-encoding").lower() in ("", "identity")
        ranges = header(response, b"accept-ranges").lower() != "none"
        return cls(int(length), validator) if plain and ranges and validator and length.isdecimal() else None

    def rest(self, received: int) -> Headers:
        """Return the headers that ask for the rest."""
        return [(b"Range", b"bytes=%d-" % received), (b"If-Range", self.validator.encode("latin-1"))]

    def check(self, response: httpcore.Response, received: int) -> None:
        """Check that an answer is exactly the rest of this file."""
        if response.status in _MAY_PASS:
            raise _TryAgain(f"HTTP {response.status}")
        if response.status not in _ANEW:
            raise NoRest(response.status)
        found = _RANGE.fullmatch(header(response, b"content-range"))
        expected = (received, self.size - 1, self.size)
        etag = header(response, b"etag")
        same = not etag or not self.validator.startswith('"') or etag == self.validator
        if (
            response.status != 206
            or found is None
            or tuple(map(int, found.groups())) != expected
            or not same
            or header(response, b"content-encoding").lower() not in ("", "identity")
        ):
            raise StartAnew(f"HTTP {response.status}")


def stream(
    response: httpcore.Response, ask: Ask, *, deadline: Deadline, sleep: Callable[[float], None]
) -> Iterator[bytes]:
    """Yield the body of an answer; where it breaks off, ask for the rest, as long as that brings more.

    :param response: a 200.
    :param deadline: put off by every byte.
    :raises httpcore.NetworkError: and its other errors: it has broken off, and there is no going on.
    :raises StartAnew: the rest is that of another file.
    :raises NoRest: the server refuses it, such as with 403 where the URL has expired meanwhile.
    """
    file, received, idle = _File.of(response), 0, 0
    answer: AbstractContextManager[httpcore.Response] = nullcontext(response)
    while True:
        before = received
        try:
            with answer as current:
                if file is not None and current is not response:
                    file.check(current, received)
                for piece in current.iter_stream():
                    received += len(piece)
                    deadline.put_off(len(piece))
                    yield piece
            if file is None or received == file.size:
                return
            raise httpcore.RemoteProtocolError(f"{received} of {file.size} bytes have arrived")
        except _BROKEN_OFF as error:
            idle = 0 if received - before >= PROGRESS else idle + 1
            if file is None or not 0 < received < file.size or idle > TRIES or deadline.left() <= 0:
                raise
            log.info("A download has broken off after %d of %d bytes (%s); going on", received, file.size, error)
        if idle > 1:
            sleep(2.0 ** (idle - 2))
        answer = ask(file.rest(received))


def header(response: httpcore.Response, name: bytes) -> str:
    """Return a header of an answer, empty where there is none."""
    return raw_header(response, name).decode("latin-1")


def raw_header(response: httpcore.Response, name: bytes) -> bytes:
    """Return the bytes of a header of an answer; of several lines, joined as HTTP has it."""
    return b", ".join(value for key, value in response.headers if key.lower() == name).strip()
