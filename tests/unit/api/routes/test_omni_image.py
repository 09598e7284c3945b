"""Omni image: bodies of Kling's page, and the rules of references, ratios, series and models."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_kling.api.routes.omni_image import ROUTE
from tests.unit.api.routes.asking import ALL, ELEMENT, A, Asking, B, urls

ask = Asking(ROUTE, {"prompt": "a cat"})
OMNI = "kling-v3-omni"

# The requests of Kling's page, blank fields left out [C].
PAGE: list[dict[str, Any]] = [
    {
        "model_name": "kling-image-o1",
        "prompt": "all persons into <<<object_1>>>",
        "element_list": [{"element_id": ELEMENT}],
        "image_list": [{"image": A}, {"image": B}, {"image": A}],
        "resolution": "2k",
        "n": 1,
        "aspect_ratio": "3:2",
    },
    {
        "model_name": OMNI,
        "prompt": "a cover for each <<element_1>> in the style of <<image_1>>",
        "element_list": [{"element_id": 160}, {"element_id": 161}],
        "image_list": [{"image": A}, {"image": B}],
        "resolution": "2k",
        "result_type": "series",
        "series_amount": 2,
        "aspect_ratio": "auto",
    },
]


@pytest.mark.parametrize("gateway", ALL)
def test_where_it_is(gateway: str) -> None:
    assert ask.url(gateway) == urls("images/omni-image")[gateway]


@pytest.mark.parametrize("gateway", ALL)
@pytest.mark.parametrize("body", PAGE, ids=["single", "series"])
def test_the_requests_of_the_page(gateway: str, body: dict[str, Any]) -> None:
    # n is sent with its default, which the second one leaves out.
    assert ask.body(gateway, **body) == {"n": 1, **body}


@pytest.mark.parametrize("gateway", ALL)
def test_the_least_that_is_sent(gateway: str) -> None:
    assert ask.body(gateway) == {"model_name": "kling-image-o1", "prompt": "a cat", "resolution": "1k", "n": 1}


@pytest.mark.parametrize(
    "given", [[A, B], [{"image": A}, B], f"['{A}', '{B}']", f'[{{"image": "{A}"}}, "{B}"]'], ids=str
)
def test_images_may_be_plain(given: Any) -> None:
    assert ask.body(image_list=given)["image_list"] == [{"image": A}, {"image": B}]


def test_a_prompt_is_required_and_has_2500_characters() -> None:
    assert ask.refusal(prompt=None) == "prompt is required"
    assert ask.refusal(prompt=" ") == "prompt is required"
    assert ask.body(prompt="x" * 2500)
    assert ask.refusal(prompt="x" * 2501) == "prompt has 2501 characters, at most 2500 are allowed"
    assert "control character" in ask.refusal(prompt="a\0b")


def test_images_and_elements_are_10_at_most() -> None:
    assert ask.body(image_list=[A] * 10)
    assert ask.body(image_list=[A] * 6, element_list=[1, 2, 3, 4])
    assert ask.refusal(image_list=[A] * 6, element_list=[1, 2, 3, 4, 5]) == (
        "there are 6 images and 5 elements, at most 10 together are allowed"
    )
    assert ask.refusal(image_list=[A] * 11).startswith("image_list has 11 entries, at most 10 are allowed")
    assert ask.refusal(element_list=[1] * 11).startswith("element_list has 11 entries, at most 10 are allowed")


def test_resolutions_by_model() -> None:
    for resolution in ("1k", "2k"):
        assert ask.body(resolution=resolution)["resolution"] == resolution
    assert ask.body(model_name=OMNI, resolution="4k")["resolution"] == "4k"
    assert ask.refusal(resolution="4k") == "resolution is '4k', but model 'kling-image-o1' takes '1k' or '2k'"
    assert "must be one of '1k', '2k' or '4k'" in ask.refusal(resolution="8k")


def test_series_are_for_v3_omni() -> None:
    assert ask.body(result_type="single")["result_type"] == "single"
    assert ask.body(model_name=OMNI, result_type="series")["result_type"] == "series"
    assert ask.refusal(result_type="series") == "result_type is 'series', but model 'kling-image-o1' takes 'single'"


@pytest.mark.parametrize(("given", "sent"), [(2, 2), (9, 9), ("3", 3), ("auto", "auto")])
def test_a_series_has_2_to_9_images_or_as_many_as_fit(given: Any, sent: Any) -> None:
    assert ask.body(model_name=OMNI, result_type="series", series_amount=given)["series_amount"] == sent


@pytest.mark.parametrize("given", [1, 10, 2.5, "many"], ids=repr)
def test_other_series_are_refused(given: Any) -> None:
    text = ask.refusal(model_name=OMNI, result_type="series", series_amount=given)
    assert text == f"series_amount is {given!r}, must be one of 2, 3, 4, 5, 6, 7, 8, 9 or 'auto'"


def test_n_is_1_to_9() -> None:
    assert [ask.body(n=n)["n"] for n in (1, 9, "3")] == [1, 9, 3]
    assert ask.refusal(n=0) == "n is 0, the least is 1"
    assert ask.refusal(n=10) == "n is 10, the greatest is 9"


def test_auto_needs_an_image() -> None:
    words = "aspect_ratio is 'auto', which needs an image in image_list: give one, or a ratio"
    assert ask.refusal(aspect_ratio="auto") == words
    assert ask.refusal(aspect_ratio="auto", element_list=[1]) == words
    assert ask.body(aspect_ratio="auto", image_list=[A])["aspect_ratio"] == "auto"
    assert "aspect_ratio is '5:4', must be one of" in ask.refusal(aspect_ratio="5:4")
    for ratio in ("16:9", "9:16", "1:1", "4:3", "3:4", "3:2", "2:3", "21:9"):
        assert ask.body(aspect_ratio=ratio)["aspect_ratio"] == ratio


def test_slots() -> None:
    assert ROUTE.names_slots({"n": 3}) == "n"
    assert ROUTE.names_slots({"n": 3, "result_type": "series"}) == "series_amount"
    assert ROUTE.results == ("images", "series_images")


def test_templates_wait_for_the_run() -> None:
    refused = ask.refused_in_the_dag_file
    assert "needs an image" in (refused(aspect_ratio="auto") or "")
    assert refused(aspect_ratio="auto", image_list="{{ params.images }}") is None
    assert refused(aspect_ratio="auto", image_list=["{{ params.image }}"]) is None
    assert refused(aspect_ratio="{{ params.ratio }}") is None
