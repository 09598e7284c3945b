"""What a refusal of the parameters can mean."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_kling.exceptions import KlingBadRequestError
from airflow_kling.submission.refusal import meaning_of

FIELDS = ["model_name", "prompt", "n", "subject_images", "subject_image_list", "aspect_ratio"]
AS_1201: dict[str, Any] = {"code": "1201", "http_status": 400}


@pytest.mark.parametrize(
    ("said", "fields", "meaning"),
    [
        ("external_task_id 'x' already exists", AS_1201, "duplicate"),
        ("External task ID is duplicated", AS_1201, "duplicate"),
        ("the id must be unique", AS_1201, "duplicate"),
        ("任务已存在", AS_1201, "duplicate"),
        ("anything", {"code": None, "http_status": 409}, "duplicate"),
        ("external_task_id exists", {"code": "invalid_request", "http_status": 400}, "duplicate"),
        ("Invalid parameters", AS_1201, "doubtful"),
        ("", {"code": None, "http_status": 400}, "doubtful"),
        ("model_name value 'x' is invalid", AS_1201, "other"),
        ("Model name does not exist", AS_1201, "other"),
        ("n must be between 1 and 9", AS_1201, "other"),
        ("the model is discontinued", {"code": "1203", "http_status": 404}, "other"),
        ("external", {"code": "1203", "http_status": 404}, "other"),
        ("too large", {"code": None, "http_status": 413}, "other"),
    ],
    ids=str,
)
def test_meaning(said: str, fields: dict[str, Any], meaning: str) -> None:
    error = KlingBadRequestError(f'Kling answered: a parameter is invalid (HTTP 400: "{said}"); correct it.', **fields)
    assert meaning_of(error, FIELDS) == meaning


def test_without_words_of_the_api() -> None:
    error = KlingBadRequestError(
        "Kling answered: a parameter is invalid (HTTP 400, code 1201); correct the parameter that the message names.",
        **AS_1201,
    )
    assert meaning_of(error, FIELDS) == "doubtful"
