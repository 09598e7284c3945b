"""A form's fields have the types, choices, limits and defaults of the rows."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_kling.api.routes import find_route, route_names
from airflow_kling.forms import field_param


@pytest.mark.parametrize(
    ("route", "name", "schema", "value"),
    [
        ("multi-image-to-image", "n", {"type": "integer", "minimum": 1, "maximum": 9}, 1),
        (
            "multi-image-to-image",
            "prompt",
            {"type": ["null", "string"], "maxLength": 2500, "format": "multiline"},
            None,
        ),
        ("image-to-video", "mode", {"type": "string", "enum": ["std", "pro", "4k"]}, "std"),
        ("image-to-video", "sound", {"type": ["null", "string"], "enum": [None, "on", "off"]}, None),
        ("image-to-video", "cfg_scale", {"type": ["null", "number"], "minimum": 0, "maximum": 1}, None),
        ("image-to-video", "multi_shot", {"type": ["null", "boolean"]}, None),
        (
            "virtual-try-on",
            "model_name",
            {
                "type": ["null", "string"],
                "examples": ["kolors-virtual-try-on-v1", "kolors-virtual-try-on-v1-5"],
            },
            None,
        ),
    ],
)
def test_a_field_is_what_its_row_says(route: str, name: str, schema: dict[str, Any], value: Any) -> None:
    param = field_param(route, name)
    assert (dict(param.schema), param.value) == (schema, value)


def test_a_list_is_one_of_texts() -> None:
    param = field_param("multi-image-to-image", "subject_images", title="Subjects")
    assert param.schema == {
        "type": "array",
        "items": {"type": "string"},
        "minItems": 1,
        "maxItems": 4,
        "title": "Subjects",
    }
    assert not param.has_value


def test_what_the_author_says_replaces_the_row() -> None:
    param = field_param("text-to-video", "mode", default="pro", description="720p or more")
    assert (param.value, param.description) == ("pro", "720p or more")


@pytest.mark.parametrize("route", route_names())
def test_every_default_is_allowed(route: str) -> None:
    for name, field in find_route(route).request.model_fields.items():
        if not field.is_required() and name != "extra_fields":
            field_param(route, name).resolve()
