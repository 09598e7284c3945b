"""The bodies that the API's documentation quotes, word for word."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from airflow_kling.api import protocol
from airflow_kling.api.gateways import COMETAPI
from airflow_kling.api.request import for_gateway
from airflow_kling.api.routes.multi_image_to_image import ROUTE, MultiImageToImageRequest
from airflow_kling.api.tasks import KlingTask
from airflow_kling.exceptions import (
    KlingAPIError,
    KlingBadRequestError,
    KlingError,
    KlingRateLimitError,
    KlingTaskNotFoundError,
)

NOW = 1_800_000_000.0
# The example image of the CometAPI page "Multi-Image to Image".
IMAGE = "https://filesystem.site/cdn/20250814/goDW44JIf6eSuxAS7TNringhWjO9kW.png"
# Its curl body.
PAGE_REQUEST = {"subject_image_list": [{"subject_image": IMAGE}] * 4}
# Its example answer, in which every value is a placeholder of the documentation's generator.
PAGE_ANSWER = (
    '{"code": 123, "message": "<string>", "request_id": "<string>", "data": '
    '{"task_id": "<string>", "task_status": "<string>", "created_at": 123, "updated_at": 123}}'
)


def read(text: str, status: int = 200, asked: str | None = None) -> KlingTask:
    return protocol.read_task(httpx.Response(status, text=text), now=NOW, kling_task_id=asked)


def sent(request: MultiImageToImageRequest) -> httpx.Request:
    request = for_gateway(ROUTE, request, COMETAPI)
    return protocol.create_request(COMETAPI, COMETAPI.base_url, ROUTE, request)


def test_request_of_the_page() -> None:
    request = sent(MultiImageToImageRequest.parse({"subject_images": [IMAGE] * 4}))
    assert request.method == "POST"
    assert str(request.url) == "https://api.cometapi.com/kling/v1/images/generations"
    assert request.headers["content-type"] == "application/json"
    body = json.loads(request.content)
    assert body["subject_image_list"] == PAGE_REQUEST["subject_image_list"]
    # What the curl leaves out is sent with the default that the page gives it, and nothing beyond.
    assert {name: body[name] for name in body.keys() - PAGE_REQUEST.keys()} == {
        "model_name": "kling-v2",
        "n": 1,
        "aspect_ratio": "16:9",
    }


def test_every_field_of_the_page_is_spelled_as_there() -> None:
    fields: dict[str, Any] = {
        "prompt": "two friends",
        "style_image": IMAGE,
        "n": 9,
        "aspect_ratio": "21:9",
        "callback_url": "https://example.com/callback",
        "external_task_id": "mine",
    }
    request = sent(MultiImageToImageRequest.parse({"subject_images": [IMAGE] * 2, "scene_image": IMAGE, **fields}))
    assert json.loads(request.content) == {
        "subject_image_list": [{"subject_image": IMAGE}] * 2,
        "model_name": "kling-v2",
        "scence_image": IMAGE,
        **fields,
    }


def test_answer_of_the_page_with_the_placeholder_for_its_code() -> None:
    assert read(PAGE_ANSWER).kling_task_id == "<string>"


def test_answer_of_the_page_with_the_code_of_success() -> None:
    task = read(PAGE_ANSWER.replace("123,", "0,", 1))
    assert task.kling_task_id == "<string>"
    assert task.status == "<string>"
    assert not task.finished
    assert task.request_id == "<string>"
    assert task.created_at == task.updated_at
    assert task.created_at is not None


FAILED = (
    '{"code":0,"data":{"task_id":"8334","task_info":{},"created_at":1766737710125,"updated_at":1766737711775,'
    '"task_result":{},"task_status":"failed","task_status_msg":"Image pixel is invalid"},"message":"SUCCEED",'
    '"request_id":"r"}'
)


def test_failed_task_is_a_success_of_the_call() -> None:
    task = read(FAILED, asked="8334")
    assert task == KlingTask(
        kling_task_id="8334",
        status="failed",
        status_message="Image pixel is invalid",
        created_at=datetime(2025, 12, 26, 8, 28, 30, 125000, tzinfo=UTC),
        updated_at=datetime(2025, 12, 26, 8, 28, 31, 775000, tzinfo=UTC),
        request_id="r",
    )


QUOTED_ERRORS: list[tuple[int, str, str | None, type[KlingError], str | None]] = [
    (
        429,
        '{"code":1303,"message":"parallel task over resource pack limit","request_id":"..."}',
        None,
        KlingRateLimitError,
        "1303",
    ),
    (
        400,
        '{"code":"task_not_exist","message":"task_not_exist","data":null}',
        "8334",
        KlingTaskNotFoundError,
        "task_not_exist",
    ),
    (
        500,
        '{"error":{"message":"... (request id: ...)","type":"comet_api_error","param":"","code":"invalid_request"}}',
        None,
        KlingBadRequestError,
        "invalid_request",
    ),
    (404, '{"code":null,"message":"404"}', None, KlingAPIError, None),
    (400, '{"code":1201,"message":"File is not in a valid base64 format"}', None, KlingBadRequestError, "1201"),
]


@pytest.mark.parametrize(("status", "text", "asked", "kind", "code"), QUOTED_ERRORS)
def test_quoted_errors(status: int, text: str, asked: str | None, kind: type[KlingError], code: str | None) -> None:
    with pytest.raises(KlingError) as caught:
        read(text, status, asked)
    assert type(caught.value) is kind
    assert (caught.value.http_status, caught.value.code) == (status, code)


def test_finished_task_in_xcom_has_the_documented_keys() -> None:
    text = FAILED.replace('"failed"', '"succeed"').replace(
        '"task_result":{}', '"task_result":{"images":[{"index":0,"url":"u"}]}'
    )
    assert read(text, asked="8334").to_xcom() == {
        "kling_task_id": "8334",
        "external_task_id": None,
        "status": "succeed",
        "status_message": "Image pixel is invalid",
        "route": "multi-image-to-image",
        "images": [{"index": 0, "url": "u"}],
        "created_at": "2025-12-26T08:28:30.125000+00:00",
        "updated_at": "2025-12-26T08:28:31.775000+00:00",
        "unit_deduction": None,
    }
