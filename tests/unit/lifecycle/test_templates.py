"""Literals are checked while a DAG file is parsed; templates wait for the run."""

from __future__ import annotations

import pathlib
from datetime import timedelta
from typing import Any

import pytest

from airflow_kling.api.routes.multi_image_to_image import ROUTE
from airflow_kling.exceptions import KlingInputError
from airflow_kling.lifecycle import templates

URL = "https://example.com/a.png"
FIELDS = dict.fromkeys(ROUTE.fields) | {"subject_images": [URL, URL], "n": 1, "aspect_ratio": "16:9"}


def fields(**changes: Any) -> dict[str, Any]:
    return {**FIELDS, **changes}


class Unresolved:
    """Stands for an XComArg or a DAG parameter."""


LITERAL: list[tuple[Any, bool]] = [
    ("text", True),
    ("{{ params.a }}", False),
    ("a {% if x %}b{% endif %}", False),
    ("{# a comment #}", False),
    ("{ not a template }", True),
    (b"{{", True),
    (1, True),
    (None, True),
    (pathlib.Path("a.png"), True),
    (["a", b"b"], True),
    (["a", "{{ b }}"], False),
    (("a", Unresolved()), False),
    ({"enabled": True}, True),
    ({"enabled": "{{ a }}"}, False),
    (Unresolved(), False),
]


@pytest.mark.parametrize(("value", "literal"), LITERAL, ids=[str(value) for value, _ in LITERAL])
def test_is_literal(value: Any, literal: bool) -> None:
    assert templates.is_literal(value) is literal


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"subject_images": []}, "subject_images has 0 entries"),
    ({"subject_images": [URL] * 5}, "subject_images has 5 entries"),
    ({"subject_images": ["{{ a }}"] * 5}, "subject_images has 5 entries"),
    ({"subject_images": [URL, "ftp://example.com/a.png"]}, "subject_images[1] has the unsupported scheme ftp://"),
    ({"subject_images": [URL, None]}, "subject_images[1] is a NoneType"),
    ({"subject_images": [Unresolved(), ""]}, "subject_images[1] is empty"),
    ({"scene_image": "ftp://example.com/a.png"}, "scene_image has the unsupported scheme"),
    ({"style_image": ["a"]}, "style_image is a list"),
    ({"prompt": "x" * 2501}, "prompt has 2501 characters"),
    ({"negative_prompt": "x" * 2501}, "negative_prompt has 2501 characters"),
    ({"n": 10}, "n is 10"),
    ({"n": 0}, "n is 0"),
    ({"aspect_ratio": "5:4"}, "aspect_ratio is '5:4'"),
    ({"callback_url": "ftp://example.com"}, "callback_url"),
    ({"watermark_info": {"on": True}}, "watermark_info"),
]


@pytest.mark.parametrize(("wrong", "words"), WRONG, ids=[words[:40] for _, words in WRONG])
def test_wrong_literals_are_refused_at_parse_time(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(KlingInputError) as caught:
        templates.check_literals(ROUTE, fields(**wrong))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "right",
    [
        {},
        {"subject_images": "{{ params.images }}"},
        {"subject_images": Unresolved()},
        {"subject_images": ["{{ a }}", Unresolved()]},
        {"subject_images": ["no/such/file.png"]},
        {"scene_image": "{{ params.scene }}"},
        {"scene_image": ""},
        {"style_image": Unresolved()},
        {"n": "{{ params.n }}"},
        {"n": Unresolved()},
        {"prompt": "{{ x }}" * 1000},
        {"aspect_ratio": "{{ params.ratio }}"},
        {"watermark_info": {"enabled": "{{ x }}"}},
    ],
    ids=str,
)
def test_what_is_templated_waits_for_the_run(right: dict[str, Any]) -> None:
    templates.check_literals(ROUTE, fields(**right))


@pytest.mark.parametrize(("value", "seconds"), [(timedelta(minutes=2), 120.0), (3, 3.0), (0.5, 0.5)])
def test_seconds(value: timedelta | float, seconds: float) -> None:
    assert templates.seconds(value, "timeout") == seconds
