"""What is plainly valid while a DAG file is parsed, the model accepts; all else is left to the model."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from airflow_kling.api.limits import MAX_IMAGES, MAX_PROMPT, MAX_SUBJECTS, AspectRatio, plainly_valid
from airflow_kling.api.tasks import MultiImageToImageRequest

TEXTS = ["", " ", "x", "x" * MAX_PROMPT, "x" * (MAX_PROMPT + 1), "2", "2:1", "ftp://h", "HTTPS://h", "http://h"]
EDGES: list[Any] = [
    *TEXTS,
    *get_args(AspectRatio),
    *range(-1, MAX_IMAGES + 2),
    *(None, True, 1.0, 1.5, b"x", {}, {"enabled": True}, {"enabled": 7}),
    *([], [""], [None], [1], [b"x"], ("x",)),
    *(["x"] * count for count in range(1, MAX_SUBJECTS + 2)),
]


@pytest.mark.parametrize("field", [*MultiImageToImageRequest.model_fields, "seed"])
def test_what_is_plainly_valid_the_model_accepts(field: str) -> None:
    for value in EDGES:
        if plainly_valid({field: value}):
            MultiImageToImageRequest.check_literals({field: value})


def test_each_field_has_to_be_valid() -> None:
    assert plainly_valid({})
    assert plainly_valid({"n": 1, "prompt": "x"})
    assert not plainly_valid({"n": 0, "prompt": "x"})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("subject_images", ["a"] * MAX_SUBJECTS),
        ("prompt", "x" * MAX_PROMPT),
        ("negative_prompt", "x" * MAX_PROMPT),
        ("n", MAX_IMAGES),
        *(("aspect_ratio", ratio) for ratio in get_args(AspectRatio)),
        ("callback_url", "https://example.com/"),
        ("model_name", "kling-v2"),
        ("external_task_id", "mine"),
    ],
)
def test_what_an_author_writes_is_plainly_valid(field: str, value: Any) -> None:
    assert plainly_valid({field: value})
