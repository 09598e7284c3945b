"""The price list says what Kling's list says [W]: each row of it, by the fields that a request has."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_kling.api.price_list import TARIFFS
from airflow_kling.api.prices import estimate
from airflow_kling.api.routes import find_route, route_names

BASE, FEATURE = [{"video_url": "u", "refer_type": "base"}], [{"video_url": "u", "refer_type": "feature"}]
VOICES = [{"voice_id": "v"}]

IMAGES: list[tuple[str, str | None, dict[str, Any], float]] = [
    ("multi-image-to-image", "kling-v2-1", {}, 16),
    ("multi-image-to-image", "kling-v2", {"n": 9}, 144),
    ("image-generation", "kling-v3", {}, 8),
    ("image-generation", "kling-v3", {"image": "base64", "n": 3}, 24),
    ("image-generation", "kling-v2-1", {}, 4),
    ("image-generation", "kling-v2-1", {"image": "base64"}, 8),
    ("omni-image", "kling-image-o1", {}, 8),
    ("omni-image", "kling-image-o1", {"resolution": "2k"}, 8),
    ("omni-image", "kling-v3-omni", {"resolution": "2k", "n": 2}, 16),
    ("omni-image", "kling-v3-omni", {"resolution": "4k"}, 16),
    ("omni-image", "kling-v3-omni", {"result_type": "series"}, 32),
    ("omni-image", "kling-v3-omni", {"result_type": "series", "series_amount": 2, "n": 9, "resolution": "4k"}, 32),
    ("image-expansion", None, {}, 8),
    ("image-expansion", None, {"n": 4}, 32),
]
#: Units for each second.
V3 = [
    ("std", "off", 0.6),
    ("std", "on", 0.9),
    ("pro", "off", 0.8),
    ("pro", "on", 1.2),
    ("4k", "off", 3),
    ("4k", "on", 3),
]
OMNI = [
    ("std", "off", 0.6),
    ("std", "on", 0.8),
    ("pro", "off", 0.8),
    ("pro", "on", 1),
    ("4k", "off", 3),
    ("4k", "on", 3),
]
CLIPS = ("text-to-video", "image-to-video")
VIDEOS: list[tuple[str, str, dict[str, Any], float]] = [
    *((route, "kling-v3", {"mode": m, "sound": s, "duration": "7"}, 7 * u) for route in CLIPS for m, s, u in V3),
    *((route, "kling-v3", {}, 3) for route in CLIPS),
    *((route, "kling-v2-6", {"mode": "std"}, 1.5) for route in CLIPS),
    *((route, "kling-v2-6", {"mode": "std", "duration": "10"}, 3) for route in CLIPS),
    *((route, "kling-v2-6", {"mode": "pro"}, 2.5) for route in CLIPS),
    *((route, "kling-v2-6", {"mode": "pro", "duration": "10"}, 5) for route in CLIPS),
    *((route, "kling-v2-6", {"mode": "pro", "sound": "on"}, 5) for route in CLIPS),
    *((route, "kling-v2-6", {"mode": "pro", "sound": "on", "duration": "10"}, 10) for route in CLIPS),
    ("image-to-video", "kling-v2-6", {"mode": "pro", "sound": "on", "voice_list": VOICES}, 6),
    ("image-to-video", "kling-v2-6", {"mode": "pro", "sound": "on", "voice_list": VOICES, "duration": "10"}, 12),
    *((route, "kling-v2-5-turbo", {"mode": "std"}, 1.5) for route in CLIPS),
    *((route, "kling-v2-5-turbo", {"mode": "std", "duration": "10"}, 3) for route in CLIPS),
    *((route, "kling-v2-5-turbo", {"mode": "pro"}, 2.5) for route in CLIPS),
    *((route, "kling-v2-5-turbo", {"mode": "pro", "duration": "10"}, 5) for route in CLIPS),
    *(("omni-video", "kling-v3-omni", {"mode": m, "sound": s, "duration": "15"}, 15 * u) for m, s, u in OMNI),
    ("omni-video", "kling-v3-omni", {}, 4),
    ("omni-video", "kling-v3-omni", {"mode": "std", "video_list": FEATURE}, 4.5),
    ("omni-video", "kling-v3-omni", {"mode": "pro", "video_list": FEATURE}, 6),
    ("omni-video", "kling-video-o1", {"mode": "std", "duration": "3"}, 1.8),
    ("omni-video", "kling-video-o1", {"mode": "pro"}, 4),
    ("omni-video", "kling-video-o1", {"mode": "std", "video_list": FEATURE}, 4.5),
    ("omni-video", "kling-video-o1", {"mode": "pro", "video_list": FEATURE, "duration": "10"}, 12),
]


@pytest.mark.parametrize(("route", "model", "fields", "units"), IMAGES)
def test_images(route: str, model: str | None, fields: dict[str, Any], units: float) -> None:
    found = estimate(route, {"model_name": model, **fields})
    assert found is not None
    assert (found.units, found.pack, found.at_most, found.listed) == (units, "image", False, True)
    assert found.usd == pytest.approx(units * 0.0035)


@pytest.mark.parametrize(("route", "model", "fields", "units"), VIDEOS)
def test_videos(route: str, model: str, fields: dict[str, Any], units: float) -> None:
    found = estimate(route, {"model_name": model, **fields})
    assert found is not None
    assert (found.units, found.pack, found.at_most) == (pytest.approx(units), "video", False)
    assert found.usd == pytest.approx(units * 0.14)


@pytest.mark.parametrize("model", ["kolors-virtual-try-on-v1", "kolors-virtual-try-on-v1-5"])
def test_a_try_on_is_a_unit_of_its_own_pack(model: str) -> None:
    found = estimate("virtual-try-on", {"model_name": model, "human_image": "base64", "cloth_image": "base64"})
    assert found == (1, "try-on", 0.07, False, True)


@pytest.mark.parametrize(
    ("model", "mode", "most"),
    [("kling-video-o1", "std", 9.0), ("kling-video-o1", "pro", 12.0), ("kling-v3-omni", "pro", 18.6)],
)
def test_an_edited_video_is_at_most_as_long_as_the_longest_source(model: str, mode: str, most: float) -> None:
    found = estimate("omni-video", {"model_name": model, "mode": mode, "video_list": BASE, "duration": "3"})
    assert found is not None
    assert (found.units, found.at_most) == (most, True)


def test_a_series_whose_amount_the_model_decides_is_at_most_nine_pictures() -> None:
    fields = {"model_name": "kling-v3-omni", "result_type": "series", "series_amount": "auto"}
    found = estimate("omni-image", fields)
    assert found is not None
    assert (found.units, found.at_most) == (72, True)
    assert str(found) == "at most 72 units (about $0.252)"


def test_every_route_has_a_tariff_and_every_tariff_fields_of_its_route() -> None:
    for name in route_names():
        assert set(TARIFFS[name].defaults) <= set(find_route(name).fields), name


def test_every_model_that_a_route_knows_has_a_price() -> None:
    for name in route_names():
        for endpoint in find_route(name).endpoints.values():
            for model in endpoint.models:
                fields = {"model_name": model, **({"mode": "pro"} if "mode" in TARIFFS[name].defaults else {})}
                assert estimate(name, fields) is not None, (name, model)
