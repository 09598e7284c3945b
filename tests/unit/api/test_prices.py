"""Estimates are never wrong in sign, a connection's prices come first and are checked, a bill is compared."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_kling.api.price_list import TARIFFS
from airflow_kling.api.prices import compare_bill, estimate, parse_prices, priced_fields

V3 = {"model_name": "kling-v3"}


@pytest.mark.parametrize(
    ("route", "fields"),
    [
        ("image-to-video", {"model_name": "kling-v9"}),
        ("image-to-video", {}),
        ("image-to-video", {**V3, "mode": "8k"}),
        ("image-to-video", {**V3, "duration": "{{ params.seconds }}"}),
        ("image-to-video", {**V3, "duration": "-5"}),
        ("image-to-video", {**V3, "duration": "nan"}),
        ("image-to-video", {**V3, "duration": "inf"}),
        ("image-to-video", {**V3, "duration": object()}),
        ("image-to-video", {"model_name": "kling-v2-5-turbo", "sound": "on"}),
        ("image-generation", {**V3, "n": 0}),
        ("no-such-route", V3),
    ],
)
def test_what_is_not_known_has_no_estimate(route: str, fields: dict[str, Any]) -> None:
    assert estimate(route, fields) is None


@pytest.mark.parametrize("blank", [None, "", "  ", math.nan])
def test_a_blank_field_has_the_default_of_the_api(blank: Any) -> None:
    assert estimate("image-to-video", {**V3, "mode": blank, "duration": blank}) == estimate("image-to-video", V3)
    assert priced_fields("image-to-video") == ("model_name", "mode", "duration", "sound", "voice_list")
    assert priced_fields("no-such-route") == ()


anything = st.none() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["std", "pro", "4k", "auto"])
models = st.sampled_from(sorted({model for tariff in TARIFFS.values() for model in tariff.prices}))


@given(st.sampled_from(sorted(TARIFFS)), models, st.data())
def test_an_estimate_is_a_number_and_never_negative_whatever_the_fields(
    route: str, model: str, data: st.DataObject
) -> None:
    fields = {name: data.draw(anything, name) for name in priced_fields(route) if name != "model_name"}
    found = estimate(route, {**fields, "model_name": model})
    assert found is None or (0 <= found.units < math.inf and 0 <= found.usd < math.inf)


def test_the_connections_prices_come_before_the_list() -> None:
    prices = parse_prices('{"image-to-video": {"kling-v9": 1.5, "kling-v3": {"4k": 2}, "*": {"std": 0.5}}}')
    units = {
        "kling-v9": estimate("image-to-video", {"model_name": "kling-v9", "mode": "pro"}, prices=prices),
        "kling-v8": estimate("image-to-video", {"model_name": "kling-v8"}, prices=prices),
        "4k": estimate("image-to-video", {**V3, "mode": "4k"}, prices=prices),
        "pro": estimate("image-to-video", {**V3, "mode": "pro"}, prices=prices),
    }
    assert {name: (found.units, found.listed) for name, found in units.items() if found} == {
        "kling-v9": (7.5, False),
        "kling-v8": (2.5, False),
        "4k": (10, False),
        "pro": (4, True),
    }
    assert estimate("text-to-video", {"model_name": "kling-v9"}, prices=prices) is None


@pytest.mark.parametrize("blank", [None, "", "  ", {}, "{}"])
def test_no_prices(blank: Any) -> None:
    assert parse_prices(blank) == {}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("8 units", "is no JSON"),
        ("[1]", "is [1], it must be an object of routes"),
        ({"image_to_video": {"*": 1}}, "has route 'image_to_video', which must be one of multi-image-to-image, "),
        ({"image-to-video": 5}, "has 5 for image-to-video, it must be an object of models, or of * for all"),
        ({"image-to-video": {"kling-v9": "dear"}}, "has 'dear' for image-to-video, kling-v9, which must be a number"),
        ({"image-to-video": {"kling-v9": -1}}, "has -1 for"),
        ({"image-to-video": {"kling-v9": True}}, "has True for"),
        ({"image-to-video": {"kling-v9": math.inf}}, "has inf for"),
        (
            {"image-to-video": {"kling-v9": {"standard": 1}}},
            "has 'standard' for image-to-video, kling-v9, which must be",
        ),
        ({"image-to-video": {"kling-v9": {"std": "1"}}}, "has '1' for"),
        ({"image-expansion": {"*": {"std": 1}}}, "has 'std' for image-expansion, *, which must be a number"),
    ],
)
def test_prices_that_are_wrong(value: Any, said: str) -> None:
    with pytest.raises(ValueError, match=r"^(is|has) ") as caught:
        parse_prices(value)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("route", "billed", "estimated", "said"),
    [
        ("image-to-video", 3.0, 3.0, ("Kling billed 3 units.", False)),
        ("image-to-video", 3.3, 3.0, ("Kling billed 3.3 units.", False)),
        ("image-to-video", 1.0, None, ("Kling billed 1 unit.", False)),
        ("image-to-video", 3.5, 3.0, ("Kling billed 3.5 units, and 3 units had been estimated.", True)),
        ("omni-image", 24.0, 72, ("Kling billed 24 units, and 72 units had been estimated.", False)),
        ("virtual-try-on", 20.0, 1.0, ("Kling billed 20 units.", False)),
        ("no-such-route", 20.0, 1.0, ("Kling billed 20 units.", False)),
        ("image-to-video", None, 3.0, None),
    ],
)
def test_a_bill_is_compared_within_a_tenth(route: str, billed: float | None, estimated: Any, said: Any) -> None:
    assert compare_bill(route, billed, estimated) == said
