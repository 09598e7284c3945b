"""Opens the connections of a download: to checked addresses, or through a proxy once the host is checked."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpcore
import httpx

from airflow_kling.api.proxies import Proxy
from airflow_kling.api.transport import PROXY_REFUSES, ssl_context_for
from airflow_kling.archive.deadline import Deadline
from airflow_kling.archive.network_guard import GuardedBackend, NetworkGuard

#: The proxy for a URL, None where it is asked directly.
FindProxy = Callable[[str], Proxy | None]


@dataclass(frozen=True)
class Connections:
    """How the requests of one download reach their hosts.

    :param ssl_context: that of the process when None.
    """

    guard: NetworkGuard
    find_proxy: FindProxy
    ssl_context: ssl.SSLContext | None
    deadline: Deadline

    @contextmanager
    def get(
        self, url: httpx.URL, headers: list[tuple[bytes, bytes]], timeout: dict[str, float]
    ) -> Iterator[httpcore.Response]:
        """Send one request over a connection of its own.

        :raises AddressRefused: the guard does not allow the host.
        :raises httpcore.ProxyError: the proxy does not let the request through. Errors of httpcore name the proxy.
        """
        proxy = self.find_proxy(str(url))
        host = f"[{url.host}]".encode() if ":" in url.host else url.raw_host
        target = httpcore.URL(scheme=url.raw_scheme, host=host, port=url.port, target=url.raw_path)
        if proxy:
            self.guard.check_proxied(host.decode(), target.origin.port)
        extensions = {"timeout": timeout}
        with (
            _naming(proxy),
            self._pool(url, proxy) as pool,
            pool.stream("GET", target, headers=headers, extensions=extensions) as response,
        ):
            if proxy and response.status == PROXY_REFUSES:
                raise httpcore.ProxyError(f"HTTP {response.status}")
            yield response

    def _pool(self, url: httpx.URL, proxy: Proxy | None) -> httpcore.ConnectionPool:
        context = self.ssl_context or ssl_context_for(str(url), proxy.url if proxy else "")
        backend = GuardedBackend(None if proxy else self.guard, deadline=self.deadline)
        if proxy is None:
            return httpcore.ConnectionPool(context, network_backend=backend, max_connections=1)
        return httpcore.HTTPProxy(
            proxy.url,
            proxy_headers=list(proxy.headers.items()),
            ssl_context=context,
            proxy_ssl_context=context if proxy.url.startswith("https:") else None,
            network_backend=backend,
            max_connections=1,
        )


@contextmanager
def _naming(proxy: Proxy | None) -> Iterator[None]:
    """Let errors say that a proxy stood in between: often it is the one to blame."""
    try:
        yield
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.ProxyError, httpcore.TimeoutException) as error:
        if proxy is None:
            raise
        raise type(error)(f"through the proxy {proxy}: {error or type(error).__name__}") from error
