"""Checks a task's ``max_units`` while a DAG file is parsed, and prices its request when it runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_kling.exceptions import KlingInputError
from airflow_kling.lifecycle.templates import is_literal

if TYPE_CHECKING:
    from airflow_kling.api.fields import KlingRequest
    from airflow_kling.api.max_units import Priced
    from airflow_kling.api.route import Route
    from airflow_kling.hooks.kling import KlingHook

_OWNER = "the task"


def check_literals(route: Route, fields: Mapping[str, Any], max_units: Any) -> None:
    """Refuse what costs too much already while parsing, by Kling's list, where all that decides it is literal.

    :raises KlingInputError: the limit is no number, or lower than the estimate.
    """
    if max_units is None or not is_literal(max_units):
        return
    from airflow_kling.api.max_units import limit_of, refusal
    from airflow_kling.api.prices import estimate, priced_fields

    limit = limit_of(max_units, _OWNER)
    if all(is_literal(fields.get(name)) for name in priced_fields(route.name)):
        known = estimate(route.name, fields)
        if known and (why := refusal(route.name, fields, known, [limit])):
            raise KlingInputError(f"{why}; nothing was submitted.")


def of_request(route_name: str, request: KlingRequest, hook: KlingHook, max_units: Any) -> Priced:
    """Price a request, with the connection's prices and both limits.

    :param max_units: of the task, rendered.
    :raises KlingInputError: the limit is no number.
    """
    from airflow_kling.api.max_units import limit_of

    return hook.price(request, route=route_name, limit=limit_of(max_units, _OWNER))
