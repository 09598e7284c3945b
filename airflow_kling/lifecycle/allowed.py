"""Decides whether an address is one that this Airflow's configuration allows: references, and destinations.

Both can come from a form that anybody may fill in who may trigger a DAG.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from airflow_kling.exceptions import KlingInputError
from airflow_kling.storage.destination import Destination

TYPE_CHECKING = False
if TYPE_CHECKING:
    from airflow_kling.api.route import Route

_DIRECTORIES = ("file", "local")
_AMBIGUOUS = re.compile(r"\\|%2f|%5c|%25|[\x00-\x1f\x7f]", re.IGNORECASE)


class _Place(NamedTuple):
    """An address, in parts that can be compared."""

    scheme: str
    connection: str
    host: str
    path: tuple[str, ...]


def is_allowed(address: str, prefixes: str) -> bool:
    """Tell whether an address is below one of the prefixes.

    Scheme, connection (``s3://conn_id@bucket``), host and port must be equal, and the path whole segment by segment.

    :param address: a URL; of a file without links in it.
    :param prefixes: URLs between commas; blank allows everything.
    """
    wanted = [_place(one.strip()) for one in prefixes.split(",") if one.strip()]
    if not wanted:
        return True
    place = _place(address)
    if place is None:
        return False
    return any(one is not None and one[:3] == place[:3] and place.path[: len(one.path)] == one.path for one in wanted)


def _place(url: str) -> _Place | None:
    try:
        parts = urlsplit(url)
        connection, _, host = parts.netloc.rpartition("@")
    except ValueError:
        return None
    # "?" and "#" are part of an object's key, and of a file's name.
    path = parts.path if parts.scheme in ("http", "https") else url.partition("://")[2].removeprefix(parts.netloc)
    path = path.removeprefix("/").removesuffix("/")
    segments = tuple(path.split("/")) if path else ()
    # What a server could read as another path than the one that is compared here.
    if not parts.scheme or _AMBIGUOUS.search(url) or any(unquote(part) in (".", "..") for part in segments):
        return None
    scheme = "file" if parts.scheme in _DIRECTORIES else parts.scheme
    return _Place(scheme, connection, host.lower(), segments)


def check_destination(destination: object) -> None:
    """Refuse a destination that ``[kling] allowed_destinations`` does not allow.

    :raises KlingInputError: it is not below one of its prefixes.
    """
    place = Destination.parse(destination)
    # A directory is percent-encoded in its address: its links show only in the path that is written to.
    address = Path(os.path.realpath(place.prefix)).as_uri() if place.is_directory else str(destination)
    _check("destination", address, "allowed_destinations", "nothing was stored")


def check_references(route: Route, fields: Mapping[str, Any]) -> None:
    """Refuse references that ``[kling] allowed_references`` does not allow; bytes and base64 have no address.

    :param fields: rendered fields of the route.
    :raises KlingInputError: one is not below one of its prefixes.
    """
    from airflow_kling.api.reference_checks import address_of
    from airflow_kling.api.request import is_video, media_value

    for name in route.media:
        value = media_value(route, name, fields.get(name))
        given = value if isinstance(value, list) else [value]
        for position, reference in enumerate(given):
            if address := address_of(reference, video=is_video(route, name)):
                called = f"{name}[{position}]" if isinstance(value, list) else name
                _check(called, address, "allowed_references", "nothing was submitted")


def _check(name: str, address: str, option: str, consequence: str) -> None:
    from airflow.providers.common.compat.sdk import conf

    from airflow_kling.api.redact import redact_url

    prefixes = conf.get("kling", option, fallback="")
    if not is_allowed(_without_links(address), prefixes):
        raise KlingInputError(
            f"{name} is {redact_url(address)}, which [kling] {option} does not allow; ask for it, or give another one; "
            f"{consequence}."
        )


def _without_links(address: str) -> str:
    scheme, _, path = address.partition("://")
    return f"file://{os.path.realpath(path)}" if scheme.lower() in _DIRECTORIES else address
