"""The smallest limit counts, and one that cannot be checked allows nothing; each refusal says what to do."""

from __future__ import annotations

import math
from typing import Any

import pytest

from airflow_kling.api.max_units import Limit, Priced, limit_of, price
from airflow_kling.api.prices import parse_prices
from airflow_kling.exceptions import KlingInputError

TASK, CONNECTION = Limit(3, "max_units of the task"), Limit(2, "max_units of the connection 'kling_default'")
CLIP = {"model_name": "kling-v3", "duration": "5"}


def check(fields: dict[str, Any], *limits: Limit | None, prices: Any = None) -> Priced:
    return price("image-to-video", fields, prices=parse_prices(prices), limits=limits)


def test_without_a_limit_everything_is_allowed() -> None:
    assert check(CLIP).too_dear is None
    assert check({}, None, None) == (None, None)
    assert check({}).units is None


def test_what_costs_as_much_as_the_limit_is_allowed() -> None:
    assert check(CLIP, TASK, None) == (check(CLIP).estimate, None)
    assert check(CLIP, TASK).units == 3


def test_the_smaller_limit_counts_and_is_named() -> None:
    assert check(CLIP, TASK, CONNECTION).too_dear == (
        "The generation would cost 3 units (about $0.42), and max_units of the connection 'kling_default' allows 2: "
        "ask for less, or raise the limit"
    )
    assert check({**CLIP, "duration": "10"}, TASK, Limit(7, "another")).too_dear == (
        "The generation would cost 6 units (about $0.84), and max_units of the task allows 3: ask for less, or raise "
        "the limit"
    )


def test_a_limit_that_cannot_be_checked_allows_nothing_and_says_how_to_give_the_price() -> None:
    said = check({"model_name": "kling-v9", "mode": "pro", "sound": "on"}, TASK).too_dear
    assert said == (
        "What this generation costs is not known, so the limit of 3 units (max_units of the task) cannot be checked: "
        "give its price in the connection's extra as prices, such as "
        '{"image-to-video": {"kling-v9": {"pro sound": 1}}} for 1 unit for each second, or take the limit away'
    )
    # What the sentence says is taken.
    given = '{"image-to-video": {"kling-v9": {"pro sound": 0.5}}}'
    assert check({"model_name": "kling-v9", "mode": "pro", "sound": "on"}, TASK, prices=given).too_dear is None


@pytest.mark.parametrize(
    ("route", "fields", "example"),
    [
        ("image-expansion", {"n": "many"}, '{"image-expansion": {"*": 1}} for 1 unit for each image'),
        ("virtual-try-on", {"model_name": "new"}, '{"virtual-try-on": {"new": 1}} for 1 unit for each try-on'),
        ("no-such-route", {}, "which this route has none of"),
    ],
)
def test_the_example_fits_the_route(route: str, fields: dict[str, Any], example: str) -> None:
    assert example in str(price(route, fields, prices={}, limits=[TASK]).too_dear)


@pytest.mark.parametrize(("value", "units"), [(3, 3), (0.5, 0.5), ("2.5", 2.5), (" 4 ", 4)])
def test_a_limit(value: Any, units: float) -> None:
    assert limit_of(value, "the task") == (units, "max_units of the task")


@pytest.mark.parametrize("blank", [None, "", " ", math.nan])
def test_no_limit(blank: Any) -> None:
    assert limit_of(blank, "the task") is None


@pytest.mark.parametrize("value", [0, -1, "five", True, math.inf, "nan", [3]])
def test_what_is_no_limit_is_refused(value: Any) -> None:
    with pytest.raises(KlingInputError, match=r"max_units of the task is .*, it must be a number above 0; nothing was"):
        limit_of(value, "the task")
