"""Which create requests are refused, and how."""

from __future__ import annotations

import pytest

from tests.unit.emulator.calls import PATHS, b64, body, create, picture


@pytest.mark.parametrize(
    ("gateway", "changes", "message"),
    [
        ("cometapi", {"subject_image_list": body()["subject_image_list"][:1]}, "2 to 4"),
        ("cometapi-v2", {"subject_image_list": []}, "1 to 4"),
        ("official", {"subject_image_list": body()["subject_image_list"] * 3}, "1 to 4"),
        ("official", {"subject_image_list": ["http://x"]}, "object"),
        ("official", {"subject_image_list": None}, "required"),
        ("cometapi", {"model_name": "kling-v2-1"}, "model_name"),
        ("cometapi", {"scene_image": "http://x/y.png"}, "scene_image"),
        ("cometapi-v2", {"scence_image": "http://x/y.png"}, "scence_image"),
        ("cometapi", {"negative_prompt": "fog"}, "negative_prompt"),
        ("official", {"negative_prompt": "x" * 2501}, "negative_prompt"),
        ("cometapi", {"prompt": "x" * 2501}, "prompt"),
        ("cometapi", {"prompt": 5}, "prompt"),
        ("cometapi", {"n": 0}, "n must"),
        ("cometapi", {"n": 10}, "n must"),
        ("cometapi", {"n": "2"}, "n must"),
        ("cometapi", {"n": True}, "n must"),
        ("cometapi", {"aspect_ratio": "5:4"}, "aspect_ratio"),
        ("cometapi", {"callback_url": "ftp://x"}, "callback_url"),
        ("official", {"watermark_info": True}, "watermark_info"),
        ("cometapi", {"style_image": "data:image/png;base64," + b64(picture())}, "not in a valid base64 format"),
        ("cometapi", {"style_image": "&&&"}, "not in a valid base64 format"),
        ("cometapi", {"style_image": b64(b"GIF89a")}, "only JPEG and PNG"),
        ("cometapi", {"style_image": b64(picture(kind="GIF"))}, "only JPEG and PNG"),
        ("cometapi", {"style_image": b64(picture()[:-30])}, "only JPEG and PNG"),
        ("cometapi", {"style_image": b64(bytes(10 * 1024 * 1024 + 1))}, "10MB"),
    ],
)
def test_bad_parameters(emulator, http, gateway, changes, message):
    answer = http.post(PATHS[gateway], json=body(**changes))
    assert (answer.status_code, answer.json()["code"]) == (400, 1201)
    assert message in answer.json()["message"]
    assert emulator.ledger()["totals"]["created"] == 0


def test_the_limits_themselves_are_accepted(http):
    create(http, "official", subject_image_list=body()["subject_image_list"][:1], prompt="x" * 2500, n=9)
    create(http, "cometapi", subject_image_list=body()["subject_image_list"] * 2, scence_image=b64(picture()))
    create(http, "cometapi-v2", model_name="kling-v2-1", scene_image=b64(picture()), negative_prompt="fog")


def test_bodies_that_are_not_json(http):
    answer = http.post(PATHS["official"], content=b"{")
    assert (answer.status_code, answer.json()["code"]) == (400, 1200)
    answer = http.post(PATHS["cometapi"], content=b"{")
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "invalid_request"
    answer = http.post(PATHS["cometapi"], json=[])
    assert (answer.status_code, answer.json()["code"]) == (400, 1200)


@pytest.mark.parametrize("size", [(299, 320), (320, 299), (301, 760)])
def test_bad_pixels_fail_later_and_with_http_200(emulator, http, size):
    task_id = create(http, style_image=b64(picture(*size)))
    emulator.advance(30)
    answer = http.get(f"{PATHS['cometapi']}/{task_id}")
    assert answer.status_code == 200
    assert (answer.json()["code"], answer.json()["message"]) == (0, "SUCCEED")
    data = answer.json()["data"]
    assert (data["task_status"], data["task_status_msg"]) == ("failed", "Image pixel is invalid")
    assert data["task_result"] == {}
    assert emulator.ledger()["totals"]["billed_tasks"] == 0


def test_a_duplicate_external_id_is_refused(emulator, http):
    create(http, external_task_id="mine")
    answer = http.post(PATHS["cometapi"], json=body(external_task_id="mine"))
    assert (answer.status_code, answer.json()["code"]) == (400, 1201)
    assert emulator.ledger()["totals"]["created"] == 1
