"""Runs the rows about downloads that need a DNS with wrong answers: below Airflow, against real servers on this host.

The servers stand in for public ones: 127.0.0.1 counts as public here, every other address as what it is.
"""

from __future__ import annotations

import functools
import http.server
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from unittest import mock

import trustme
from PIL import Image

from airflow_kling.archive import network_guard
from airflow_kling.archive.download import download_result
from airflow_kling.exceptions import KlingDownloadError

METADATA = "169.254.169.254"  # link-local: where clouds keep the credentials of a machine


@dataclass(frozen=True)
class DownloadOutcome:
    """What came of a row.

    :param end: in words.
    """

    name: str
    end: str
    deviations: tuple[str, ...]


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, context: ssl.SSLContext, location: Callable[[int], str | None]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.location = location
        self.asked = 0


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        self.server.asked += 1
        location = self.server.location(self.server.server_port)
        self.send_response(302 if location else 200)
        self.send_header(*(("Location", location) if location else ("Content-Length", str(len(PICTURE)))))
        self.end_headers()
        if not location:
            self.wfile.write(PICTURE)

    def log_message(self, *_: object) -> None:
        pass


def _picture() -> bytes:
    data = BytesIO()
    Image.new("RGB", (64, 64), "teal").save(data, "PNG")
    return data.getvalue()


PICTURE = _picture()


@contextmanager
def _serving(location: Callable[[int], str | None]) -> Iterator[tuple[_Server, ssl.SSLContext]]:
    authority = trustme.CA()
    theirs, ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("images.example").configure_cert(theirs)
    authority.configure_trust(ours)
    server = _Server(theirs, location)
    thread = threading.Thread(target=functools.partial(server.serve_forever, poll_interval=0.02), daemon=True)
    thread.start()
    try:
        yield server, ours
    finally:
        server.shutdown()
        server.server_close()


def _fetch(location: Callable[[int], str | None], *answers: str) -> tuple[bytes | str, int, list[str]]:
    """Download from a server whose name has one address after the other; the result, requests and unasked answers."""
    left, is_public = list(answers), network_guard.is_public
    target = BytesIO()
    with (
        _serving(location) as (server, trusted),
        mock.patch.object(network_guard, "is_public", lambda address: address == "127.0.0.1" or is_public(address)),
    ):
        url = f"https://images.example:{server.server_port}/0.png"
        try:
            download_result(url, target, ssl_context=trusted, resolver=lambda host, port: [left.pop(0)])
        except KlingDownloadError as error:
            return str(error), server.asked, left
        return target.getvalue(), server.asked, left


def dns_rebinding() -> DownloadOutcome:
    """The name has a public address when it is checked, and would have another one if it were asked again."""
    got, asked, left = _fetch(lambda port: None, "127.0.0.1", METADATA)
    good = got == PICTURE and asked == 1 and left == [METADATA]
    return _outcome("DNS rebinding", "the checked address is the one connected to; no second question", good, got)


def link_local_name() -> DownloadOutcome:
    """The name has a link-local address."""
    got, asked, _ = _fetch(lambda port: None, METADATA)
    return _outcome("name with a link-local address", "refused, nothing sent", METADATA in str(got) and not asked, got)


def redirect_to_a_link_local_name() -> DownloadOutcome:
    """The server sends the client on to a name, which has a link-local address by then."""
    got, asked, _ = _fetch(lambda port: f"https://images.example:{port}/again", "127.0.0.1", METADATA)
    good = METADATA in str(got) and asked == 1
    return _outcome("redirect to a name with a link-local address", "refused after one request", good, got)


def redirect_to_a_link_local_address() -> DownloadOutcome:
    """The server sends the client on to the address itself."""
    got, asked, _ = _fetch(lambda port: f"https://{METADATA}/latest", "127.0.0.1", METADATA)
    good = METADATA in str(got) and asked == 1
    return _outcome("redirect to a link-local address", "refused after one request", good, got)


ROWS = (dns_rebinding, link_local_name, redirect_to_a_link_local_name, redirect_to_a_link_local_address)


def _outcome(name: str, end: str, good: bool, got: bytes | str) -> DownloadOutcome:
    return DownloadOutcome(name, end, () if good else (f"instead: {got[:200]!r}",))
