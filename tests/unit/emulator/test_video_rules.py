"""The rules of the video routes, each at its limit and beyond it, as the gateways answer."""

from __future__ import annotations

import pytest

from tests.unit.emulator.bodies import SOURCE_VIDEO, WIDE, body, path

TEXT, IMAGE, OMNI = "text-to-video", "image-to-video", "omni-video"
V2_6, TURBO, O1 = ({"model_name": name} for name in ("kling-v2-6", "kling-v2-5-turbo", "kling-video-o1"))
VOICES = [{"voice_id": "v1"}, {"voice_id": "v2"}]
ELEMENTS = [{"element_id": number} for number in range(1, 9)]
FRAME = {"image_url": WIDE, "type": "first_frame"}
END = {"image_url": WIDE, "type": "end_frame"}
PICTURE = {"image_url": WIDE}
EDIT = {"video_url": SOURCE_VIDEO}
STYLE = {"video_url": SOURCE_VIDEO, "refer_type": "feature"}


def shots(*seconds):
    return [{"index": at + 1, "prompt": f"shot {at}", "duration": text} for at, text in enumerate(seconds)]


def several(*seconds, **changes):
    return {"multi_shot": True, "shot_type": "customize", "multi_prompt": shots(*seconds), **changes}


BOTH = [
    ({"prompt": "x" * 2501}, "prompt is longer than 2500"),
    ({"negative_prompt": "x" * 2501}, "negative_prompt is longer than 2500"),
    ({"mode": "fast"}, "mode value 'fast'"),
    ({"duration": "16"}, "duration value '16'"),
    ({"duration": 5}, "duration value '5'"),
    ({**V2_6, "duration": "6"}, "duration"),
    ({**TURBO, "duration": "3"}, "duration"),
    ({"sound": True}, "sound value 'True'"),
    ({**V2_6, "sound": "on"}, "sound is not supported by kling-v2-6 in mode std"),
    ({**TURBO, "mode": "pro", "sound": "on"}, "sound is not supported by kling-v2-5-turbo in mode pro"),
    ({"cfg_scale": 1.1}, "cfg_scale must be a number from 0 to 1"),
    ({**V2_6, "cfg_scale": 0.5}, "cfg_scale is not supported by kling-v2-6"),
    ({**TURBO, "cfg_scale": 0.5}, "cfg_scale is not supported by kling-v2-5-turbo"),
    ({"camera_control": {"type": "simple"}}, "'camera_control' is not supported"),
    ({"multi_shot": "yes"}, "multi_shot must be true or false"),
    ({**V2_6, **several("2", "3")}, "multi_shot is not supported by kling-v2-6"),
    ({"multi_shot": True}, "shot_type is required with multi_shot"),
    ({"multi_shot": True, "shot_type": "random"}, "shot_type value 'random'"),
    ({"multi_shot": True, "shot_type": "intelligence", "prompt": None}, "prompt is required"),
    ({"multi_shot": True, "shot_type": "customize"}, "multi_prompt is required with shot_type customize"),
    (several("2", "2"), "last 4 s together, duration says 5"),
    (several(*["1"] * 7), "multi_prompt must have 0 to 6 shots, not 7"),
    (several("0", "5"), "multi_prompt[0].duration value '0'"),
    (several(2, 3), "multi_prompt[0].duration value '2'"),
    ({**several("5"), "multi_prompt": [{"index": 1, "prompt": "x" * 513, "duration": "5"}]}, "longer than 512"),
    ({**several("5"), "multi_prompt": [{"prompt": "x", "duration": "5"}]}, "multi_prompt[0].index is required"),
]
REFUSED = [
    *((route, changes, message) for route in (TEXT, IMAGE) for changes, message in BOTH),
    (TEXT, {"prompt": None}, "prompt is required"),
    (TEXT, {"aspect_ratio": "4:3"}, "aspect_ratio value '4:3'"),
    (IMAGE, {"image": None}, "image is required"),
    (IMAGE, {"image": None, "image_tail": WIDE}, "image is required"),
    (IMAGE, {"image": "data:image/png;base64," + WIDE}, "not in a valid base64 format"),
    (IMAGE, {"aspect_ratio": "16:9"}, "'aspect_ratio' is not supported"),
    (IMAGE, {"static_mask": WIDE}, "'static_mask' is not supported"),
    (IMAGE, {"dynamic_masks": []}, "'dynamic_masks' is not supported"),
    (IMAGE, {**V2_6, "image_tail": WIDE}, "image_tail is not supported by kling-v2-6 in mode std"),
    (
        IMAGE,
        {**V2_6, "image_tail": WIDE, "mode": "pro", "sound": "on"},
        "image_tail is not supported by kling-v2-6 with",
    ),
    (IMAGE, {**TURBO, "image_tail": WIDE}, "image_tail is not supported by kling-v2-5-turbo in mode std"),
    (IMAGE, {"element_list": ELEMENTS[:4]}, "element_list must have 0 to 3 elements"),
    (IMAGE, {**V2_6, "element_list": ELEMENTS[:1]}, "element_list is not supported by kling-v2-6"),
    (IMAGE, {"element_list": ELEMENTS[:1], "voice_list": VOICES[:1]}, "exclude each other"),
    (IMAGE, {**V2_6, "mode": "pro", "sound": "on", "voice_list": VOICES * 2}, "voice_list must have 0 to 2 voices"),
    (IMAGE, {"voice_list": VOICES, "sound": "on"}, "voice_list is not supported by kling-v3 in mode std"),
    (IMAGE, {**V2_6, "mode": "std", "voice_list": VOICES}, "voice_list is not supported by kling-v2-6 in mode std"),
    (IMAGE, {**V2_6, "mode": "pro", "voice_list": VOICES}, "voice_list needs sound on"),
    (OMNI, {"prompt": None}, "prompt is required"),
    (OMNI, {"prompt": "x" * 2501}, "prompt is longer than 2500"),
    (OMNI, {"image_list": [{"image": WIDE}]}, "image_list[0].image_url is required"),
    (OMNI, {"image_list": [{**PICTURE, "type": "middle"}]}, "image_list[0].type value 'middle'"),
    (OMNI, {"image_list": [END]}, "end_frame needs first_frame"),
    (OMNI, {"image_list": [FRAME, FRAME]}, "two images of the same type"),
    (OMNI, {"image_list": [FRAME, END, PICTURE]}, "end_frame is not supported with more than 2 images"),
    (OMNI, {"image_list": [PICTURE] * 8}, "image_list must have 0 to 7 images"),
    (OMNI, {"image_list": [PICTURE] * 4, "element_list": ELEMENTS[:4]}, "at most 7 images and elements"),
    (OMNI, {"image_list": [PICTURE] * 4, "element_list": ELEMENTS[:1], "video_list": [STYLE]}, "at most 4 images"),
    (OMNI, {"image_list": [FRAME], "element_list": ELEMENTS[:4]}, "at most 3 elements with first_frame"),
    (OMNI, {"video_list": [EDIT, EDIT]}, "video_list must have 0 to 1 videos"),
    (OMNI, {"video_list": [{"video_url": "AAAA"}]}, "video_list[0].video_url must be a URL"),
    (OMNI, {"video_list": [{**EDIT, "refer_type": "motion"}]}, "refer_type value 'motion'"),
    (OMNI, {"video_list": [{**EDIT, "keep_original_sound": True}]}, "keep_original_sound value 'True'"),
    (OMNI, {"aspect_ratio": None}, "aspect_ratio is required without first_frame and without a video to edit"),
    (OMNI, {"aspect_ratio": None, "video_list": [STYLE]}, "aspect_ratio is required"),
    (OMNI, {"aspect_ratio": "4:3"}, "aspect_ratio value '4:3'"),
    (OMNI, {**O1, "mode": "4k"}, "mode 4k is not supported by kling-video-o1"),
    (OMNI, {**O1, "duration": "11"}, "duration 11 is not supported by kling-video-o1"),
    (OMNI, {**O1, "duration": "3", "image_list": None}, "duration 3 is not supported from text or first_frame"),
    (OMNI, {**O1, "duration": "7", "image_list": [FRAME]}, "duration 7 is not supported from text or first_frame"),
    (OMNI, {"duration": "16"}, "duration value '16'"),
    (OMNI, {**O1, "sound": "on"}, "sound is not supported by kling-video-o1"),
    (OMNI, {"sound": "on", "video_list": [STYLE]}, "sound must be off with video_list"),
    (OMNI, {**O1, **several("2", "3")}, "multi_shot is not supported by kling-video-o1"),
    (OMNI, several("2", "2"), "last 4 s together"),
]
ACCEPTED = [
    (TEXT, {"prompt": "x" * 2500, "negative_prompt": "x" * 2500, "cfg_scale": 1, "mode": "pro", "sound": "on"}),
    (TEXT, {**V2_6, "duration": "10", "mode": "pro", "sound": "on", "aspect_ratio": "1:1"}),
    (TEXT, {**TURBO, "sound": "off", "mode": "pro"}),
    (TEXT, several("1", "1", "1", "1", "1", prompt=None)),
    (TEXT, {"multi_shot": True, "shot_type": "intelligence"}),
    # Without multi_shot what belongs to it is void.
    (TEXT, {"multi_shot": False, "multi_prompt": shots("2"), **V2_6}),
    (IMAGE, {"prompt": None, "image_tail": WIDE, "sound": "on"}),
    (IMAGE, {**V2_6, "image_tail": WIDE, "mode": "pro"}),
    (IMAGE, {**TURBO, "image_tail": WIDE, "mode": "pro"}),
    (IMAGE, {"element_list": ELEMENTS[:3]}),
    (IMAGE, {"duration": "15", "mode": "4k"}),
    (OMNI, {"duration": "15", "image_list": [FRAME, PICTURE]}),
    (IMAGE, {**V2_6, "mode": "pro", "sound": "on", "voice_list": VOICES}),
    (IMAGE, several("2", "3", prompt=None)),
    (OMNI, {"model_name": None, "duration": "10"}),
    (OMNI, {"image_list": [FRAME, END], "aspect_ratio": None}),
    (OMNI, {"image_list": [FRAME, PICTURE, PICTURE], "element_list": ELEMENTS[:3]}),
    (OMNI, {"image_list": [PICTURE] * 4, "element_list": ELEMENTS[:3], "sound": "on"}),
    (OMNI, {"image_list": [PICTURE] * 2, "element_list": ELEMENTS[:2], "video_list": [STYLE]}),
    (OMNI, {"video_list": [EDIT], "aspect_ratio": None, "image_list": None}),
    (OMNI, {**O1, "duration": "3"}),
    (OMNI, {**several("2", "3"), "prompt": None}),
    (OMNI, {"mode": "4k", "duration": "15"}),
]
# What the official gateway alone has.
OFFICIAL_ONLY = [
    (TEXT, {"duration": "3"}),
    (TEXT, {"duration": "15", "mode": "4k", "sound": "on"}),
    (OMNI, {"duration": "3", "image_list": None}),
    (OMNI, {"duration": "15", "image_list": [FRAME]}),
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


@pytest.mark.parametrize(("route", "changes"), OFFICIAL_ONLY)
def test_what_cometapi_does_not_have(http, route, changes):
    assert post(http, route, "official", changes).status_code == 200
    assert post(http, route, "cometapi", changes).status_code == 400


@pytest.mark.parametrize("gateway", ["cometapi", "official"])
@pytest.mark.parametrize("route", [TEXT, IMAGE])
@pytest.mark.parametrize(
    "model",
    # Without a model the documentation's default is meant, which has ended too.
    [None, "kling-v1", "kling-v1-5", "kling-v1-6", "kling-v2-master", "kling-v2-1", "kling-v2-1-master"],
)
def test_a_retired_model_is_discontinued(emulator, http, route, gateway, model):
    answer = post(http, route, gateway, {"model_name": model})
    told = answer.json()
    assert (answer.status_code, told["code"], told["message"]) == (404, 1203, "The model is discontinued")
    assert emulator.ledger()["totals"] == dict.fromkeys(emulator.ledger()["totals"], 0)


@pytest.mark.parametrize("gateway", ["cometapi", "official"])
@pytest.mark.parametrize(("route", "model"), [(TEXT, "kling-v3-omni"), (IMAGE, "kling-3.0-turbo"), (OMNI, "kling-v3")])
def test_an_unknown_model_is_refused(http, route, gateway, model):
    answer = post(http, route, gateway, {"model_name": model})
    assert (answer.status_code, answer.json()["code"]) == (400, 1201)
    assert f"model_name value '{model}' is invalid" in answer.json()["message"]
