"""Virtual try-on: two images and a model, and nothing else."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from airflow_kling.api.gateways import GATEWAYS
from airflow_kling.api.request import unknown_limits, unknown_model
from airflow_kling.api.routes.virtual_try_on import ROUTE
from airflow_kling.exceptions import KlingInputError
from tests.unit.api.routes.asking import ALL, A, Asking, B, urls

ask = Asking(ROUTE, {"human_image": A, "cloth_image": B})


def picture(width: int, height: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (width, height), "teal").save(out, "PNG")
    return out.getvalue()


@pytest.mark.parametrize("gateway", ALL)
def test_where_it_is(gateway: str) -> None:
    assert ask.url(gateway) == urls("images/kolors-virtual-try-on")[gateway]


@pytest.mark.parametrize("gateway", ALL)
def test_every_field_has_the_wires_name(gateway: str) -> None:
    least = {"model_name": "kolors-virtual-try-on-v1", "human_image": A, "cloth_image": B}
    assert ask.body(gateway) == least
    more = {
        "model_name": "kolors-virtual-try-on-v1-5",
        "callback_url": "https://example.com/hook",
        "external_task_id": "mine",
    }
    assert ask.body(gateway, **more) == {**least, **more}


@pytest.mark.parametrize("name", ["human_image", "cloth_image"])
def test_both_images_are_required(name: str) -> None:
    assert ask.refusal(**{name: None}) == f"{name} is required"


@pytest.mark.parametrize("name", ["n", "prompt", "watermark_info", "negative_prompt", "aspect_ratio"])
def test_what_is_no_field(name: str) -> None:
    assert ask.refusal(**{name: 1}) == f"{name} is not a field of the API"


def test_an_image_may_have_any_ratio_but_300_pixels_a_side() -> None:
    assert ask.body(human_image=picture(300, 1200))["human_image"].startswith("iVBORw0KGgo")
    with pytest.raises(KlingInputError, match=r"cloth_image has 299x400 px, under the limit of 300 px a side"):
        ask.body(cloth_image=picture(299, 400))


def test_models() -> None:
    request = ask.request(model_name="kolors-virtual-try-on-v2")
    assert "is not known for route 'virtual-try-on'" in (unknown_model(ROUTE, request, GATEWAYS["official"]) or "")
    assert unknown_limits(ROUTE, request) is None  # no model takes less than another
    assert ROUTE.names_slots({}) is None  # one slot [C]
