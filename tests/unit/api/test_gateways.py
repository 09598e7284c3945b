"""What the gateways take differently, in the body that is sent and in what is refused before."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from airflow_kling.api import protocol
from airflow_kling.api.gateways import DEFAULT_GATEWAY, GATEWAYS
from airflow_kling.api.request import for_gateway, unknown_model
from airflow_kling.api.routes.multi_image_to_image import ROUTE
from airflow_kling.exceptions import KlingInputError

PNG = "https://example.com/a.png"
ALL = ["cometapi", "cometapi-v2", "official"]
NEWER = ["cometapi-v2", "official"]


def body(gateway: str, **fields: Any) -> dict[str, Any]:
    api = GATEWAYS[gateway]
    request = for_gateway(ROUTE, ROUTE.request.parse({"subject_images": [PNG, PNG], **fields}), api)
    sent: dict[str, Any] = json.loads(protocol.create_request(api, "https://h", ROUTE, request).content)
    return sent


def refusal(gateway: str, **fields: Any) -> str:
    with pytest.raises(KlingInputError) as caught:
        body(gateway, **fields)
    text = str(caught.value)
    assert gateway in text
    assert text.endswith("; nothing was submitted.")
    return text


def test_there_are_three_and_the_users_page_is_the_default() -> None:
    assert list(GATEWAYS) == ALL
    assert DEFAULT_GATEWAY is GATEWAYS["cometapi"]


@pytest.mark.parametrize(
    ("name", "base", "path"),
    [
        ("cometapi", "https://api.cometapi.com", "/kling/v1/images/generations"),
        ("cometapi-v2", "https://api.cometapi.com", "/kling/v1/images/multi-image2image"),
        ("official", "https://api-singapore.klingai.com", "/v1/images/multi-image2image"),
    ],
)
def test_routes(name: str, base: str, path: str) -> None:
    gateway = GATEWAYS[name]
    assert (gateway.base_url, ROUTE.endpoint(name).path) == (base, path)


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("cometapi", "scence_image", "scene_image"),
        ("cometapi-v2", "scene_image", "scence_image"),
        ("official", "scene_image", "scence_image"),
    ],
)
def test_spelling_of_the_scene(name: str, right: str, wrong: str) -> None:
    sent = body(name, scene_image=PNG)
    assert sent[right] == PNG
    assert wrong not in sent


@pytest.mark.parametrize("name", ALL)
def test_nothing_is_sent_for_what_is_not_given(name: str) -> None:
    assert set(body(name)) == {"subject_image_list", "model_name", "n", "aspect_ratio"}


@pytest.mark.parametrize(
    ("name", "model"), [("cometapi", "kling-v2"), ("cometapi-v2", "kling-v2"), ("official", "kling-v2-1")]
)
def test_default_model(name: str, model: str) -> None:
    assert body(name)["model_name"] == model


@pytest.mark.parametrize("name", NEWER)
@pytest.mark.parametrize("model", ["kling-v2", "kling-v2-1"])
def test_models_of_the_newer_gateways(name: str, model: str) -> None:
    assert body(name, model_name=model)["model_name"] == model


@pytest.mark.parametrize(("name", "model"), [("cometapi", "kling-v2-1"), *((name, "kling-v9") for name in ALL)])
def test_an_unknown_model_is_sent_with_a_warning(name: str, model: str) -> None:
    assert body(name, model_name=model)["model_name"] == model
    request = ROUTE.request.parse({"subject_images": [PNG, PNG], "model_name": model})
    warning = unknown_model(ROUTE, request, GATEWAYS[name])
    assert warning
    assert all(words in warning for words in (repr(model), repr(name), "kling-v2", "sent as it is"))


def test_a_known_model_is_no_reason_to_warn() -> None:
    request = ROUTE.request.parse({"subject_images": [PNG, PNG], "model_name": "kling-v2"})
    assert unknown_model(ROUTE, request, GATEWAYS["cometapi"]) is None


@pytest.mark.parametrize("route", ["*", "multi-image-to-image"])
def test_models_of_the_connection_come_before_the_known_ones(route: str) -> None:
    gateway = replace(GATEWAYS["cometapi"], models={route: ("kling-v5", "kling-v4")})
    request = ROUTE.request.parse({"subject_images": [PNG, PNG]})
    fitting = for_gateway(ROUTE, request, gateway)
    assert fitting.model_dump()["model_name"] == "kling-v5"
    assert unknown_model(ROUTE, fitting, gateway) is None
    assert unknown_model(ROUTE, request.model_copy(update={"model_name": "kling-v2"}), gateway)


def test_models_of_another_route_are_not_ours() -> None:
    gateway = replace(GATEWAYS["cometapi"], models={"text-to-video": ("kling-v5",)})
    request = for_gateway(ROUTE, ROUTE.request.parse({"subject_images": [PNG, PNG]}), gateway)
    assert request.model_dump()["model_name"] == "kling-v2"


def test_one_subject_is_too_few_on_the_default_gateway() -> None:
    assert "has 1 image(s), but gateway 'cometapi' takes 2 to 4" in refusal("cometapi", subject_images=[PNG])


@pytest.mark.parametrize("name", NEWER)
def test_one_subject_is_enough_on_the_newer_gateways(name: str) -> None:
    assert body(name, subject_images=[PNG])["subject_image_list"] == [{"subject_image": PNG}]


EXTRAS = [("negative_prompt", "blurred"), ("watermark_info", {"enabled": True})]


@pytest.mark.parametrize(("field", "value"), EXTRAS)
def test_extra_fields_are_refused_on_the_default_gateway(field: str, value: Any) -> None:
    assert field in refusal("cometapi", **{field: value})


@pytest.mark.parametrize("name", NEWER)
@pytest.mark.parametrize(("field", "value"), EXTRAS)
def test_extra_fields_of_the_newer_gateways(name: str, field: str, value: Any) -> None:
    assert body(name, **{field: value})[field] == value


def test_blank_negative_prompt_is_no_reason_to_refuse() -> None:
    assert "negative_prompt" not in body("cometapi", negative_prompt="")


def test_capabilities() -> None:
    assert [name for name in ALL if GATEWAYS[name].has_list] == ["official"]
    assert [name for name in ALL if GATEWAYS[name].finds_external_ids] == ["official"]
    assert [name for name in ALL if GATEWAYS[name].signs_jwt] == ["official"]
