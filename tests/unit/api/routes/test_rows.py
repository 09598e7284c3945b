"""What holds for every row: it is whole, and its request can be described, sent and recorded."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_kling.api.gateways import GATEWAYS
from airflow_kling.api.request import for_gateway, unknown_model
from airflow_kling.api.route import VideoClass
from airflow_kling.api.routes import find_route, route_names
from airflow_kling.api.values import RESULT_KINDS
from airflow_kling.reporting.xcom import describe_request
from tests.unit.api.routes.asking import A

NAMES = route_names()
LEAST: dict[str, dict[str, Any]] = {
    "multi-image-to-image": {"subject_images": [A, A]},
    "image-generation": {"prompt": "p"},
    "omni-image": {"prompt": "p"},
    "image-expansion": {
        "image": A,
        **dict.fromkeys([f"{side}_expansion_ratio" for side in ("up", "down", "left", "right")], 0.1),
    },
    "virtual-try-on": {"human_image": A, "cloth_image": A},
    "text-to-video": {"prompt": "p"},
    "image-to-video": {"image": A},
    "omni-video": {"prompt": "p", "aspect_ratio": "1:1"},
}


def test_there_are_eight() -> None:
    assert sorted(LEAST) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_row_is_whole(name: str) -> None:
    route = find_route(name)
    assert route.name == name
    assert list(route.endpoints) == list(GATEWAYS)
    assert set(route.media) <= set(route.fields)
    assert set(route.request.model_table) <= {one for end in route.endpoints.values() for one in end.models}
    for rule in (*route.request.rules, *(rule for end in route.endpoints.values() for rule in end.rules)):
        assert set(rule.fields) <= set(route.fields)
    assert {one for fields in route.request.model_table.values() for one in fields} <= set(route.fields)
    assert {one.removeprefix("series_") for one in route.results} <= set(RESULT_KINDS)
    assert {route.slots_field, route.series_field} - {None} <= set(route.fields)
    assert not {"camera_control", "static_mask", "dynamic_masks", "model"} & set(route.fields)


@pytest.mark.parametrize("name", NAMES)
def test_both_gateways_of_cometapi_have_the_newer_routes_at_one_place(name: str) -> None:
    route = find_route(name)
    same = route.endpoint("cometapi") is route.endpoint("cometapi-v2")
    assert same is (name != "multi-image-to-image")


def test_videos_are_looked_for_after_a_minute() -> None:
    for name in NAMES:
        route = find_route(name)
        is_video = route.results == ("videos",)
        assert (route.pace.first_poll, route.pace.dense_interval) == ((60, 20) if is_video else (11, 4.2))


def test_a_video_as_a_reference_is_a_video_class() -> None:
    videos = [
        (name, field)
        for name in NAMES
        for field, media in find_route(name).media.items()
        if isinstance(media.media_class, VideoClass)
    ]
    assert videos == [("omni-video", "video_list")]


@pytest.mark.parametrize("gateway", GATEWAYS)
@pytest.mark.parametrize("name", NAMES)
def test_the_default_model_of_a_gateway_is_sent_and_recorded(name: str, gateway: str) -> None:
    route, api = find_route(name), GATEWAYS[gateway]
    request = for_gateway(route, route.request.parse(LEAST[name]), api)
    models = route.endpoint(gateway).models
    assert getattr(request, "model_name", None) == (models[0] if models else None)
    assert unknown_model(route, request, api) is None
    asked = describe_request(route, request, [], gateway_name=gateway)
    assert json.loads(json.dumps(asked)) == asked
    assert A not in json.dumps(asked)
    assert set(asked) <= {*route.fields, "route", "gateway", "references"}


@pytest.mark.parametrize("name", NAMES)
def test_a_form_can_be_made_of_a_row(name: str) -> None:
    schema = find_route(name).request.model_json_schema()
    assert set(find_route(name).fields) <= set(schema["properties"])
    assert set(schema.get("required", ())) == {
        one for one in LEAST[name] if one != "aspect_ratio" and one != "prompt"
    } | ({"prompt"} if name in ("image-generation", "omni-image") else set())
    if name.endswith("video"):
        assert "5" in json.dumps(schema["properties"]["duration"])


@pytest.mark.parametrize("name", NAMES)
def test_an_element_id_stays_whole_through_the_record(name: str) -> None:
    route = find_route(name)
    if "element_list" not in route.fields:
        return
    request = route.request.parse({**LEAST[name], "element_list": ["9223372036854775807"]})
    asked = describe_request(route, request, [], gateway_name="official")
    assert json.loads(json.dumps(asked))["element_list"] == [{"element_id": 2**63 - 1}]
