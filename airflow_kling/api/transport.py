"""Sends a request over HTTP and reads the answer to its end, within limits of size and time: what workers use.

An answer is read in pieces, so that one without an end costs neither memory nor time.
"""

from __future__ import annotations

import ssl
import time
from base64 import b64encode
from collections.abc import Callable, Iterable
from contextlib import closing
from functools import lru_cache
from typing import NamedTuple
from urllib.request import getproxies, proxy_bypass

import httpx

from airflow_kling.api.auth import KlingAuth
from airflow_kling.api.error_table import TRY_LATER
from airflow_kling.exceptions import KlingConnectionError, KlingError, KlingServerError

DEFAULT_TIMEOUT = 60.0  # seconds to connect, and between two pieces of an answer
WHOLE_ANSWER = 120.0  # seconds: one that trickles in must not hold a slot of the event loop, or a worker, for ever
CONNECTIONS = 50  # more than are ever asked for at once
KEEPALIVE = 90.0  # seconds; polls lie further apart than httpx's 5 s, and a new handshake costs more than a socket

# These are raised before a byte of the request can have reached the API (a failed TLS handshake is a ConnectError).
_NEVER_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,  # the proxy made no tunnel
    httpx.UnsupportedProtocol,
)


@lru_cache(maxsize=1)
def shared_ssl_context() -> ssl.SSLContext:
    """Return the TLS context of the process. The first call blocks for ~50 ms: an event loop makes it in a thread."""
    return httpx.create_ssl_context()


class Answer(NamedTuple):
    """One answer, read to its end and decoded."""

    status: int
    headers: Iterable[tuple[bytes, bytes]]
    content: bytes

    def as_response(self) -> httpx.Response:
        """Return it as :mod:`airflow_kling.api.protocol` reads it."""
        headers = [(name, value) for name, value in self.headers if name.lower() != b"content-encoding"]
        return httpx.Response(self.status, headers=headers, content=self.content)


class Transport:
    """Sends signed requests, blocking.

    :param base_url: scheme and host, for errors.
    :param timeout: seconds to connect, and between two pieces of an answer.
    :param ssl_context: that of the process when None.
    :param clock: epoch seconds.
    """

    def __init__(
        self,
        auth: KlingAuth,
        base_url: str,
        *,
        timeout: float,
        ssl_context: ssl.SSLContext | None,
        clock: Callable[[], float],
    ) -> None:
        self._auth = auth
        self._base_url = base_url
        self._timeout = timeout
        self._clock = clock
        self._http = httpx.Client(
            timeout=timeout,
            verify=ssl_context or shared_ssl_context(),
            limits=httpx.Limits(max_connections=CONNECTIONS, keepalive_expiry=KEEPALIVE),
        )

    def send(self, request: httpx.Request, *, limit: int, kling_task_id: str | None, deadline: float) -> Answer:
        """Send a request; once more with a new token where the API calls the old one out of time.

        :param limit: bytes, decoded, that the answer may have.
        :param kling_task_id: the task that is asked for, None for a create; for errors.
        :param deadline: epoch seconds.
        :raises KlingConnectionError: no complete answer came.
        :raises KlingServerError: the answer is over the limit.
        """
        answer = self._send(request, limit, kling_task_id, deadline)
        if self._auth.renewed_after(answer.status, answer.content):
            answer = self._send(request, limit, kling_task_id, deadline)
        return answer

    def _send(self, request: httpx.Request, limit: int, kling_task_id: str | None, deadline: float) -> Answer:
        request.headers["Authorization"] = self._auth.authorization()
        try:
            with closing(self._http.send(request, stream=True)) as answer:
                content = self._content(answer, limit, kling_task_id, deadline)
                return Answer(answer.status_code, answer.headers.raw, content)
        except KlingError:
            raise
        except Exception as error:  # also what httpx lets through as it came, such as a Location that is no ASCII
            sent = not isinstance(error, _NEVER_SENT)
            raise no_answer(self._base_url, error, _details(error), sent=sent, kling_task_id=kling_task_id) from None

    def _content(self, answer: httpx.Response, limit: int, kling_task_id: str | None, deadline: float) -> bytes:
        """Read the whole of an answer until the deadline; a try has its timeout in any case."""
        end = time.monotonic() + max(self._timeout, min(WHOLE_ANSWER, deadline - self._clock()))
        content = bytearray()
        for piece in answer.iter_bytes():
            if len(content) + len(piece) > limit:
                raise too_long(answer.status_code, limit, kling_task_id)
            if time.monotonic() > end:
                raise httpx.ReadTimeout("the answer trickles in")
            content += piece
        return bytes(content)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


def _details(error: Exception) -> str:
    """Say what happened, for errors that quote no secret: a LocalProtocolError quotes the header that it refuses."""
    if isinstance(error, httpx.LocalProtocolError):
        return ""
    return str(error) if isinstance(error, httpx.RequestError | OSError) else ""


def no_answer(
    base_url: str, error: Exception, details: str, *, sent: bool, kling_task_id: str | None
) -> KlingConnectionError:
    """Make the exception for a request that was not answered.

    :param error: what the HTTP library raised; one that it does not document proves nothing about the request.
    :param details: its text, where it is known to quote no secret.
    :param sent: whether the API may have seen the request.
    :param kling_task_id: the task that was asked for, None for a create.
    """
    return KlingConnectionError(
        f"No answer from Kling at {base_url} ({type(error).__name__}: {details or 'no details'}); "
        + ("the request may have arrived." if sent else "the request was not sent."),
        request_sent=sent,
        kling_task_id=kling_task_id,
    )


def too_long(status: int, limit: int, kling_task_id: str | None) -> KlingServerError:
    """Make the exception for an answer of more bytes than any of the API has."""
    task = f" for task {kling_task_id}" if kling_task_id else ""
    return KlingServerError(
        f"Kling answered{task} with more than {limit} bytes (HTTP {status}); {TRY_LATER}.",
        http_status=status,
        kling_task_id=kling_task_id,
    )


def proxy_for(base_url: str) -> tuple[str | None, dict[str, str]]:
    """Find the proxy that the environment names for a host, as httpx would, and the header that opens it.

    They are apart because aiohttp's errors quote the URL.
    """
    url = httpx.URL(base_url)
    proxies = {} if proxy_bypass(url.host) else getproxies()
    if not (named := proxies.get(url.scheme) or proxies.get("all")):
        return None, {}
    proxy = httpx.Proxy(named if "://" in named else f"http://{named}")
    if not proxy.raw_auth:
        return str(proxy.url), {}
    return str(proxy.url), {"Proxy-Authorization": f"Basic {b64encode(b':'.join(proxy.raw_auth)).decode()}"}
