"""Extra fields: sent as they are, recorded by name, and refused where the route has a parameter for them."""

from __future__ import annotations

import json
from typing import Any, BinaryIO

import pytest

from airflow_kling.api import protocol
from airflow_kling.api.gateways import GATEWAYS
from airflow_kling.api.request import build_request, for_gateway
from airflow_kling.api.route import Route
from airflow_kling.api.routes import find_route, multi_image_to_image, text_to_video
from airflow_kling.exceptions import KlingInputError
from airflow_kling.lifecycle import templates
from airflow_kling.lifecycle.redacted_fields import redact_extra_fields
from airflow_kling.reporting.xcom import describe_request
from airflow_kling.submission.identity import fingerprint, reference_queries

VIDEO, IMAGES = text_to_video.ROUTE, multi_image_to_image.ROUTE
URL = "https://example.com/a.png"
SECRET = "s3cret"


def no_storage(url: str) -> BinaryIO:
    raise AssertionError(f"opened {url}")


def built(extra: Any, route: Route = VIDEO, **fields: Any) -> Any:
    fields = {"prompt": "a cat", "extra_fields": extra, **fields}
    return build_request(route, fields, open_file=no_storage)[0]


def body(extra: Any, route: Route = VIDEO, gateway: str = "official", **fields: Any) -> dict[str, Any]:
    api = GATEWAYS[gateway]
    request = for_gateway(route, built(extra, route, **fields), api)
    sent: dict[str, Any] = json.loads(protocol.create_request(api, "https://h", route, request).content)
    return sent


def refusal(extra: Any, route: Route = VIDEO, gateway: str = "official", **fields: Any) -> str:
    with pytest.raises(KlingInputError) as caught:
        body(extra, route, gateway, **fields)
    assert SECRET not in str(caught.value)
    return str(caught.value)


def test_they_are_sent_as_they_are() -> None:
    extra = {"seed": 7, "style": {"name": None, "weights": [0.5, True]}, "blank": ""}
    assert {name: body(extra)[name] for name in extra} == extra
    assert body(extra).keys() - extra.keys() == body(None).keys()


@pytest.mark.parametrize("given", ['{"seed": 7}', "{'seed': 7}"])
def test_a_template_may_have_rendered_them(given: str) -> None:
    assert body(given)["seed"] == 7


@pytest.mark.parametrize("given", [None, {}, "", "{}"], ids=repr)
def test_none_are_none(given: Any) -> None:
    assert body(given) == body(None)
    assert "extra_fields" not in body(given)


@pytest.mark.parametrize("name", ["prompt", "mode", "external_task_id", "callback_url", "model_name", "extra_fields"])
def test_a_field_of_the_route_is_a_parameter(name: str) -> None:
    text = refusal({name: SECRET, "seed": 1})
    assert text == f"extra_fields has {name}, which is a field of the route: give it as a parameter; " + (
        "nothing was submitted."
    )


@pytest.mark.parametrize(("gateway", "name"), [("cometapi", "scence_image"), ("official", "subject_image_list")])
def test_so_is_one_that_the_body_spells_in_another_way(gateway: str, name: str) -> None:
    text = refusal({name: SECRET}, IMAGES, gateway, subject_images=[URL, URL])
    assert f"extra_fields has {name}, which is a field of the route" in text


@pytest.mark.parametrize("wrong", [{"seed": object()}, {"seed": SECRET.encode()}, [SECRET], SECRET, 7])
def test_what_is_no_json_is_refused_without_being_shown(wrong: Any) -> None:
    assert refusal(wrong).startswith("extra_fields")


def test_names_are_recorded_and_values_are_not() -> None:
    request = built({"token": SECRET, "seed": 7})
    asked = describe_request(VIDEO, request, [], gateway_name="official")
    assert asked["extra_fields"] == ["seed", "token"]
    assert SECRET not in json.dumps(asked)
    assert SECRET not in repr(request)
    assert "extra_fields" in VIDEO.recorded_fields  # the manifest takes these of the record
    assert "extra_fields" not in describe_request(VIDEO, built(None), [], gateway_name="official")


def test_another_value_is_another_input() -> None:
    def of(extra: Any) -> str:
        request = built(extra)
        asked = describe_request(VIDEO, request, [], gateway_name="official")
        return fingerprint(asked, reference_queries(VIDEO, request, []))

    assert of({"seed": 7, "a": 1}) == of({"a": 1, "seed": 7})
    assert len({of({"seed": 7}), of({"seed": 8}), of(None)}) == 3
    assert of({}) == of(None)


def test_they_are_checked_in_the_dag_file() -> None:
    with pytest.raises(KlingInputError, match="extra_fields has prompt, which is a field of the route"):
        templates.check_literals(VIDEO, {"prompt": "x", "extra_fields": {"prompt": "y"}})
    templates.check_literals(VIDEO, {"prompt": "x", "extra_fields": {"prompt": "{{ params.prompt }}"}})
    templates.check_literals(VIDEO, {"prompt": "x", "extra_fields": "{{ params.extra }}"})


def test_only_their_names_are_shown() -> None:
    assert redact_extra_fields({"token": SECRET}) == {"token": "***"}
    assert redact_extra_fields(f'{{"token": "{SECRET}"}}') == {"token": "***"}
    assert redact_extra_fields(None) is None


def test_they_are_no_field_of_the_api() -> None:
    assert "extra_fields" not in find_route("image-to-video").fields
