"""Downloads a result from a URL that somebody else wrote into a file, in constant memory.

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
from airflow_kling.archive import resuming
from airflow_kling.archive.connection import Connections, FindProxy
from airflow_kling.archive.content_encoding import BadEncoding, decode
from airflow_kling.archive.deadline import Deadline
from airflow_kling.archive.limits import LIMITS, DownloadLimits
from airflow_kling.archive.network_guard import AddressRefused, NetworkGuard, Resolver, resolve
from airflow_kling.archive.redirects import BadURL, read_url, redirect_target
from airflow_kling.archive.response_body import BodyTooLarge, ResponseBody, limited
from airflow_kling.archive.resuming import Headers, header, raw_header
from airflow_kling.exceptions import KlingDownloadError, KlingImageError
from airflow_kling.media.kinds import EXTENSIONS, FILE_TYPES, SAMPLE_BYTES, is_text
from airflow_kling.media.probe import MediaInfo, probe

log = logging.getLogger(__name__)

#: How the hosts of result URLs answer when a URL has expired or its result was cleared; a fresh URL may work.
EXPIRED_STATUSES: Final = frozenset({401, 403, 404, 410})


class _QueryFilter(logging.Filter):
    """Removes the queries of URLs: httpcore logs the headers of an answer, and a Location may hold a signature."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = _QUERY.sub("?...", record.getMessage()), ()
        return True


_QUERY = re.compile(r"\?[^\s'\"<>]+")
logging.getLogger("httpcore.http11").addFilter(_QueryFilter())

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_RESTARTS = 2  # of a transfer whose file has changed, or that cannot be resumed
_HEADERS = [(b"Accept-Encoding", b"identity"), (b"User-Agent", b"airflow-provider-kling")]


@dataclass(frozen=True)
class Download:
    """A whole result in the target file.

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
    kind: str = "image",
    *,
    limits: DownloadLimits | None = None,
    allow_private_hosts: bool = False,
    trusted_networks: tuple[IPv4Network | IPv6Network, ...] = (),
    find_proxy: FindProxy = lambda url: None,
    ssl_context: ssl.SSLContext | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    resolver: Resolver = resolve,
) -> Download:
    """Fetch an image or a video into ``target`` and prove that it is whole.

    A transfer that breaks off is gone on with, where the server tells the file from another one at the same URL.

    :param url: an https URL; http only with ``allow_private_hosts``.
    :param target: a seekable file; emptied first, at its start afterwards.
    :param kind: what it should be, as :class:`airflow_kling.api.tasks.Result` names it.
    :param limits: those of :data:`LIMITS` for the kind when not given.
    :param allow_private_hosts: allow http and hosts whose addresses are not public.
    :param trusted_networks: networks whose addresses are allowed beside the public ones.
    :param find_proxy: returns the proxy for a URL, None where it is asked directly.
    :param ssl_context: for all connections; that of the process when not given.
    :raises KlingDownloadError: not fetched; ``http_status`` in :data:`EXPIRED_STATUSES` asks for a fresh URL.
    :raises KlingImageError: fetched, but not a whole file of the kind within the limits.
    """
    limits = limits or LIMITS.get(kind, LIMITS["video"])
    connections = Connections(
        guard=NetworkGuard(trusted_networks, allow_private_hosts, resolver),
        find_proxy=find_proxy,
        ssl_context=ssl_context,
        deadline=Deadline(limits.total_timeout, bytes_per_second=limits.min_bytes_per_second, clock=clock),
    )
    fetch = _Fetch(connections, url, kind, limits, allow_private_hosts, sleep)
    for left in reversed(range(_RESTARTS + 1)):
        try:
            return fetch.into(target)
        except _Restart as error:
            if not left:
                raise
            log.info("%s Starting anew.", error)
    raise AssertionError("unreachable")


class _Restart(KlingDownloadError):
    """The file has changed while it was fetched. A Kling error, so that it passes through Pillow."""


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


@dataclass(frozen=True)
class _Fetch:
    """One URL to be fetched."""

    connections: Connections
    url: str
    kind: str
    limits: DownloadLimits
    allow_http: bool
    sleep: Callable[[float], None]

    def into(self, target: BinaryIO) -> Download:
        """Send the first request, and whatever it needs."""
        target.seek(0)
        target.truncate()
        with _errors_of(self.url), self._ask([]) as (response, url):
            return self._receive(response, url, target)

    @contextmanager
    def _ask(self, more: Headers) -> Iterator[tuple[httpcore.Response, str]]:
        """Follow redirects by hand: each is a new request with the same guards, which carries nothing over."""
        limits = self.limits
        timeout = {"connect": limits.connect_timeout, "read": limits.read_timeout, "write": limits.read_timeout}
        headers = [(b"Accept", _accepted(self.kind)), *_HEADERS, *more]
        try:
            current = read_url(self.url, allow_http=self.allow_http)
        except BadURL as error:
            raise _refused(self.url, str(error)) from None
        for _ in range(limits.max_redirects + 1):
            with self.connections.get(current, headers, timeout) as response:
                if response.status not in _REDIRECTS:
                    yield response, str(current)
                    return
                current = _follow(response, current, self.allow_http)
        raise _refused(self.url, f"redirects more than {limits.max_redirects} times")

    @contextmanager
    def _ask_for_rest(self, more: Headers) -> Iterator[httpcore.Response]:
        with self._ask(more) as (response, _):
            yield response

    def _receive(self, response: httpcore.Response, url: str, target: BinaryIO) -> Download:
        """Copy the body into ``target`` and verify it while it arrives, so that the check adds no time."""
        shown, limits = redact_url(url), self.limits
        if response.status != 200:
            raise _bad_status(shown, response.status)
        declared = header(response, b"content-length")
        if declared and int(declared) > limits.max_bytes:
            raise _refused(url, f"has {int(declared)} bytes, over the limit of {limits.max_bytes}")
        with _errors_of_body(url, limits):
            pieces = decode(
                limited(self._stream(response, url), limits.max_bytes), header(response, b"content-encoding")
            )
            body = ResponseBody(pieces, target, limits.max_bytes)
            if not body.read(1):
                raise KlingImageError(f"{shown} answered with an empty body; try again.", url=shown, retryable=True)
            media = _probe(body, shown, self.kind, limits)
            size = body.seek(0, io.SEEK_END)
        target.seek(0)
        return Download(size, body.sha256.hexdigest(), media)

    def _stream(self, response: httpcore.Response, url: str) -> Iterator[bytes]:
        """Yield the body; httpcore raises when it ends before its Content-Length or its last chunk."""
        shown = redact_url(url)
        with _errors_of(url):
            try:
                yield from resuming.stream(
                    response, self._ask_for_rest, deadline=self.connections.deadline, sleep=self.sleep
                )
            except resuming.StartAnew as error:
                message = f"{shown} broke off, and the rest could not be had ({error}); try again."
                raise _Restart(message, url=shown, retryable=True) from None
            except resuming.NoRest as error:
                raise _bad_status(shown, error.status) from None


def _accepted(kind: str) -> bytes:
    return ", ".join(one.content_type for one in FILE_TYPES if one.kind == kind).encode() or b"*/*"


def _follow(response: httpcore.Response, current: httpx.URL, allow_http: bool) -> httpx.URL:
    location = raw_header(response, b"location")
    if not location:
        raise _refused(str(current), f"answered {response.status} without saying where to go")
    try:
        return redirect_target(location, current, allow_http=allow_http)
    except BadURL as error:
        raise _refused(str(current), str(error)) from None


def _bad_status(shown: str, status: int) -> KlingDownloadError:
    hint = "the URL has expired or was cleared" if status in EXPIRED_STATUSES else "try again later"
    return KlingDownloadError(f"{shown} answered HTTP {status}; {hint}.", url=shown, retryable=True, http_status=status)


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


def _probe(body: ResponseBody, shown: str, kind: str, limits: DownloadLimits) -> MediaInfo:
    """Verify the body; where that fails, fetch the rest of it all the same, so that nothing paid for is lost."""
    try:
        return probe(
            cast(BinaryIO, body), url=shown, kind=kind, max_pixels=limits.max_pixels, max_seconds=limits.max_seconds
        )
    except KlingImageError as error:
        body.seek(0)
        if kind not in EXTENSIONS or not is_text(body.read(SAMPLE_BYTES)):
            with suppress(KlingDownloadError, BodyTooLarge, BadEncoding):
                body.seek(0, io.SEEK_END)
                error.whole = True
        raise


def _refused(url: str, reason: str) -> KlingDownloadError:
    shown = redact_url(url)
    return KlingDownloadError(f"{shown} was not fetched: it {reason}.", url=shown, retryable=False)
