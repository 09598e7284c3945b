"""Opens the connections of a download: to checked addresses, or through a proxy once the host is checked."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpcore
import httpx

from airflow_kling.api.proxies import Proxy
from airflow_kling.api.transport import PROXY_REFUSES
from airflow_kling.archive.network_guard import GuardedBackend, NetworkGuard

#: The proxy for a URL, None where it is asked directly.
FindProxy = Callable[[str], Proxy | None]


@dataclass(frozen=True)
class Connections:
    """How the requests of one download reach their hosts.

    :param deadline: value of ``clock`` at which everything ends.
    """

    guard: NetworkGuard
    find_proxy: FindProxy
    ssl_context: ssl.SSLContext
    deadline: float
    clock: Callable[[], float]

    @contextmanager
    def get(
        self, url: httpx.URL, headers: list[tuple[bytes, bytes]], timeout: dict[str, float]
    ) -> Iterator[httpcore.Response]:
        """Send one request over a connection of its own.

        :raises AddressRefused: the guard does not allow the host.
        :raises httpcore.ProxyError: the proxy does not let the request through.
        """
        proxy = self.find_proxy(str(url))
        host = f"[{url.host}]".encode() if ":" in url.host else url.raw_host
        target = httpcore.URL(scheme=url.raw_scheme, host=host, port=url.port, target=url.raw_path)
        if proxy:
            self.guard.check_proxied(url.raw_host.decode(), target.origin.port)
        with self._pool(proxy) as pool:
            try:
                with pool.stream("GET", target, headers=headers, extensions={"timeout": timeout}) as response:
                    if proxy and response.status == PROXY_REFUSES:
                        raise httpcore.ProxyError(f"{response.status} Proxy Authentication Required")
                    yield response
            except httpcore.ProxyError as error:
                raise httpcore.ProxyError(f"the proxy {proxy} refused: {error}") from None

    def _pool(self, proxy: Proxy | None) -> httpcore.ConnectionPool:
        backend = GuardedBackend(self.guard, deadline=self.deadline, clock=self.clock, proxy=proxy)
        if proxy is None:
            return httpcore.ConnectionPool(self.ssl_context, network_backend=backend, max_connections=1)
        return httpcore.HTTPProxy(
            proxy.url,
            proxy_headers=proxy.headers,
            ssl_context=self.ssl_context,
            proxy_ssl_context=self.ssl_context if proxy.url.startswith("https:") else None,
            network_backend=backend,
            max_connections=1,
        )
