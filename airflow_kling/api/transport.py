"""Sends a request over HTTP and reads the answer to its end, within limits of size and time: what workers use.

An answer is read in pieces, so that one without an end costs neither memory nor time.
"""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Callable
from contextlib import closing
from functools import lru_cache
from typing import Any

import httpx

from airflow_kling.api.answer import Answer
from airflow_kling.api.auth import KlingAuth
from airflow_kling.api.envelope import named_task
from airflow_kling.api.error_table import TRY_LATER
from airflow_kling.api.proxies import Proxy, proxy_for
from airflow_kling.exceptions import KlingConnectionError, KlingError, KlingInputError, KlingServerError

DEFAULT_TIMEOUT = 60.0  # seconds to connect, and between two pieces of an answer
WHOLE_ANSWER = 120.0  # seconds: one that trickles in must not hold a slot of the event loop, or a worker, for ever
CONNECTIONS = 50  # more than are ever asked for at once
PROXY_REFUSES = 407  # RFC 9110: only a proxy answers so, when it wants other credentials
KEEPALIVE = 90.0  # seconds; polls lie further apart than httpx's 5 s, and a new handshake costs more than a socket

_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE")  # the first two are read by httpx

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
    """Return the TLS context of the process. The first call blocks for ~50 ms: an event loop makes it in a thread.

    It trusts the certificates of ``SSL_CERT_FILE`` or ``SSL_CERT_DIR`` alone, where one is set; else those of certifi,
    and those of ``REQUESTS_CA_BUNDLE`` beside them.

    :raises KlingInputError: what one of them names cannot be read.
    """
    given = {name: path for name in _CERTIFICATES if (path := os.environ.get(name))}
    try:
        context = httpx.create_ssl_context()
        if bundle := given.get("REQUESTS_CA_BUNDLE") if len(given) == 1 else None:
            context.load_verify_locations(**{"capath" if os.path.isdir(bundle) else "cafile": bundle})
    except OSError as error:
        named = ", ".join(f"{name}={path}" for name, path in given.items())
        raise KlingInputError(
            f"The certificates that the environment names ({named}) cannot be read: {error}; nothing was sent."
        ) from None
    return context


def ssl_context_for(*urls: str) -> ssl.SSLContext:
    """Return the TLS context for requests to some addresses: that of the process, where one of them is encrypted.

    Else one that trusts nobody, which is made in no time.
    """
    if any(url.lower().startswith("https:") for url in urls):
        return shared_ssl_context()
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class Transport:
    """Sends signed requests, blocking.

    :param base_url: scheme and host, for errors.
    :param timeout: seconds to connect, and between two pieces of an answer.
    :param ssl_context: that of :func:`ssl_context_for` when None.
    :param proxy: the environment's for the base URL when None.
    :param clock: epoch seconds.
    """

    def __init__(
        self,
        auth: KlingAuth,
        base_url: str,
        *,
        timeout: float,
        ssl_context: ssl.SSLContext | None,
        proxy: Proxy | None,
        clock: Callable[[], float],
    ) -> None:
        self._auth = auth
        self._base_url = base_url
        self._timeout = timeout
        self._proxy = proxy or proxy_for(base_url, os.environ)
        self._clock = clock
        context = ssl_context or ssl_context_for(base_url, self._proxy.url if self._proxy else "")
        self._http = httpx.Client(
            timeout=timeout,
            verify=context,
            proxy=_as_httpx(self._proxy, context) if self._proxy else None,
            trust_env=False,
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
        if self._auth.renewed_after(answer):
            answer = self._send(request, limit, kling_task_id, deadline)
        return answer

    def _send(self, request: httpx.Request, limit: int, kling_task_id: str | None, deadline: float) -> Answer:
        request.headers["Authorization"] = self._auth.authorization()
        tunnel = _Tunnel()
        request.extensions["trace"] = tunnel.trace
        content = bytearray()
        try:
            with closing(self._http.send(request, stream=True)) as answer:
                if self._proxy and answer.status_code == PROXY_REFUSES:
                    raise httpx.ProxyError(f"{answer.status_code} {answer.reason_phrase}")
                self._read(answer, content, limit, kling_task_id, deadline)
                return Answer(answer.status_code, answer.headers.raw, bytes(content))
        except KlingError:
            raise
        except Exception as error:  # also what httpx lets through as it came, such as a Location that is no ASCII
            sent = not isinstance(error, _NEVER_SENT) and not tunnel.opening
            task_id = kling_task_id or named_task(None, bytes(content))  # the answer may have broken off behind it
            raise no_answer(
                self._base_url, error, _details(error), proxy=self._proxy, sent=sent, kling_task_id=task_id
            ) from None

    def _read(
        self, answer: httpx.Response, content: bytearray, limit: int, kling_task_id: str | None, deadline: float
    ) -> None:
        """Read the whole of an answer until the deadline; a try has its timeout in any case."""
        end = time.monotonic() + max(self._timeout, min(WHOLE_ANSWER, deadline - self._clock()))
        for piece in answer.iter_bytes():
            if len(content) + len(piece) > limit:
                raise too_long(self._base_url, answer.status_code, limit, kling_task_id)
            if time.monotonic() > end:
                raise httpx.ReadTimeout("the answer trickles in")
            content += piece

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


class _Tunnel:
    """Sees whether a proxy is still asked for a tunnel: whatever fails then, the request itself was not sent."""

    opening = False

    def trace(self, event: str, info: dict[str, Any]) -> None:
        """Take an event of httpcore."""
        if event == "http11.send_request_headers.started":
            self.opening = info["request"].method == b"CONNECT"


def _as_httpx(proxy: Proxy, context: ssl.SSLContext) -> httpx.Proxy:
    own_context = context if proxy.url.startswith("https:") else None  # httpx has no CA of the environment for it
    return httpx.Proxy(proxy.url, ssl_context=own_context, headers=proxy.headers)


def _details(error: Exception) -> str:
    """Say what happened, for errors that quote no secret: a LocalProtocolError quotes the header that it refuses."""
    if isinstance(error, httpx.LocalProtocolError):
        return ""
    return str(error) if isinstance(error, httpx.RequestError | OSError) else ""


def no_answer(
    base_url: str, error: Exception, details: str, *, proxy: Proxy | None, sent: bool, kling_task_id: str | None
) -> KlingConnectionError:
    """Make the exception for a request that was not answered.

    :param error: what the HTTP library raised; one that it does not document proves nothing about the request.
    :param details: its text, where it is known to quote no secret.
    :param proxy: the one that was asked.
    :param sent: whether the API may have seen the request.
    :param kling_task_id: the task that was asked for, or that the part of an answer names.
    """
    through = f" through the proxy {proxy}" if proxy else ""
    return KlingConnectionError(
        f"No answer from Kling at {base_url}{through} ({type(error).__name__}: {details or 'no details'}); "
        + ("the request may have arrived" if sent else "the request was not sent")
        + (f" (Kling task {kling_task_id})." if kling_task_id else "."),
        request_sent=sent,
        kling_task_id=kling_task_id,
    )


def too_long(base_url: str, status: int, limit: int, kling_task_id: str | None) -> KlingServerError:
    """Make the exception for an answer of more bytes than any of the API has."""
    task = f" for task {kling_task_id}" if kling_task_id else ""
    return KlingServerError(
        f"Kling answered{task} at {base_url} with more than {limit} bytes (HTTP {status}); {TRY_LATER}.",
        http_status=status,
        kling_task_id=kling_task_id,
    )
