"""The rules of the image routes, each at its limit and beyond it, as the gateways answer."""

from __future__ import annotations

import pytest

from tests.unit.emulator.bodies import PATHS, TALL, WIDE, body, path
from tests.unit.emulator.calls import b64, picture, query

ELEMENTS = [{"element_id": number} for number in range(1, 11)]
GENERATION, OMNI, EXPANSION, TRY_ON = "image-generation", "omni-image", "image-expansion", "virtual-try-on"
V2_1 = {"model_name": "kling-v2-1", "image": WIDE}
SINGLE = {"model_name": "kling-image-o1", "element_list": None}
SQUARE = dict.fromkeys(
    ("up_expansion_ratio", "down_expansion_ratio", "left_expansion_ratio", "right_expansion_ratio"), 0
)

REFUSED = [
    (GENERATION, {"prompt": None}, "prompt is required"),
    (GENERATION, {"aspect_ratio": "auto"}, "aspect_ratio"),
    (GENERATION, {"prompt": "x" * 2501}, "prompt is longer than 2500"),
    (GENERATION, {"negative_prompt": "x" * 2501}, "negative_prompt is longer than 2500"),
    (GENERATION, {"image": WIDE, "negative_prompt": "fog"}, "negative_prompt is not supported with image"),
    (GENERATION, {"image": "data:image/png;base64," + WIDE}, "not in a valid base64 format"),
    (GENERATION, {"model_name": "kling-v9"}, "model_name value 'kling-v9' is invalid"),
    (GENERATION, {"model_name": "kling-v2-1", "image_reference": "face"}, "image is required with image_reference"),
    (GENERATION, {**V2_1, "image_reference": "back"}, "image_reference value 'back'"),
    (GENERATION, {"image": WIDE, "image_reference": "face"}, "image_reference is not supported by kling-v3"),
    (GENERATION, {"image": WIDE, "image_fidelity": 0.5}, "image_fidelity is not supported by kling-v3"),
    (GENERATION, {**V2_1, "image_fidelity": 1.01}, "image_fidelity must be a number from 0 to 1"),
    (GENERATION, {**V2_1, "image_fidelity": "0.5"}, "image_fidelity must be a number"),
    (GENERATION, {**V2_1, "human_fidelity": -0.1, "image_reference": "subject"}, "human_fidelity must be a number"),
    (GENERATION, {**V2_1, "human_fidelity": 0.5, "image_reference": "face"}, "human_fidelity needs image_reference"),
    (GENERATION, {**V2_1, "element_list": ELEMENTS[:1]}, "element_list is not supported by kling-v2-1"),
    (GENERATION, {"image": WIDE, "element_list": ELEMENTS}, "at most 10 images and elements"),
    (GENERATION, {"element_list": [{"element_id": 8.298368027934066e17}]}, "element_id must be a whole number"),
    (GENERATION, {"element_list": [{"element_id": 2**63}]}, "element_id must be a whole number"),
    (GENERATION, {"element_list": [{"element_id": "seven"}]}, "element_id must be a whole number"),
    (GENERATION, {"element_list": [7]}, "element_list[0] must be an object with element_id"),
    (GENERATION, {"resolution": "4k"}, "resolution value '4k'"),
    (GENERATION, {"n": 10}, "n must be a whole number from 1 to 9"),
    (GENERATION, {"aspect_ratio": "5:4"}, "aspect_ratio value '5:4'"),
    (OMNI, {"prompt": None}, "prompt is required"),
    (OMNI, {"image_list": [{"image": WIDE}] * 11}, "image_list must have 0 to 10 images"),
    (OMNI, {"image_list": [{"image_url": WIDE}]}, "image_list[0].image is required"),
    (OMNI, {"image_list": [{"image": WIDE}] * 3, "element_list": ELEMENTS[:8]}, "at most 10 images and elements"),
    (OMNI, {**SINGLE, "resolution": "4k"}, "resolution 4k is not supported by kling-image-o1"),
    (OMNI, {**SINGLE, "result_type": "series"}, "result_type series is not supported by kling-image-o1"),
    (OMNI, {"result_type": "many"}, "result_type value 'many'"),
    (OMNI, {"series_amount": 1}, "series_amount must be a whole number from 2 to 9"),
    (OMNI, {"series_amount": 10}, "series_amount must be a whole number from 2 to 9"),
    (OMNI, {"n": 0}, "n must be a whole number from 1 to 9"),
    (OMNI, {"image_list": None, "aspect_ratio": "auto"}, "aspect_ratio auto needs an image"),
    (EXPANSION, {"image": None}, "image is required"),
    (EXPANSION, {"up_expansion_ratio": None}, "up_expansion_ratio is required"),
    (EXPANSION, {"down_expansion_ratio": None, "bottom_expansion_ratio": 0}, "down_expansion_ratio is required"),
    (EXPANSION, {"bottom_expansion_ratio": 0}, "'bottom_expansion_ratio' is not supported"),
    (EXPANSION, {"left_expansion_ratio": 2.1}, "left_expansion_ratio must be a number from 0 to 2"),
    (EXPANSION, {"right_expansion_ratio": -0.1}, "right_expansion_ratio must be a number from 0 to 2"),
    (EXPANSION, {**SQUARE, "up_expansion_ratio": 1.5, "left_expansion_ratio": 0.21}, "3.025 times the area"),
    (EXPANSION, {"prompt": "x" * 2501}, "prompt is longer than 2500"),
    (EXPANSION, {"n": 10}, "n must be a whole number"),
    (TRY_ON, {"human_image": None}, "human_image is required"),
    (TRY_ON, {"cloth_image": None}, "cloth_image is required"),
    (TRY_ON, {"n": 1}, "'n' is not supported"),
    (TRY_ON, {"prompt": "red"}, "'prompt' is not supported"),
    (TRY_ON, {"watermark_info": {"enabled": True}}, "'watermark_info' is not supported"),
    (TRY_ON, {"model_name": "kolors-virtual-try-on-v2"}, "model_name value"),
]
ACCEPTED = [
    (GENERATION, {"prompt": "x" * 2500, "negative_prompt": "x" * 2500, "n": 9, "resolution": "2k"}),
    (GENERATION, {"model_name": None}),
    *((GENERATION, {"aspect_ratio": ratio}) for ratio in ("16:9", "9:16", "1:1", "4:3", "3:4", "3:2", "2:3", "21:9")),
    (GENERATION, {"image": WIDE, "element_list": ELEMENTS[:9]}),
    (GENERATION, {"element_list": [{"element_id": 829836802793406551}, {"element_id": "829836802793406551"}]}),
    (GENERATION, {**V2_1, "image_reference": "subject", "image_fidelity": 1, "human_fidelity": 0}),
    (OMNI, {"image_list": [{"image": WIDE}] * 2, "element_list": ELEMENTS[:8], "resolution": "4k"}),
    (OMNI, {"image_list": None, "element_list": None}),
    (OMNI, {"aspect_ratio": "auto", "result_type": "series", "series_amount": "auto"}),
    (OMNI, {**SINGLE, "resolution": "2k", "n": 9, "aspect_ratio": "21:9"}),
    (EXPANSION, {**SQUARE}),
    (EXPANSION, {**SQUARE, "up_expansion_ratio": 2}),
    (EXPANSION, {**SQUARE, "up_expansion_ratio": 0.2, "left_expansion_ratio": 1.5}),
    (TRY_ON, {"model_name": "kolors-virtual-try-on-v1-5"}),
]


def post(http, route, gateway, changes):
    return http.post(path(route, gateway), json=body(route, **changes))


@pytest.mark.parametrize("gateway", ["cometapi", "official"])
@pytest.mark.parametrize(("route", "changes", "message"), REFUSED)
def test_refused(emulator, http, route, gateway, changes, message):
    answer = post(http, route, gateway, changes)
    assert (answer.status_code, answer.json()["code"]) == (400, 1201), answer.text
    assert message in answer.json()["message"]
    assert emulator.ledger()["totals"]["created"] == 0


@pytest.mark.parametrize("gateway", ["cometapi", "official"])
@pytest.mark.parametrize(("route", "changes"), ACCEPTED)
def test_the_limits_themselves_are_accepted(http, route, gateway, changes):
    answer = post(http, route, gateway, changes)
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("gateway", ["cometapi", "official"])
@pytest.mark.parametrize("model", ["kling-v1", "kling-v1-5", "kling-v2"])
def test_a_retired_model_is_discontinued(emulator, http, gateway, model):
    answer = post(http, GENERATION, gateway, {"model_name": model})
    told = answer.json()
    assert (answer.status_code, told["code"], told["message"]) == (404, 1203, "The model is discontinued")
    assert emulator.ledger()["totals"]["created"] == 0


@pytest.mark.parametrize(
    ("route", "field", "size", "good"),
    [
        (GENERATION, "image", (300, 750), True),
        (GENERATION, "image", (300, 751), False),
        (EXPANSION, "image", (299, 320), False),
        (TRY_ON, "human_image", (300, 900), True),  # no rule for the ratio there
        (TRY_ON, "cloth_image", (299, 900), False),
    ],
)
def test_the_sides_of_a_reference(emulator, http, route, field, size, good):
    answer = post(http, route, "official", {field: b64(picture(*size))})
    emulator.advance(30)
    task = http.get(f"{path(route, 'official')}/{answer.json()['data']['task_id']}").json()["data"]
    expected = ("succeed", "") if good else ("failed", "Image pixel is invalid")
    assert (task["task_status"], task["task_status_msg"]) == expected


def test_two_routes_share_a_path_on_cometapi(emulator, http):
    shared = f"/kling/v1/{PATHS[GENERATION]}"
    ids = [
        post(http, route, "cometapi", {}).json()["data"]["task_id"] for route in (GENERATION, "multi-image-to-image")
    ]
    routes = [task["route"] for task in emulator.ledger()["accounts"]["default"]["tasks"]]
    assert routes == [GENERATION, "multi-image-to-image"]
    assert [http.get(f"{shared}/{task_id}").status_code for task_id in ids] == [200, 200]
    # Here each has a path of its own, as on the official gateway.
    other = [
        post(http, route, "official", {}).json()["data"]["task_id"] for route in (GENERATION, "multi-image-to-image")
    ]
    assert query(http, other[1], "official")["task_id"] == other[1]
    assert http.get(f"{path(GENERATION, 'official')}/{other[1]}").json()["code"] == 1203


def test_one_picture_in_fields_with_different_limits(emulator, http):
    """What is true of a picture is decided for each field that it is in."""
    stretched = b64(picture(300, 900))
    tried = post(http, TRY_ON, "official", {"human_image": stretched}).json()["data"]["task_id"]
    grown = post(http, EXPANSION, "official", {"image": stretched}).json()["data"]["task_id"]
    emulator.advance(30)
    states = [
        http.get(f"{path(route, 'official')}/{task_id}").json()["data"]["task_status"]
        for route, task_id in ((TRY_ON, tried), (EXPANSION, grown))
    ]
    assert states == ["succeed", "failed"]
    assert stretched != TALL
