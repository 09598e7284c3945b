"""Finds a route by its name: each file of this package describes one, in ``ROUTE``."""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

from airflow_kling.exceptions import KlingInputError

if TYPE_CHECKING:
    from airflow_kling.api.route import Route

#: The route of a Kling task id that names none: XComs and triggers written before there were others have no route.
DEFAULT_ROUTE = "multi-image-to-image"


def route_names() -> list[str]:
    """Name every route, in alphabetical order."""
    return sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(__path__))


@cache
def find_route(name: str) -> Route:
    """Return the route of this name.

    :param name: such as ``multi-image-to-image``.
    :raises KlingInputError: there is no such route.
    """
    if name not in route_names():
        raise KlingInputError(f"route is {name!r}, must be one of {', '.join(route_names())}; nothing was sent.")
    route: Route = import_module(f"{__name__}.{name.replace('-', '_')}").ROUTE
    return route
