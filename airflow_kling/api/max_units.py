"""Decides whether a limit of units allows a generation: pure."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any, NamedTuple

from airflow_kling.api.price_list import TARIFFS, Fields, Prices
from airflow_kling.api.prices import Estimate, decisive_fields, estimate
from airflow_kling.api.values import is_blank, shortened
from airflow_kling.exceptions import KlingInputError


class Limit(NamedTuple):
    """What a generation may cost.

    :param units: of the pack that its route is billed from; the same number for images and for videos, though a unit
        of one is not worth one of the other.
    :param owner: where the limit is set, such as ``max_units of the task``.
    """

    units: float
    owner: str


def limit_of(value: Any, owner: str) -> Limit | None:
    """Return the limit that a ``max_units`` sets; None where it sets none.

    :param owner: where it is set, such as ``the task``.
    :raises KlingInputError: it is no number above 0.
    """
    if is_blank(value):
        return None
    try:
        units = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        units = math.nan
    if not 0 < units < math.inf:
        raise KlingInputError(
            f"max_units of {owner} is {shortened(value)}, it must be a number above 0; nothing was submitted."
        )
    return Limit(units, f"max_units of {owner}")


class Priced(NamedTuple):
    """What a generation costs, and whether that is allowed.

    :param estimate: None where the price is not known.
    :param too_dear: why a limit does not allow it, without a full stop; None where all of them do.
    """

    estimate: Estimate | None
    too_dear: str | None

    @property
    def units(self) -> float | None:
        """The units of the estimate."""
        return self.estimate.units if self.estimate else None


def price(route_name: str, fields: Fields, *, prices: Prices, limits: Iterable[Limit | None]) -> Priced:
    """Estimate a generation, and check the estimate against the smallest limit.

    :param fields: of the request, with the model that is sent.
    :param prices: of the connection.
    """
    estimated = estimate(route_name, fields, prices=prices)
    return Priced(estimated, refusal(route_name, fields, estimated, limits))


def refusal(route_name: str, fields: Fields, estimated: Estimate | None, limits: Iterable[Limit | None]) -> str | None:
    """Say why a generation is not submitted, without a full stop; None where every limit allows it.

    A limit that cannot be checked would protect nobody, so it allows nothing.

    :param fields: of the request.
    :param limits: the smallest counts.
    """
    limit = min((limit for limit in limits if limit is not None), default=None)
    if limit is None or (estimated is not None and estimated.units <= limit.units):
        return None
    if estimated is not None:
        return (
            f"The generation would cost {estimated}, and {limit.owner} allows {limit.units:g}: ask for less, or raise "
            "the limit"
        )
    return (
        f"What this generation costs is not known, so the limit of {limit.units:g} units ({limit.owner}) cannot be "
        f"checked: give its price in the connection's extra as prices, {_example(route_name, fields)}, or take the "
        "limit away"
    )


def _example(route_name: str, fields: Fields) -> str:
    tariff = TARIFFS.get(route_name)
    if tariff is None:
        return "which this route has none of"
    decisive = decisive_fields(tariff, fields)
    price: Any = {tariff.variant(decisive): 1} if tariff.variants else 1
    written = json.dumps({route_name: {str(decisive.get("model_name") or "*"): price}})
    return f"such as {written} for 1 unit for each {tariff.unit}"
