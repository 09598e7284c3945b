"""Downloads an image from a URL that somebody else wrote into a file, in constant memory.

httpcore and not httpx: it takes a network backend, which checks the addresses, and it adds nothing of its own: no
proxies of the environment unless asked for, no netrc, no cookies, no redirects, no decoding.
"""

from __future__ import annotations

import io
import logging
import re
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import BinaryIO, Final, cast

import httpcore
import httpx

from airflow_kling.api.redact import redact_url
from airflow_kling.api.transport import shared_ssl_context
from airflow_kling.archive.connection import Connections, FindProxy
from airflow_kling.archive.content_encoding import BadEncoding, decode
from airflow_kling.archive.network_guard import AddressRefused, NetworkGuard, Resolver, resolve
from airflow_kling.archive.redirects import BadURL, read_url, redirect_target
from airflow_kling.archive.response_body import BodyTooLarge, ResponseBody, limited
from airflow_kling.exceptions import KlingDownloadError, KlingImageError
from airflow_kling.media.kinds import FILE_TYPES, SAMPLE_BYTES, is_text
from airflow_kling.media.probe import MediaInfo, probe

#: How the hosts of result URLs answer when a URL has expired or its image was cleared; a fresh URL may work.
EXPIRED_STATUSES: Final = frozenset({401, 403, 404, 410})


class _QueryFilter(logging.Filter):
    """Removes the queries of URLs: httpcore logs the headers of an answer, and a Location may hold a signature."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = _QUERY.sub("?...", record.getMessage()), ()
        return True


_QUERY = re.compile(r"\?[^\s'\"<>]+")
logging.getLogger("httpcore.http11").addFilter(_QueryFilter())

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HEADERS = (
    (b"Accept", ", ".join(file_type.content_type for file_type in FILE_TYPES).encode()),
    (b"Accept-Encoding", b"identity"),
    (b"User-Agent", b"airflow-provider-kling"),
)


@dataclass(frozen=True)
class DownloadLimits:
    """Limits of one download. They are not the API's, which names none for results.

    :param max_bytes: size of the body in bytes.
    :param max_pixels: width x height; the largest images that Kling makes have some 16 million.
    :param total_timeout: seconds for everything after a name is resolved, redirects included.
    :param connect_timeout: seconds to connect, per address.
    :param read_timeout: seconds without a single byte.
    :param max_redirects: how many redirects are followed.
    """

    max_bytes: int = 64 * 1024 * 1024
    max_pixels: int = 80_000_000
    total_timeout: float = 120.0
    connect_timeout: float = 10.0
    read_timeout: float = 20.0
    max_redirects: int = 5


@dataclass(frozen=True)
class Download:
    """A whole image in the target file.

    :param bytes: size of the file in bytes.
    :param sha256: of the file, in hex.
    :param media: what it is.
    """

    bytes: int
    sha256: str
    media: MediaInfo


def download_result(
    url: str,
    target: BinaryIO,
    *,
    limits: DownloadLimits = DownloadLimits(),
    allow_private_hosts: bool = False,
    trusted_networks: tuple[IPv4Network | IPv6Network, ...] = (),
    find_proxy: FindProxy = lambda url: None,
    ssl_context: ssl.SSLContext | None = None,
    clock: Callable[[], float] = time.monotonic,
    resolver: Resolver = resolve,
) -> Download:
    """Fetch an image into ``target`` and prove that it is whole.

    :param url: an https URL; http only with ``allow_private_hosts``.
    :param target: a seekable file; emptied first, at its start afterwards.
    :param allow_private_hosts: allow http and hosts whose addresses are not public.
    :param trusted_networks: networks whose addresses are allowed beside the public ones.
    :param find_proxy: returns the proxy for a URL, None where it is asked directly.
    :param ssl_context: for all connections; that of the process when not given.
    :raises KlingDownloadError: not fetched; ``http_status`` in :data:`EXPIRED_STATUSES` asks for a fresh URL.
    :raises KlingImageError: fetched, but not a whole image within the limits.
    """
    target.seek(0)
    target.truncate()
    connections = Connections(
        guard=NetworkGuard(trusted_networks, allow_private_hosts, resolver),
        find_proxy=find_proxy,
        ssl_context=ssl_context or shared_ssl_context(),
        deadline=clock() + limits.total_timeout,
        clock=clock,
    )
    with _errors_of(url):
        return _fetch(connections, url, target, limits, allow_private_hosts)


@contextmanager
def _errors_of(url: str) -> Iterator[None]:
    """Turn what httpcore raises into :class:`KlingDownloadError`."""
    shown = redact_url(url)
    try:
        yield
    except AddressRefused as error:
        message = f"{shown} was not fetched: {error}."
        raise KlingDownloadError(message, url=shown, retryable=False) from None
    except httpcore.TimeoutException as error:
        message = f"{shown} was not fetched in time ({error or type(error).__name__}); try again."
        raise KlingDownloadError(message, url=shown, retryable=True) from error
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.ProxyError) as error:
        message = f"{shown} was not fetched whole ({error}); try again."
        raise KlingDownloadError(message, url=shown, retryable=True) from error


def _fetch(connections: Connections, url: str, target: BinaryIO, limits: DownloadLimits, allow_http: bool) -> Download:
    """Follow redirects by hand: each is a new request with the same guards, which carries nothing over."""
    timeout = {"connect": limits.connect_timeout, "read": limits.read_timeout, "write": limits.read_timeout}
    try:
        current = read_url(url, allow_http=allow_http)
    except BadURL as error:
        raise _refused(url, str(error)) from None
    for _ in range(limits.max_redirects + 1):
        with connections.get(current, list(_HEADERS), timeout) as response:
            if response.status not in _REDIRECTS:
                return _receive(response, str(current), target, limits)
            current = _follow(response, current, allow_http)
    raise _refused(url, f"redirects more than {limits.max_redirects} times")


def _follow(response: httpcore.Response, current: httpx.URL, allow_http: bool) -> httpx.URL:
    location = _raw_header(response, b"location")
    if not location:
        raise _refused(str(current), f"answered {response.status} without saying where to go")
    try:
        return redirect_target(location, current, allow_http=allow_http)
    except BadURL as error:
        raise _refused(str(current), str(error)) from None


def _receive(response: httpcore.Response, url: str, target: BinaryIO, limits: DownloadLimits) -> Download:
    """Copy the body into ``target`` and verify it while it arrives, so that the check adds no time."""
    shown = redact_url(url)
    if response.status != 200:
        hint = "the URL has expired or was cleared" if response.status in EXPIRED_STATUSES else "try again later"
        raise KlingDownloadError(
            f"{shown} answered HTTP {response.status}; {hint}.", url=shown, retryable=True, http_status=response.status
        )
    declared = _header(response, b"content-length")
    if declared and int(declared) > limits.max_bytes:
        raise _refused(url, f"has {int(declared)} bytes, over the limit of {limits.max_bytes}")
    with _errors_of_body(url, limits):
        pieces = decode(limited(_stream(response, url), limits.max_bytes), _header(response, b"content-encoding"))
        body = ResponseBody(pieces, target, limits.max_bytes)
        if not body.read(1):
            raise KlingImageError(f"{shown} answered with an empty body; try again.", url=shown, retryable=True)
        media = _probe(body, shown, limits)
        size = body.seek(0, io.SEEK_END)
    target.seek(0)
    return Download(size, body.sha256.hexdigest(), media)


def _stream(response: httpcore.Response, url: str) -> Iterator[bytes]:
    """Yield the body; httpcore raises when it ends before its Content-Length or its last chunk."""
    with _errors_of(url):
        yield from response.iter_stream()


@contextmanager
def _errors_of_body(url: str, limits: DownloadLimits) -> Iterator[None]:
    try:
        yield
    except BodyTooLarge:
        raise _refused(url, f"has more than the limit of {limits.max_bytes} bytes") from None
    except BadEncoding as error:
        shown = redact_url(url)
        message = f"{shown} was not fetched whole ({error}); try again."
        raise KlingDownloadError(message, url=shown, retryable=True) from error


def _probe(body: ResponseBody, shown: str, limits: DownloadLimits) -> MediaInfo:
    """Verify the body; where that fails, fetch the rest of it all the same, so that nothing paid for is lost."""
    try:
        return probe(cast(BinaryIO, body), url=shown, max_pixels=limits.max_pixels)
    except KlingImageError as error:
        body.seek(0)
        if not is_text(body.read(SAMPLE_BYTES)):
            with suppress(KlingDownloadError, BodyTooLarge, BadEncoding):
                body.seek(0, io.SEEK_END)
                error.whole = True
        raise


def _header(response: httpcore.Response, name: bytes) -> str:
    return _raw_header(response, name).decode("latin-1")


def _raw_header(response: httpcore.Response, name: bytes) -> bytes:
    return b", ".join(value for key, value in response.headers if key.lower() == name).strip()


def _refused(url: str, reason: str) -> KlingDownloadError:
    shown = redact_url(url)
    return KlingDownloadError(f"{shown} was not fetched: it {reason}.", url=shown, retryable=False)
