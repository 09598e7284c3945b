"""Image to video: bodies of Kling's page, limits, and the rules of frames, voices, elements and models."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_kling.api.routes.image_to_video import ROUTE
from tests.unit.api.routes.asking import ALL, ELEMENT, A, Asking, B, urls

ask = Asking(ROUTE, {"image": A})
SECONDS = ("2", "3", "3", "3", "3", "1")
SHOTS = [{"index": number, "prompt": f"shot {number}", "duration": one} for number, one in enumerate(SECONDS, 1)]

# The requests of Kling's page, blank fields left out [C].
PAGE: list[dict[str, Any]] = [
    {
        "model_name": "kling-v2-6",
        "image": A,
        "image_tail": B,
        "prompt": "The camera moves away, the girl smiles",
        "duration": "5",
        "mode": "pro",
        "sound": "off",
    },
    {
        "model_name": "kling-v3",
        "image": A,
        "multi_shot": True,
        "shot_type": "customize",
        "multi_prompt": SHOTS,
        "duration": "15",
        "mode": "pro",
        "sound": "on",
    },
    {
        "model_name": "kling-v2-6",
        "image": A,
        "prompt": "<<<voice_1>>> says: welcome",
        "voice_list": [{"voice_id": "829836802793406551"}],
        "duration": "5",
        "mode": "pro",
        "sound": "on",
    },
    {
        "model_name": "kling-v3",
        "image": A,
        "image_tail": B,
        "prompt": "<<<element_1>>> dances",
        "element_list": [{"element_id": ELEMENT}],
        "negative_prompt": "rain",
        "duration": "9",
        "mode": "std",
        "sound": "on",
    },
]


@pytest.mark.parametrize("gateway", ALL)
def test_where_it_is(gateway: str) -> None:
    assert ask.url(gateway) == urls("videos/image2video")[gateway]


@pytest.mark.parametrize("gateway", ALL)
@pytest.mark.parametrize("body", PAGE, ids=["tail", "shots", "voice", "element"])
def test_the_requests_of_the_page(gateway: str, body: dict[str, Any]) -> None:
    assert ask.body(gateway, **body) == body


@pytest.mark.parametrize("gateway", ALL)
def test_the_least_that_is_sent(gateway: str) -> None:
    assert ask.body(gateway) == {"model_name": "kling-v3", "image": A, "mode": "std", "duration": "5"}


def test_an_image_is_required_a_tail_alone_is_not_enough() -> None:
    assert ask.refusal(image=None) == "image is required"
    assert ask.refusal(image=" ", image_tail=B) == "image is required"


def test_the_picture_decides_the_ratio() -> None:
    assert ask.refusal(aspect_ratio="16:9") == "aspect_ratio is not a field of the API"


@pytest.mark.parametrize("name", ["camera_control", "static_mask", "dynamic_masks"])
def test_what_is_retired_is_no_field(name: str) -> None:
    assert ask.refusal(**{name: "x"}) == f"{name} is not a field of the API"


@pytest.mark.parametrize("name", ["prompt", "negative_prompt"])
def test_prompts_have_2500_characters(name: str) -> None:
    assert ask.body(**{name: "x" * 2500})[name] == "x" * 2500
    assert ask.refusal(**{name: "x" * 2501}) == f"{name} has 2501 characters, at most 2500 are allowed"


def test_cfg_scale_is_0_to_1_and_not_for_v2() -> None:
    assert [ask.body(cfg_scale=one)["cfg_scale"] for one in (0, 1)] == [0, 1]
    assert ask.refusal(cfg_scale=1.1) == "cfg_scale is 1.1, the greatest is 1.0"
    for model in ("kling-v2-6", "kling-v2-5-turbo"):
        assert f"cfg_scale is given, but model '{model}' does not take it" in ask.refusal(model_name=model, cfg_scale=1)


def test_the_tail_by_model() -> None:
    for mode in ("std", "pro", "4k"):
        assert ask.body(image_tail=B, mode=mode, sound="on")["image_tail"] == B
    assert ask.body(model_name="kling-v2-6", image_tail=B, mode="pro")["image_tail"] == B
    assert ask.body(model_name="kling-v2-6", image_tail=B, mode="pro", sound="off")["image_tail"] == B
    assert ask.refusal(model_name="kling-v2-6", image_tail=B) == (
        "image_tail is given, but model 'kling-v2-6' takes it only with mode 'pro', and mode is 'std'"
    )
    assert ask.refusal(model_name="kling-v2-6", image_tail=B, mode="pro", sound="on") == (
        "image_tail is given, but model 'kling-v2-6' takes it only with sound 'off', and sound is 'on'"
    )
    assert ask.body(model_name="kling-v2-5-turbo", image_tail=B, mode="pro")["image_tail"] == B
    assert ask.refusal(model_name="kling-v2-5-turbo", image_tail=B) == (
        "image_tail is given, but model 'kling-v2-5-turbo' takes it only with mode 'pro', and mode is 'std'"
    )


def test_a_refusal_shows_no_image() -> None:
    text = ask.refusal(model_name="kling-v2-6", image_tail="https://example.com/b.png?secret=s")
    assert "secret" not in text


def test_sound_duration_mode_and_shots_by_model() -> None:
    assert "takes '5' or '10'" in ask.refusal(model_name="kling-v2-6", duration="9")
    assert "takes 'std' or 'pro'" in ask.refusal(model_name="kling-v2-5-turbo", mode="4k")
    assert "only with mode 'pro'" in ask.refusal(model_name="kling-v2-6", sound="on")
    assert "takes 'off'" in ask.refusal(model_name="kling-v2-5-turbo", sound="on", mode="pro")
    assert "takes False" in ask.refusal(model_name="kling-v2-6", prompt="x", multi_shot=True, shot_type="intelligence")
    assert ask.body(duration=15, mode="4k", sound="on")["duration"] == "15"


def test_kling_divides_a_prompt_into_shots_but_needs_one() -> None:
    assert ask.refusal(multi_shot=True, shot_type="intelligence") == (
        "prompt is required with shot_type 'intelligence'"
    )
    assert ask.body(multi_shot=True, shot_type="intelligence", prompt="x")["shot_type"] == "intelligence"


def test_rules_of_shots_are_those_of_text_to_video() -> None:
    shots = {"multi_shot": True, "shot_type": "customize", "multi_prompt": SHOTS}
    assert ask.body(**shots, duration="15")
    assert "shots of 15 s in all, but duration is '5'" in ask.refusal(**shots)
    assert "shot_type is required" in ask.refusal(multi_shot=True)
    assert "multi_prompt is required" in ask.refusal(multi_shot=True, shot_type="customize")
    assert "Kling ignores" in ask.refusal(multi_prompt=SHOTS)


def test_voices_are_1_or_2_with_sound_in_pro_of_kling_v2_6() -> None:
    voices: dict[str, Any] = {"model_name": "kling-v2-6", "mode": "pro", "sound": "on"}
    for given in (["v"], [{"voice_id": "v"}], "['v']", '[{"voice_id": "v"}]'):
        assert ask.body(**voices, voice_list=given)["voice_list"] == [{"voice_id": "v"}]
    assert ask.body(**voices, voice_list=[1, "b"])["voice_list"] == [{"voice_id": "1"}, {"voice_id": "b"}]
    assert "voice_list has 3 entries, at most 2 are allowed" in ask.refusal(**voices, voice_list=["a", "b", "c"])
    assert ask.refusal(**{**voices, "sound": "off"}, voice_list=["v"]) == "voice_list is given, which needs sound 'on'"
    assert ask.refusal(**{**voices, "sound": None}, voice_list=["v"]) == "voice_list is given, which needs sound 'on'"
    assert "voice_list is given, but model 'kling-v2-6' takes it only with mode 'pro'" in ask.refusal(
        **{**voices, "mode": "std"}, voice_list=["v"]
    )
    for model in ("kling-v3", "kling-v2-5-turbo"):
        assert f"voice_list is given, but model '{model}' does not take it" in ask.refusal(
            **{**voices, "model_name": model}, voice_list=["v"]
        )


def test_voices_and_elements_exclude_each_other() -> None:
    both = {"voice_list": ["v"], "element_list": [ELEMENT], "sound": "on", "model_name": "kling-v9"}
    assert ask.refusal(**both) == "voice_list and element_list are both given, but Kling takes only one of them"


def test_elements_are_1_to_3_and_for_kling_v3() -> None:
    assert len(ask.body(element_list=[1, 2, 3])["element_list"]) == 3
    assert "element_list has 4 entries, at most 3 are allowed" in ask.refusal(element_list=[1, 2, 3, 4])
    for model in ("kling-v2-6", "kling-v2-5-turbo"):
        assert f"element_list is given, but model '{model}' does not take it" in ask.refusal(
            model_name=model, element_list=[1]
        )


@pytest.mark.parametrize("empty", [None, "", [], (), "[]", "()", float("nan")], ids=repr)
def test_an_empty_list_is_not_given(empty: Any) -> None:
    assert "element_list" not in ask.body(element_list=empty, voice_list=empty)


WHOLE = (ELEMENT, str(ELEMENT), f" {ELEMENT} ", {"element_id": ELEMENT}, {"element_id": str(ELEMENT)})


@pytest.mark.parametrize("given", WHOLE, ids=repr)
def test_an_element_is_sent_whole_as_a_number(given: Any) -> None:
    [element] = ask.body(element_list=[given])["element_list"]
    assert element == {"element_id": ELEMENT}
    assert type(element["element_id"]) is int


@pytest.mark.parametrize("text", [f"[{ELEMENT}]", f"['{ELEMENT}']", f'[{{"element_id": {ELEMENT}}}]'])
def test_a_list_of_elements_that_a_template_has_rendered(text: str) -> None:
    assert ask.body(element_list=text)["element_list"] == [{"element_id": ELEMENT}]


def test_the_edges_of_an_id() -> None:
    greatest = 2**63 - 1
    assert ask.body(element_list=[greatest, 1])["element_list"][0] == {"element_id": greatest}
    for beyond in (greatest + 1, str(greatest + 1)):
        assert f"the greatest is {greatest}" in ask.refusal(element_list=[beyond])
    assert "element_list.0.element_id is 0, the least is 1" in ask.refusal(element_list=[0])


@pytest.mark.parametrize("wrong", [float(ELEMENT), 5.0, True, "5.0", "8e17", "a", "-1", "", b"5"], ids=repr)
def test_what_is_no_id(wrong: Any) -> None:
    assert "element_list.0" in ask.refusal(element_list=[wrong])


def test_a_tail_that_is_a_template_waits_for_the_run() -> None:
    refused = ask.refused_in_the_dag_file
    assert "takes it only with mode 'pro'" in (refused(model_name="kling-v2-6", image_tail=B) or "")
    assert refused(model_name="kling-v2-6", image_tail="{{ params.tail }}") is None
    assert refused(model_name="kling-v2-6", voice_list=["v"], sound="on", mode="{{ params.mode }}") is None
    assert "needs sound 'on'" in (refused(voice_list=["v"]) or "")
    assert refused(voice_list="{{ params.voices }}", sound="off") is None
    assert refused(voice_list=["{{ params.voice }}"], sound="off") is None
    assert "element_list.0.element_id is 5.0" in (refused(element_list=[5.0]) or "")
