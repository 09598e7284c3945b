"""Tells what the host of a URL is by its text alone: an address, however it is spelled, or a name, local or public."""

from __future__ import annotations

import ipaddress
import socket

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

# Names that no public DNS answers. Sources: RFC 2606 and 6761 (test, localhost), RFC 6762 (local), ICANN's reservation
# of 2024 (internal), Kubernetes' names of services (svc; svc.cluster.local ends in local).
_LOCAL_ENDINGS = ("localhost", "local", "internal", "svc", "test")


def address_of(host: str) -> IPAddress | None:
    """Read a host as an address, as the system's resolver would; an IPv4 address inside an IPv6 one as IPv4.

    :param host: of a URL, with or without brackets: ``127.0.0.1``, ``127.1``, ``0x7f000001``, ``[::1]``.
    :return: None for a name.
    """
    text = host.strip("[]").rstrip(".")
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return _odd_ipv4(text)
    return getattr(address, "ipv4_mapped", None) or address


def _odd_ipv4(text: str) -> IPAddress | None:
    """Read the spellings of IPv4 that only the C library knows."""
    try:
        return ipaddress.IPv4Address(socket.inet_aton(text))
    except (OSError, UnicodeError, ValueError):
        return None


def is_local(host: str) -> bool:
    """Tell whether a host is of this machine or its own network, without asking the DNS: loopback, private, link-local.

    :param host: a name or address of a URL. A name without a dot is one of a local network.
    """
    if address := address_of(host):
        return address.is_loopback or address.is_private or address.is_link_local
    labels = host.lower().rstrip(".").split(".")
    return len(labels) == 1 or labels[-1] in _LOCAL_ENDINGS
