"""The operators of all routes: their parameters are the fields of their rows, and what they get reaches the API."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG

from airflow_kling.api.routes import find_route, route_names
from airflow_kling.exceptions import KlingInputError
from airflow_kling.operators import find_operator, generate
from airflow_kling.operators.base import KlingGenerationOperator

URL = "https://example.com/a.png"
COMMON = ("callback_url", "external_task_id")
#: The least that each route takes.
LEAST: dict[str, dict[str, Any]] = {
    "multi-image-to-image": {"subject_images": [URL, URL]},
    "image-generation": {"prompt": "a cup"},
    "omni-image": {"prompt": "a cup"},
    "image-expansion": {
        "image": URL,
        **dict.fromkeys([f"{side}_expansion_ratio" for side in ("up", "down", "left", "right")], 0.1),
    },
    "virtual-try-on": {"human_image": URL, "cloth_image": URL},
    "text-to-video": {"prompt": "a cup"},
    "image-to-video": {"image": URL},
    "omni-video": {"prompt": "a cup", "aspect_ratio": "1:1"},
}


def defaults(kind: type, names: Any) -> dict[str, Any]:
    found = inspect.signature(kind.__init__).parameters
    return {name: found[name].default for name in names if name in found}


@pytest.mark.parametrize("name", route_names())
def test_parameters_are_the_fields_of_the_row(name: str) -> None:
    route, operator = find_route(name), find_operator(name)
    fields = {
        name: inspect.Parameter.empty if field.is_required() else field.default
        for name, field in route.request.model_fields.items()
        if name != "extra_fields"
    }
    own = {key for key in inspect.signature(operator.__init__).parameters if key not in ("self", "kwargs")}
    assert own == fields.keys() - {*COMMON}
    assert defaults(operator, own) | defaults(KlingGenerationOperator, COMMON) == fields


@pytest.mark.parametrize("name", route_names())
def test_every_field_is_templated_and_documented(name: str) -> None:
    route, operator = find_route(name), find_operator(name)
    archiving = {"destination", "aws_conn_id", "s3_extra_args"}
    assert set(operator.template_fields) == {*route.fields, "extra_fields", "kling_conn_id", "max_units", *archiving}
    assert set(operator.template_fields_renderers.values()) == {"md", "json"}
    for field in set(route.fields) - {*COMMON}:
        assert f":param {field}: " in (operator.__doc__ or "")


@pytest.mark.parametrize("name", route_names())
def test_every_field_becomes_an_attribute(name: str) -> None:
    fields = {**dict.fromkeys(find_route(name).fields, "{{ params.x }}"), "extra_fields": {"new": 1}}
    task = find_operator(name)(task_id="submit", **fields)
    assert {field: getattr(task, field) for field in fields} == fields


def test_one_import_path_has_all_of_them() -> None:
    operators = {find_operator(name) for name in route_names()}
    assert {getattr(generate, name) for name in generate.__all__} == operators
    assert {kind.__name__ for kind in operators} == set(generate.__all__)
    with pytest.raises(AttributeError, match="KlingSongOperator"):
        _ = generate.KlingSongOperator


def test_a_missing_field_is_named_while_parsing() -> None:
    with DAG("d", schedule=None), pytest.raises(Exception, match="image"):
        find_operator("image-to-video")(task_id="submit")


def test_extra_fields_cannot_stand_for_a_parameter() -> None:
    with pytest.raises(KlingInputError, match="extra_fields has prompt, which is a field of the route"):
        find_operator("text-to-video")(task_id="submit", prompt="a", extra_fields={"prompt": "b"})
