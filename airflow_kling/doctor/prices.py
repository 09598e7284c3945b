"""Tells what each route of the gateway costs with its defaults. Nothing here costs money."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from airflow_kling.api.max_units import Priced, limit_of, price
from airflow_kling.api.prices import priced_fields
from airflow_kling.api.request import known_models
from airflow_kling.api.routes import find_route, route_names
from airflow_kling.doctor.findings import Finding, note

if TYPE_CHECKING:
    from airflow_kling.api.connection import Settings
    from airflow_kling.api.route import Route


def check_prices(settings: Settings) -> Iterator[Finding]:
    """Estimate one generation of each route, as a task submits it that gives only what it must."""
    for route in map(find_route, route_names()):
        if settings.gateway in route.endpoints:
            yield _check_price(route, settings)


def price_of(route: Route, fields: dict[str, Any], settings: Settings) -> Priced:
    """Estimate a generation, and check it against the connection's limit."""
    limit = limit_of(settings.max_units, "the connection")
    return price(route.name, fields, prices=settings.prices, limits=[limit])


def _check_price(route: Route, settings: Settings) -> Finding:
    defaults = {
        name: field.default
        for name, field in route.request.model_fields.items()
        if name in priced_fields(route.name) and not field.is_required()
    }
    model = next(iter(known_models(route, settings.api)), None)
    of_model = f" of {model}" if model else ""
    estimate, too_dear = price_of(route, {**defaults, "model_name": model}, settings)
    if estimate is None:
        return note(
            "price", f"{route.name}: what one{of_model} costs is not known; give it in the connection's prices."
        )
    limited = "; the connection's max_units does not allow it" if too_dear else ""
    return note("price", f"{route.name}: {estimate} for one{of_model} with the defaults{limited}.")
