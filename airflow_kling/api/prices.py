"""Estimates what a generation will be billed, checks a connection's own prices, and compares an estimate with the bill.

Pure; the list is :mod:`airflow_kling.api.price_list`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from airflow_kling.api.price_list import TARIFFS, USD_PER_UNIT, Fields, Pack, Price, Prices, Tariff
from airflow_kling.api.values import is_blank, shortened


class Estimate(NamedTuple):
    """What a generation will be billed, if it succeeds.

    :param units: of its pack.
    :param usd: by the list price of a unit.
    :param at_most: the API decides how much it makes, and this is the most.
    :param listed: by Kling's list, else by the connection's ``prices``.
    """

    units: float
    pack: Pack
    usd: float
    at_most: bool = False
    listed: bool = True

    def __str__(self) -> str:
        most = "at most " if self.at_most else ""
        return f"{most}{units_text(self.units)} (about ${self.usd:.4g})"


def priced_fields(route_name: str) -> tuple[str, ...]:
    """Name the fields that decide the price of a route."""
    return tuple(TARIFFS[route_name].defaults) if route_name in TARIFFS else ()


def pack_of(route_name: str) -> Pack:
    """Name the pack out of which a route is billed; the one for images where the route has no price."""
    return TARIFFS[route_name].pack if route_name in TARIFFS else "image"


def estimate(route_name: str, fields: Fields, *, prices: Prices | None = None) -> Estimate | None:
    """Estimate what a generation will be billed; None where its price is not known.

    :param fields: of the request, with the model that is sent; what is missing or None has the API's default.
    :param prices: in place of the list, as far as they go.
    """
    tariff = TARIFFS.get(route_name)
    if tariff is None:
        return None
    decisive = decisive_fields(tariff, fields)
    price, listed = _price((prices or {}).get(route_name, {}), tariff, decisive), False
    if price is None:
        price, listed = _price(tariff.prices, tariff, decisive), True
    try:
        number, at_most = tariff.amount(decisive)
    except (TypeError, ValueError):  # a template, or what the request refuses
        return None
    units = math.nan if price is None or number <= 0 else round(price * number, 4)
    if not math.isfinite(units):
        return None
    return Estimate(units, tariff.pack, round(units * USD_PER_UNIT[tariff.pack], 6), at_most, listed)


def decisive_fields(tariff: Tariff, fields: Fields) -> Fields:
    """Return the fields that decide a price, with the API's defaults where they are not given."""
    given = {name: fields[name] for name in tariff.defaults if name in fields}
    return {**tariff.defaults, **{name: value for name, value in given.items() if not is_blank(value)}}


def _price(prices: Mapping[str, Price], tariff: Tariff, decisive: Fields) -> float | None:
    for model in (decisive.get("model_name"), "*"):
        price = prices.get(str(model))
        found = price.get(tariff.variant(decisive)) if isinstance(price, Mapping) else price
        if found is not None:
            return found
    return None


def units_text(units: float, pack: str = "") -> str:
    """Write a number of units.

    :param pack: that they are of, where that does not go without saying.
    """
    return f"{units:g} {pack}{pack and ' '}unit{'' if units == 1 else 's'}"


def compare_bill(route_name: str, billed: float | None, estimated: Any) -> tuple[str, bool] | None:
    """Say what was billed, and what had been estimated where the two are more than a tenth apart.

    :param estimated: ``estimated_units`` of the request record; None where it has none.
    :return: the sentence, and whether more was billed than was estimated; None where the bill is not known.
    """
    if billed is None:
        return None
    if not bill_differs(route_name, billed, estimated):
        return f"Kling billed {units_text(billed)}.", False
    return f"Kling billed {units_text(billed)}, and {units_text(estimated)} had been estimated.", billed > estimated


def bill_differs(route_name: str, billed: float, estimated: Any) -> bool:
    """Tell whether a bill and its estimate are more than a tenth apart; False where they cannot be compared."""
    # In which unit try-on is billed is not documented [U].
    comparable = isinstance(estimated, int | float) and route_name in TARIFFS and route_name != "virtual-try-on"
    return comparable and abs(billed - estimated) > estimated / 10


def parse_prices(value: Any) -> dict[str, dict[str, Price]]:
    """Check the ``prices`` of a connection: ``{route: {model: units, or {variant: units}}}``, also as JSON text.

    :raises ValueError: names what is wrong, and what may stand there.
    """
    if is_blank(value):
        return {}
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise ValueError(f"is no JSON ({error})") from None
    if not isinstance(value, Mapping):
        raise ValueError(f"is {shortened(value)}, it must be an object of routes")
    return {route: _checked_models(route, models) for route, models in value.items()}


def _checked_models(route: str, models: Any) -> dict[str, Price]:
    if route not in TARIFFS:
        raise ValueError(f"has route {shortened(route)}, which must be one of {', '.join(TARIFFS)}")
    if not isinstance(models, Mapping):
        raise ValueError(f"has {shortened(models)} for {route}, it must be an object of models, or of * for all")
    variants = TARIFFS[route].variants
    checked: dict[str, Price] = {}
    for model, price in models.items():
        prices = price if isinstance(price, Mapping) else {"": price}
        if wrong := next((name for name in prices if name and name not in variants), None):
            known = f"one of {', '.join(variants)}" if variants else "a number"
            raise ValueError(f"has {shortened(wrong)} for {route}, {model}, which must be {known}")
        for units in prices.values():
            if isinstance(units, bool) or not isinstance(units, int | float) or not 0 <= units < math.inf:
                raise ValueError(f"has {shortened(units)} for {route}, {model}, which must be a number of units")
        checked[model] = {name: float(units) for name, units in prices.items()} if prices is price else float(price)
    return checked
