"""Refuses connections to network addresses that are not public.

The URL of an image is text from outside. It must not make a worker ask its own network, a cloud's metadata service or
itself. So a name is resolved once, all its addresses are checked, and the connection goes to one of them: the DNS is
never asked a second time, when it might answer otherwise.
"""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Callable, Iterable
from typing import Any

import httpcore

#: ``(host, port)`` -> the addresses of the host as text; raises ``OSError``.
Resolver = Callable[[str, int], list[str]]

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052: an IPv4 address for networks that have IPv6 only
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")  # RFC 4291: all that is routed in public
_NOT_PUBLIC_V6 = (
    ipaddress.IPv6Network("2001::/23"),  # Teredo and other protocol assignments, RFC 2928
    ipaddress.IPv6Network("2002::/16"),  # 6to4, RFC 7526: no image host lives there, but any IPv4 address fits in
)
_NOT_PUBLIC_V4 = (
    ipaddress.IPv4Network("192.0.0.0/24"),  # protocol assignments, RFC 6890; older Pythons know a part of it only
    ipaddress.IPv4Network("192.88.99.0/24"),  # 6to4 relays, RFC 7526
    ipaddress.IPv4Network("168.63.129.16/32"),  # a public number, but inside Azure it is the host's own service
)


class AddressRefused(Exception):
    """A host resolves to an address that is not public."""


def resolve(host: str, port: int) -> list[str]:
    """Ask the system's resolver.

    :return: every address of ``host``, in the system's order of preference.
    :raises OSError: unknown host, or no answer.
    """
    infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(info[4][0]) for info in infos))


def is_public(address: str) -> bool:
    """Tell whether ``address`` belongs to the public internet; an IPv6 address is judged by the IPv4 one inside it."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        elif ip in _NAT64:
            ip = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    if isinstance(ip, ipaddress.IPv4Address):
        return ip.is_global and not ip.is_multicast and not any(ip in network for network in _NOT_PUBLIC_V4)
    if ip.scope_id is not None or ip not in _GLOBAL_UNICAST:
        return False
    return ip.is_global and not any(ip in network for network in _NOT_PUBLIC_V6)


class GuardedBackend(httpcore.NetworkBackend):
    """Connects only to checked addresses, and ends everything at a deadline.

    :param allow_private_hosts: connect to any address.
    :param deadline: value of ``clock`` after which every read and write times out, however steadily bytes trickle in.
    """

    def __init__(
        self,
        *,
        allow_private_hosts: bool,
        deadline: float,
        clock: Callable[[], float] = time.monotonic,
        resolver: Resolver = resolve,
    ) -> None:
        self._allow_private_hosts = allow_private_hosts
        self._deadline = deadline
        self._clock = clock
        self._resolve = resolver
        self._backend = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first address of ``host`` that answers.

        :raises AddressRefused: one of the addresses is not public, whichever it is.
        """
        error: Exception = httpcore.ConnectError(f"{host} has no address")
        for address in self._checked_addresses(host, port):
            try:
                left = _time_left(timeout, self._deadline, self._clock)
                stream = self._backend.connect_tcp(address, port, left, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as failed:
                error = failed
            else:
                return _DeadlineStream(stream, self._deadline, self._clock)
        raise error

    def _checked_addresses(self, host: str, port: int) -> list[str]:
        try:
            addresses = self._resolve(host.strip("[]"), port)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"the host name cannot be resolved: {error}") from error
        refused = [] if self._allow_private_hosts else [item for item in addresses if not is_public(item)]
        if refused:
            raise AddressRefused(f"{host} has the address {refused[0]}, which is not public")
        return addresses


class _DeadlineStream(httpcore.NetworkStream):
    """A stream whose reads and writes end at the deadline."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: float, clock: Callable[[], float]) -> None:
        self._stream = stream
        self._deadline = deadline
        self._clock = clock

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _time_left(timeout, self._deadline, self._clock))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _time_left(timeout, self._deadline, self._clock))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = _time_left(timeout, self._deadline, self._clock)
        stream = self._stream.start_tls(ssl_context, server_hostname, left)
        return _DeadlineStream(stream, self._deadline, self._clock)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _time_left(timeout: float | None, deadline: float, clock: Callable[[], float]) -> float:
    left = deadline - clock()
    if left <= 0:
        raise httpcore.ReadTimeout("the total time limit is over")
    return left if timeout is None else min(timeout, left)
