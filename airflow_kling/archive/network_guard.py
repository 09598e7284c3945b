"""Refuses connections to network addresses that are not public.

The URL of an image is text from outside. It must not make a worker ask its own network, a cloud's metadata service or
itself. So a name is resolved once, all its addresses are checked, and the connection goes to one of them: the DNS is
never asked a second time, when it might answer otherwise.

A proxy resolves names itself. Then the name is checked by its text and, where this machine can resolve it, by its
addresses; the rest is up to the proxy, which its administrator has chosen.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import httpcore

from airflow_kling.api.hosts import address_of, is_local
from airflow_kling.archive.deadline import Deadline

#: ``(host, port)`` -> the addresses of the host as text; raises ``OSError``.
Resolver = Callable[[str, int], list[str]]

PIECE = 512 * 1024  # bytes that are read from a connection at once, where so many have come
_HOST_NAME = re.compile(r"[A-Za-z0-9._-]+")
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
# Services that a cloud offers to its machines, credentials among them: refused whatever is allowed. They are documented
# by AWS (EC2, ECS, EKS), Alibaba, Azure, Google, Oracle, Scaleway and Tencent; most others have the first one.
_METADATA = tuple(
    map(
        ipaddress.ip_address,
        (
            *("169.254.169.254", "169.254.170.2", "169.254.170.23", "fd00:ec2::254", "fd00:ec2::23"),
            *("100.100.100.200", "168.63.129.16", "192.0.0.192", "fd20:ce::254"),
            *("169.254.42.42", "fd00:42::42", "169.254.0.23"),
        ),
    )
)
_METADATA_NAMES = frozenset(
    (
        *("metadata", "metadata.google.internal", "metadata.goog", "metadata.azure.internal"),
        *("metadata.tencentyun.com", "instance-data", "instance-data.ec2.internal"),
    )
)


class AddressRefused(Exception):
    """A host may not be connected to: because of its name, or of an address that it has."""


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


def is_metadata(address: str) -> bool:
    """Tell whether ``address`` is a cloud's metadata service, or is an IPv6 one that has such an IPv4 address in it.

    An IPv4 address lies anywhere in the bytes, or around the ninth of them: networks choose where (RFC 6052, 6to4).
    """
    if (ip := address_of(address)) is None:
        return False
    packed = ip.packed
    forms = (packed, packed[:8] + packed[9:], bytes(byte ^ 0xFF for byte in packed[12:]))  # the last one is Teredo's
    return any(service.packed in form for service in _METADATA for form in forms)


@dataclass(frozen=True)
class NetworkGuard:
    """Decides which hosts a download may ask.

    :param trusted_networks: networks that are allowed beside the public ones.
    :param allow_private_hosts: allow all addresses but those of metadata services.
    """

    trusted_networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()
    allow_private_hosts: bool = False
    resolver: Resolver = resolve

    def allows(self, address: str) -> bool:
        """Tell whether a connection may go to ``address``."""
        ip = address_of(address)
        if ip is None or is_metadata(address):
            return False
        trusted = any(ip in network for network in self.trusted_networks)
        return self.allow_private_hosts or trusted or is_public(address)

    def addresses(self, host: str, port: int) -> list[str]:
        """Resolve a host, once.

        :return: its addresses, all of them allowed.
        :raises AddressRefused: one of them is not, whichever it is.
        :raises httpcore.ConnectError: it cannot be resolved.
        """
        self._check_name(host)
        try:
            addresses = self.resolver(host.strip("[]"), port)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"the host name cannot be resolved: {error}") from error
        if not addresses:
            raise httpcore.ConnectError(f"{host} has no address")
        for address in addresses:
            self._check(host, address)
        return addresses

    def check_proxied(self, host: str, port: int) -> None:
        """Check a host that a proxy is going to resolve; a name that cannot be resolved here may pass.

        :raises AddressRefused: it has an address that is not allowed, or is a name of a local network.
        """
        if literal := address_of(host):
            return self._check(host, str(literal))
        try:
            self.addresses(host, port)
        except httpcore.ConnectError:
            if is_local(host) and not self.allow_private_hosts:
                raise AddressRefused(
                    f"{host} cannot be resolved here and is not a public name; allow_private_hosts would allow it"
                ) from None

    def _check_name(self, host: str) -> None:
        if host.lower().rstrip(".") in _METADATA_NAMES:
            raise AddressRefused(f"{host} is the name of a metadata service, which nothing allows")
        if not _HOST_NAME.fullmatch(host) and address_of(host) is None:
            raise AddressRefused(f"{host} is not a host name")  # a proxy might make an address of it

    def _check(self, host: str, address: str) -> None:
        if self.allows(address):
            return
        if is_metadata(address):
            raise AddressRefused(f"{host} has {address}, the address of a metadata service, which nothing allows")
        raise AddressRefused(
            f"{host} has the address {address}, which is not public; trusted_networks or allow_private_hosts would "
            "allow it"
        )


class GuardedBackend(httpcore.NetworkBackend):
    """Connects only to checked addresses, and ends everything at a deadline.

    :param deadline: after it every read and write times out.
    :param guard: None where a proxy is connected to: its administrator answers for its address.
    """

    def __init__(self, guard: NetworkGuard | None, *, deadline: Deadline) -> None:
        self._guard = guard
        self._deadline = deadline
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
        host = host.strip("[]")
        for address in (addresses := self._guard.addresses(host, port) if self._guard else [host]):
            try:
                left = _time_left(timeout, self._deadline)
                stream = self._backend.connect_tcp(address, port, left, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if address == addresses[-1]:
                    raise
            else:
                return _DeadlineStream(stream, self._deadline)
        raise AssertionError("unreachable")


class _DeadlineStream(httpcore.NetworkStream):
    """A stream whose reads and writes end at the deadline."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        # httpcore asks for 64 KiB, and each piece goes through h11, the hash and the file by itself.
        return self._stream.read(max(max_bytes, PIECE), _time_left(timeout, self._deadline))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _time_left(timeout, self._deadline))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = _time_left(timeout, self._deadline)
        name = server_hostname.strip("[]") if server_hostname else None  # an address: in a certificate without brackets
        stream = self._stream.start_tls(ssl_context, name, left)
        return _DeadlineStream(stream, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _time_left(timeout: float | None, deadline: Deadline) -> float:
    left = deadline.left()
    if left <= 0:
        raise httpcore.ReadTimeout("the total time limit is over")
    return left if timeout is None else min(timeout, left)
