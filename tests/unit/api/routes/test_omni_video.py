"""Omni video: bodies of Kling's page, and the rules of frames, references, videos, ratios, lengths and models."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_kling.api.request import build_request, media_value
from airflow_kling.api.routes.omni_video import ROUTE
from airflow_kling.exceptions import KlingInputError
from airflow_kling.submission.identity import reference_queries
from tests.unit.api.routes.asking import ALL, CLIP, ELEMENT, A, Asking, B, urls

ask = Asking(ROUTE, {"prompt": "a cat", "aspect_ratio": "16:9"})
OMNI = "kling-v3-omni"
FIRST, END = {"image_url": A, "type": "first_frame"}, {"image_url": B, "type": "end_frame"}
BASE = {"video_url": CLIP, "refer_type": "base"}
FEATURE = {"video_url": CLIP, "refer_type": "feature", "keep_original_sound": "yes"}

# The requests of Kling's page [C]; the one for a text has 7 s there, which its own list of lengths excludes.
PAGE: list[dict[str, Any]] = [
    {
        "model_name": "kling-video-o1",
        "prompt": "<<<image_1>>> meets <<<element_1>>> in the style of <<<image_2>>>",
        "image_list": [{"image_url": A}, {"image_url": B}],
        "element_list": [{"element_id": ELEMENT}, {"element_id": 161}],
        "mode": "pro",
        "aspect_ratio": "1:1",
        "duration": "7",
    },
    {
        "model_name": "kling-video-o1",
        "prompt": "put the crown of <<<image_1>>> on the girl in <<<video_1>>>",
        "image_list": [{"image_url": A}],
        "video_list": [{**BASE, "keep_original_sound": "yes"}],
        "mode": "pro",
    },
    {
        "model_name": "kling-video-o1",
        "prompt": "in the camera movement of <<<video_1>>>: <<<element_1>>> meets <<<image_1>>>",
        "image_list": [{"image_url": A}],
        "element_list": [{"element_id": ELEMENT}, {"element_id": 161}],
        "video_list": [FEATURE],
        "mode": "pro",
        "aspect_ratio": "1:1",
        "duration": "7",
    },
    {"model_name": "kling-video-o1", "prompt": "they dance", "image_list": [FIRST, END], "mode": "pro"},
    {
        "model_name": "kling-video-o1",
        "prompt": "they dance",
        "mode": "pro",
        "aspect_ratio": "1:1",
        "duration": "10",
    },
]


@pytest.mark.parametrize("gateway", ALL)
def test_where_it_is(gateway: str) -> None:
    assert ask.url(gateway) == urls("videos/omni-video")[gateway]


@pytest.mark.parametrize("gateway", ALL)
@pytest.mark.parametrize("body", PAGE, ids=["references", "edit", "feature", "frames", "text"])
def test_the_requests_of_the_page(gateway: str, body: dict[str, Any]) -> None:
    assert Asking(ROUTE).body(gateway, **body) == body


@pytest.mark.parametrize("gateway", ALL)
def test_every_field_has_the_wires_name(gateway: str) -> None:
    body = {
        "model_name": OMNI,
        "prompt": "a cat",
        "image_list": [FIRST, {"image_url": B}],
        "element_list": [{"element_id": ELEMENT}],
        "mode": "4k",
        "aspect_ratio": "9:16",
        "duration": "15",
        "sound": "on",
        "multi_shot": True,
        "shot_type": "customize",
        "multi_prompt": [{"index": 1, "prompt": "x", "duration": "15"}],
        "watermark_info": {"enabled": False},
        "callback_url": "https://example.com/hook",
        "external_task_id": "mine",
    }
    assert ask.body(gateway, **body) == body


def test_items_may_be_plain() -> None:
    body = ask.body(image_list=[A, FIRST], element_list=[str(ELEMENT)], video_list=[CLIP])
    assert body["image_list"] == [{"image_url": A}, FIRST]
    assert body["element_list"] == [{"element_id": ELEMENT}]
    assert body["video_list"] == [{"video_url": CLIP}]


def test_a_prompt_is_required_and_has_2500_characters() -> None:
    assert "prompt is required" in ask.refusal(prompt=None)
    assert ask.body(prompt="x" * 2500)
    assert ask.refusal(prompt="x" * 2501) == "prompt has 2501 characters, at most 2500 are allowed"


def test_an_end_needs_a_first_frame() -> None:
    assert ask.body(image_list=[FIRST, END])
    assert ask.body(image_list=[FIRST])
    words = "image_list has an end_frame without a first_frame, which it needs"
    assert ask.refusal(image_list=[END]) == words
    assert ask.refusal(image_list=[A, END]) == words


def test_an_end_frame_among_at_most_2_images() -> None:
    assert ask.body(image_list=[FIRST, A, B])
    assert ask.refusal(image_list=[FIRST, END, A]) == (
        "image_list has 3 images with an end_frame, at most 2 are allowed with one"
    )


def test_kinds_of_items() -> None:
    assert "image_list.0.type is 'middle', must be one of 'first_frame' or 'end_frame'" in ask.refusal(
        image_list=[{"image_url": A, "type": "middle"}]
    )
    assert ask.refusal(image_list=[{"image_url": A, "kind": "x"}]) == "image_list.0.kind is not a field of the API"
    assert "video_list.0.refer_type is 'x', must be one of 'feature' or 'base'" in ask.refusal(
        video_list=[{"video_url": CLIP, "refer_type": "x"}]
    )
    assert "video_list.0.keep_original_sound is 'x', must be one of 'yes' or 'no'" in ask.refusal(
        video_list=[{"video_url": CLIP, "keep_original_sound": "x"}]
    )
    blank = {"image_url": A, "type": None}
    assert ask.body(image_list=[blank])["image_list"] == [{"image_url": A}]


def test_images_and_elements_are_7_at_most() -> None:
    assert ask.body(image_list=[A] * 7)
    assert ask.body(image_list=[A] * 4, element_list=[1, 2, 3])
    assert ask.refusal(image_list=[A] * 4, element_list=[1, 2, 3, 4]) == (
        "there are 4 images and 4 elements, at most 7 together are allowed"
    )
    assert ask.refusal(image_list=[A] * 8).startswith("image_list has 8 entries, at most 7 are allowed")
    assert ask.refusal(element_list=[1] * 8).startswith("element_list has 8 entries, at most 7 are allowed")


@pytest.mark.parametrize("video", [BASE, FEATURE], ids=["base", "feature"])
def test_images_and_elements_are_4_at_most_beside_a_video(video: dict[str, str]) -> None:
    assert ask.body(video_list=[video], image_list=[A] * 2, element_list=[1, 2])
    assert ask.refusal(video_list=[video], image_list=[A] * 3, element_list=[1, 2]) == (
        "there are 3 images and 2 elements, at most 4 together are allowed beside a video"
    )


def test_elements_are_3_at_most_beside_a_first_frame_with_v3_omni() -> None:
    frame: dict[str, Any] = {"image_list": [FIRST], "model_name": OMNI}
    assert ask.body(**frame, element_list=[1, 2, 3])
    assert ask.refusal(**frame, element_list=[1, 2, 3, 4]) == (
        "element_list has 4 entries, model 'kling-v3-omni' takes at most 3 beside a first_frame"
    )
    assert ask.body(image_list=[FIRST], element_list=[1, 2, 3, 4])  # o1
    assert ask.body(model_name=OMNI, image_list=[A], element_list=[1, 2, 3, 4])


def test_one_video() -> None:
    assert ask.refusal(video_list=[BASE, BASE]).startswith("video_list has 2 entries, at most 1 are allowed")


@pytest.mark.parametrize("video", ["a.mp4", "s3://bucket/a.mp4", b"\0\0\0\x18ftyp", "AAAAGGZ0eXA="], ids=repr)
def test_a_video_is_a_url(video: Any) -> None:
    with pytest.raises(KlingInputError, match=r"video_list\[0\] "):
        ask.body(video_list=[{"video_url": video, "refer_type": "base"}])


def test_a_ratio_is_required_without_a_first_frame_and_a_video_to_edit() -> None:
    words = "aspect_ratio is required without a first_frame and without a video to edit: '16:9', '9:16' or '1:1'"
    for fields in ({}, {"image_list": [A]}, {"element_list": [1]}, {"video_list": [FEATURE]}):
        assert ask.refusal(aspect_ratio=None, **fields) == words
        assert ask.body(aspect_ratio="1:1", **fields)["aspect_ratio"] == "1:1"
    for fields in ({"image_list": [FIRST]}, {"image_list": [FIRST, END]}, {"video_list": [BASE]}):
        assert "aspect_ratio" not in ask.body(aspect_ratio=None, **fields)
    assert "must be one of '16:9', '9:16' or '1:1'" in ask.refusal(aspect_ratio="4:3")


@pytest.mark.parametrize("fields", [{}, {"image_list": [FIRST]}], ids=["text", "first frame"])
def test_o1_makes_5_or_10_seconds_of_a_text_or_a_first_frame(fields: dict[str, Any]) -> None:
    for seconds in ("5", "10"):
        assert ask.body(**fields, duration=seconds)["duration"] == seconds
    for seconds in ("3", "7"):
        assert ask.refusal(**fields, duration=seconds) == (
            f"duration is '{seconds}', but model 'kling-video-o1' takes '5' or '10' for a text or a first frame alone"
        )


def test_o1_makes_3_to_10_seconds_of_references() -> None:
    for fields in ({"image_list": [A]}, {"element_list": [1]}, {"video_list": [FEATURE]}, {"image_list": [FIRST, END]}):
        for seconds in ("3", "10"):
            assert ask.body(**fields, duration=seconds)["duration"] == seconds
        assert ask.refusal(**fields, duration="11") == (
            "duration is '11', but model 'kling-video-o1' takes '3' to '10'"
        )


def test_a_length_is_void_where_a_video_is_edited() -> None:
    assert ask.body(video_list=[BASE], duration="11")["duration"] == "11"


def test_v3_omni_makes_3_to_15_seconds() -> None:
    for seconds in range(3, 16):
        assert ask.body(model_name=OMNI, duration=seconds)["duration"] == str(seconds)
    for seconds in (2, 16):
        assert "must be one of '3'" in ask.refusal(model_name=OMNI, duration=seconds)


@pytest.mark.parametrize("gateway", ["cometapi", "cometapi-v2"])
@pytest.mark.parametrize("model", [None, OMNI])
def test_cometapi_makes_5_or_10_seconds_of_a_text_or_a_first_frame(gateway: str, model: str | None) -> None:
    for fields in ({}, {"image_list": [FIRST]}):
        assert ask.body(gateway, model_name=model, duration="10", **fields)["duration"] == "10"
        assert "takes '5' or '10' for a text or a first frame alone" in ask.refusal(
            gateway, model_name=model, duration="7", **fields
        )
    assert "CometAPI takes" in ask.refusal(gateway, model_name=OMNI, duration="7")
    assert ask.body(gateway, model_name=model, duration="7", image_list=[A])["duration"] == "7"


def test_modes_by_model() -> None:
    assert ask.body()["mode"] == "pro"
    assert ask.body(mode="std")["mode"] == "std"
    assert ask.body(model_name=OMNI, mode="4k")["mode"] == "4k"
    assert ask.refusal(mode="4k") == "mode is '4k', but model 'kling-video-o1' takes 'std' or 'pro'"


def test_sound_and_shots_are_for_v3_omni() -> None:
    assert ask.body(model_name=OMNI, sound="on")["sound"] == "on"
    assert ask.body(sound="off")["sound"] == "off"
    assert ask.refusal(sound="on") == "sound is 'on', but model 'kling-video-o1' takes 'off'"
    shots = {"multi_shot": True, "shot_type": "intelligence"}
    assert ask.body(model_name=OMNI, **shots)["multi_shot"] is True
    assert ask.refusal(**shots) == "multi_shot is True, but model 'kling-video-o1' takes False"


def test_sound_is_off_beside_a_video() -> None:
    words = "sound is 'on', which Kling does not take beside a video: leave it out"
    assert ask.refusal(model_name=OMNI, sound="on", video_list=[FEATURE]) == words
    assert ask.body(model_name=OMNI, sound="off", video_list=[FEATURE])["sound"] == "off"


def test_rules_of_shots_are_those_of_text_to_video() -> None:
    shots = [{"prompt": "a", "duration": "2"}, {"prompt": "b", "duration": "3"}]
    fields: dict[str, Any] = {"model_name": OMNI, "multi_shot": True, "shot_type": "customize", "multi_prompt": shots}
    assert ask.body(**fields, prompt=None)["multi_prompt"][1]["index"] == 2
    assert "shots of 5 s in all, but duration is '6'" in ask.refusal(**fields, duration="6")
    assert "shot_type is required" in ask.refusal(model_name=OMNI, multi_shot=True)
    assert "prompt is required" in ask.refusal(model_name=OMNI, multi_shot=True, shot_type="intelligence", prompt="")


def test_what_is_recorded_of_references() -> None:
    fields = ask.fields(image_list=[f"{A}?v=2", FIRST], video_list=[FEATURE])
    request, references = build_request(ROUTE, fields, open_file=lambda url: pytest.fail(url))
    assert references == [
        {"name": "image_list[0]", "source": "url", "uri": A},
        {"name": "image_list[1]", "source": "url", "uri": A, "type": "first_frame"},
        {
            "name": "video_list[0]",
            "source": "url",
            "uri": CLIP,
            "refer_type": "feature",
            "keep_original_sound": "yes",
        },
    ]
    assert not {"image_list", "video_list", "callback_url"} & set(ROUTE.recorded_fields)
    assert reference_queries(ROUTE, request, references) == ["v=2", "", ""]
    assert media_value(ROUTE, "image_list", fields["image_list"]) == [f"{A}?v=2", A]
    assert media_value(ROUTE, "image_list", None) == []
    assert A not in repr(request)


def test_templates_wait_for_the_run() -> None:
    refused = ask.refused_in_the_dag_file
    assert "end_frame without a first_frame" in (refused(image_list=[END]) or "")
    templated = {"image_url": A, "type": "{{ params.type }}"}
    assert refused(image_list=[templated, END]) is None
    assert refused(image_list=[templated], aspect_ratio=None) is None
    assert "aspect_ratio is required" in (refused(image_list=["{{ params.image }}"], aspect_ratio=None) or "")
    assert refused(image_list="{{ params.images }}", aspect_ratio=None) is None
    assert refused(aspect_ratio="{{ params.ratio }}") is None
    assert "image_list has 8 entries" in (refused(image_list=["{{ params.image }}"] * 8) or "")
    assert "image_list has 8 entries" in (refused(image_list=[templated] * 8) or "")
    assert "there are 4 images and 4 elements" in (
        refused(image_list=["{{ params.image }}"] * 4, element_list=[1, 2, 3, 4]) or ""
    )
    assert refused(image_list=[A] * 4, element_list="{{ params.elements }}") is None
    assert "image_list[1] has the unsupported scheme ftp://" in (
        refused(image_list=[A, {"image_url": "ftp://example.com/a.png"}]) or ""
    )
    assert "image_list.0.type is 'x'" in (refused(image_list=[{"image_url": "{{ a }}", "type": "x"}]) or "")
    assert refused(video_list=[{"video_url": "{{ a }}", "refer_type": "base"}], aspect_ratio=None) is None
    assert "sound is 'on'" in (refused(video_list=["{{ a }}"], sound="on") or "")
