"""Finds the proxy for a URL, for workers and triggerers alike, whatever HTTP library asks.

httpx and the standard library read ``NO_PROXY`` differently, so neither is asked. Only the environment counts: looking
a proxy up in the settings of macOS ends forked processes.
"""

from __future__ import annotations

import ipaddress
import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import httpx

from airflow_kling.api.hosts import IPAddress, address_of
from airflow_kling.exceptions import KlingInputError

_PORTS = {"http": 80, "https": 443}
_ENTRY = re.compile(r"(?P<host>\[[^\]]+\]|[^:]*)(?::(?P<port>\d+))?")


@dataclass(frozen=True)
class Proxy:
    """An HTTP proxy.

    :param url: scheme, host and port alone: errors of HTTP libraries quote it.
    :param authorization: value of the header ``Proxy-Authorization``, None where there are no credentials.
    """

    url: str
    authorization: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``http://user:password@host:port``.

        :raises ValueError: it is none; what was wrong, without the credentials.
        """
        if text.lower().startswith("socks"):
            raise ValueError("is a SOCKS proxy, and only http and https proxies are supported")
        try:
            url = httpx.URL(text)
        except (httpx.InvalidURL, ValueError):
            url = httpx.URL()
        plain = not (url.query or url.fragment or any(map(str.isspace, text))) and url.path in ("", "/")
        if url.scheme not in _PORTS or not url.host or not plain or not 0 < (url.port or 1) < 2**16:
            raise ValueError("is not http://host:port or https://host:port, with user:password@ before the host if any")
        given = b":".join(part.encode() for part in (url.username, url.password))
        authorization = f"Basic {b64encode(given).decode()}" if url.userinfo else None
        return cls(str(url.copy_with(username=None, password=None, path="/")).rstrip("/"), authorization)

    @property
    def name(self) -> str:
        """Host and port, for messages."""
        return self.url.partition("://")[2]

    @property
    def headers(self) -> dict[str, str]:
        """What the proxy asks for, and nobody else may see."""
        return {"Proxy-Authorization": self.authorization} if self.authorization else {}

    def __str__(self) -> str:
        return self.name


def proxy_for(url: str, environ: Mapping[str, str]) -> Proxy | None:
    """Find the proxy that the environment names for a URL.

    ``https_proxy`` or ``http_proxy``, else ``all_proxy``; each in lower case, else in upper case. A lower-case variable
    that is empty counts. ``no_proxy`` excepts hosts, see :func:`is_excepted`.

    :raises KlingInputError: the variable holds no proxy that can be used.
    """
    target = httpx.URL(url)
    name = _variable(target.scheme, environ) or _variable("all", environ)
    if name is None or is_excepted(url, environ.get(_variable("no", environ) or "", "")):
        return None
    text = environ[name].strip()
    try:
        return Proxy.parse(text if "://" in text else f"http://{text}")
    except ValueError as error:
        raise KlingInputError(f"The environment variable {name} {error}; nothing was sent.") from None


def _variable(what: str, environ: Mapping[str, str]) -> str | None:
    """Find the variable that counts. Where a web server runs a CGI script, the client of the script sets HTTP_PROXY."""
    lower = f"{what}_proxy"
    upper = lower.upper() if not (what == "http" and "REQUEST_METHOD" in environ) else lower
    name = lower if lower in environ else upper
    return name if environ.get(name, "").strip() else None


def is_excepted(url: str, no_proxy: str) -> bool:
    """Tell whether ``NO_PROXY`` excepts a URL from the proxy.

    :param no_proxy: entries, between them commas or spaces: ``*`` for all; ``example.com``, ``.example.com`` and
        ``*.example.com`` for the name and what ends in it; an address; a network such as ``10.0.0.0/8``. A host or
        address may have a port behind it, ``[::1]:8080``, and a scheme before it.
    """
    target = httpx.URL(url)
    return any(_excepts(entry, target) for entry in re.split(r"[\s,]+", no_proxy.lower()) if entry)


def _excepts(entry: str, target: httpx.URL) -> bool:
    scheme, _, entry = entry.rpartition("://")
    if scheme not in ("", "all", target.scheme):
        return False
    if entry == "*":
        return True
    host = target.raw_host.decode()
    address = address_of(host)
    if "/" in entry:
        return address is not None and _contains(entry, address)
    parsed = _ENTRY.fullmatch(entry)
    name, port = (parsed["host"], parsed["port"]) if parsed else (entry, None)  # an IPv6 address without brackets
    if port and int(port) != (target.port or _PORTS.get(target.scheme)):
        return False
    if address is not None:
        return address == address_of(name)
    name, host = _ascii(name.lstrip("*").strip(".")), host.rstrip(".")
    return bool(name) and (host == name or host.endswith(f".{name}"))


def _contains(network: str, address: IPAddress) -> bool:
    try:
        return address in ipaddress.ip_network(re.sub(r"[\[\]]", "", network), strict=False)
    except ValueError:
        return False


def _ascii(name: str) -> str:
    """Write a name as the DNS has it; one that cannot be written so matches nothing but itself."""
    try:
        return httpx.URL(f"http://{name}").raw_host.decode()
    except httpx.InvalidURL:
        return name
