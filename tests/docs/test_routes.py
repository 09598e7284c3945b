"""Compares the pages of the routes with their rows: fields, limits, models, gateways and prices."""

from __future__ import annotations

import re
from typing import Any

import pytest

from airflow_kling.api.price_list import LIST_DATE
from airflow_kling.api.prices import estimate
from airflow_kling.api.routes import find_route, route_names
from tests.docs.blocks import CHECKOUT
from tests.docs.limits import limits_of

PAGES = CHECKOUT / "docs" / "routes"
INDEX = (PAGES / "index.md").read_text()
GATEWAYS = ("cometapi", "cometapi-v2", "official")
CODE = re.compile(r"`([^`]+)`")


def page_of(route_name: str) -> str:
    return (PAGES / f"{route_name}.md").read_text()


def table(text: str, first_column: str) -> list[dict[str, str]]:
    """Read the table whose first column has this heading, as one dict a row."""
    lines = iter(text.splitlines())
    heads = next(_cells(line) for line in lines if line.startswith(f"| {first_column} |"))
    next(lines)
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append(dict(zip(heads, _cells(line), strict=True)))
    return rows


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split(" | ")]


def names(cell: str) -> list[str]:
    return CODE.findall(cell)


COMMON = {name for row in table(INDEX, "parameter") for name in names(row["parameter"])}


def test_each_route_has_a_page_and_is_in_the_index() -> None:
    assert sorted(file.stem for file in PAGES.glob("*.md")) == sorted([*route_names(), "index"])
    assert sorted(name for row in table(INDEX, "route") for name in names(row["route"])) == route_names()


@pytest.mark.parametrize("route_name", route_names())
def test_a_page_has_the_fields_of_the_row_with_their_limits(route_name: str) -> None:
    limits = limits_of(find_route(route_name))
    expected = {name: limit for name, limit in limits.items() if name not in COMMON}
    assert {names(row["parameter"])[0]: row["limits"] for row in table(page_of(route_name), "parameter")} == expected


@pytest.mark.parametrize("route_name", route_names())
def test_each_field_has_the_mark_of_its_source(route_name: str) -> None:
    marks = {row["source"] for row in table(page_of(route_name), "parameter")}
    assert {mark for marked in marks for mark in names(marked)} <= {"[seed]", "[C]", "[W]", "[I]", "[U]"}
    assert "" not in marks


@pytest.mark.parametrize("route_name", route_names())
def test_the_fields_that_every_route_takes_are_taken(route_name: str) -> None:
    fields = set(find_route(route_name).request.model_fields)
    lacks = {"watermark_info"} if route_name == "virtual-try-on" else set()
    assert COMMON - fields == lacks


@pytest.mark.parametrize("route_name", route_names())
def test_the_index_has_the_models_of_each_gateway(route_name: str) -> None:
    rows = [row for row in table(INDEX[INDEX.index("## Gateways") :], "route") if row["route"] == f"`{route_name}`"]
    [row] = rows
    for gateway in GATEWAYS:
        endpoint = find_route(route_name).endpoints[gateway]
        assert names(row[f"`{gateway}`"]) == list(endpoint.models), gateway


@pytest.mark.parametrize("route_name", route_names())
def test_prices_are_those_of_the_price_list(route_name: str) -> None:
    page = page_of(route_name)
    rows = table(page, "what is asked")
    assert rows
    assert f"read on {LIST_DATE} `[W]`" in page
    for row in rows:
        fields: dict[str, Any] = eval(f"dict({row['what is asked'].strip('`')})")
        found = estimate(route_name, fields)
        assert found, row
        assert (f"{found.units:g}", f"{found.usd:g}") == (f"{float(row['units']):g}", f"{float(row['USD']):g}"), row
