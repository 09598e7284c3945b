"""Decides whether an emulator answers a request: one that a web page sends through a browser is refused.

An emulator listens on loopback without authentication. A page of another site can still send requests there through
the browser of whoever runs it: by a name of its own that it lets point to 127.0.0.1, or by a form.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

CONTROL = "/_emulator/"
_CHANGING = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_OWN_PAGES = frozenset({"same-origin", "none"})  # "none": somebody typed the address


def refusal(
    method: str, path: str, headers: Mapping[str, str], *, bound: str, allowed: Collection[str] = ()
) -> str | None:
    """Return why a request is refused; None where it may be answered.

    :param headers: of the request, their names in small letters.
    :param bound: the address that the emulator listens on.
    :param allowed: further names, as clients call it.
    """
    host = headers.get("host", "")
    name = _name(f"//{host}")
    if not _is_own(name, bound, allowed):
        return (
            f"The emulator does not answer to the host {host[:200]!r}; start it with --allowed-host {name or 'NAME'}."
        )
    if not (path.startswith(CONTROL) and method in _CHANGING):
        return None
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    if (origin is not None and urlsplit(origin).netloc != host) or (site is not None and site not in _OWN_PAGES):
        return "A page of another site may not control the emulator."
    return None


def _name(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:
        return ""


def _is_own(name: str, bound: str, allowed: Collection[str]) -> bool:
    if name in {"localhost", bound.lower(), *(one.lower() for one in allowed)} or name.endswith(".localhost"):
        return bool(name)
    try:
        address = ipaddress.ip_address(name)
        # A name can be made to point here, a bare address cannot: on all interfaces each address of the machine is one.
        return address.is_loopback or ipaddress.ip_address(bound).is_unspecified
    except ValueError:
        return False


class CheckCaller:
    """Answers 403 in place of the app to requests that :func:`refusal` names.

    :param bound: as for it.
    :param allowed: as for it.
    """

    def __init__(self, app: ASGIApp, bound: str, allowed: Collection[str]) -> None:
        self._app = app
        self._bound = bound
        self._allowed = allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        reason = None
        if scope["type"] == "http":
            headers = dict(Headers(scope=scope))
            reason = refusal(scope["method"], scope["path"], headers, bound=self._bound, allowed=self._allowed)
        answer = self._app if reason is None else JSONResponse({"error": reason}, 403)
        await answer(scope, receive, send)
