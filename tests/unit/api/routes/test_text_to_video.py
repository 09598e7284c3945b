"""Text to video: bodies, limits, the rules of several shots and those of each model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from airflow_kling.api.gateways import GATEWAYS
from airflow_kling.api.request import for_gateway, unknown_limits, unknown_model
from airflow_kling.api.routes.text_to_video import ROUTE
from airflow_kling.exceptions import KlingInputError
from tests.unit.api.routes.asking import ALL, Asking, urls

ask = Asking(ROUTE, {"prompt": "a cat"})
SHOTS = [{"index": 1, "prompt": "a", "duration": "2"}, {"index": 2, "prompt": "b", "duration": "3"}]
TWO_SHOTS: dict[str, Any] = {"multi_shot": True, "shot_type": "customize", "multi_prompt": SHOTS}


@pytest.mark.parametrize("gateway", ALL)
def test_where_it_is(gateway: str) -> None:
    assert ask.url(gateway) == urls("videos/text2video")[gateway]


@pytest.mark.parametrize("gateway", ALL)
def test_the_least_that_is_sent(gateway: str) -> None:
    # The page's own default is a retired model, so the model is always sent.
    assert ask.body(gateway) == {
        "model_name": "kling-v3",
        "prompt": "a cat",
        "mode": "std",
        "duration": "5",
        "aspect_ratio": "16:9",
    }


@pytest.mark.parametrize("gateway", ALL)
def test_every_field_has_the_wires_name(gateway: str) -> None:
    body = {
        "model_name": "kling-v3",
        "prompt": "a cat",
        "negative_prompt": "dogs",
        "mode": "pro",
        "duration": "10",
        "aspect_ratio": "9:16",
        "sound": "on",
        "cfg_scale": 0.5,
        "multi_shot": True,
        "shot_type": "intelligence",
        "watermark_info": {"enabled": True},
        "callback_url": "https://example.com/hook",
        "external_task_id": "mine",
    }
    assert ask.body(gateway, **body) == body


def test_several_shots() -> None:
    body = ask.body(prompt=None, **TWO_SHOTS)
    assert body["multi_prompt"] == SHOTS
    assert (body["multi_shot"], body["shot_type"]) == (True, "customize")
    assert "prompt" not in body


def test_shots_without_a_number_are_numbered() -> None:
    shots = [{"prompt": "a", "duration": 2}, {"prompt": "b", "duration": 3}]
    assert ask.body(multi_shot=True, shot_type="customize", multi_prompt=shots)["multi_prompt"] == SHOTS


@pytest.mark.parametrize("given", ["5", 5, 5.0], ids=repr)
def test_a_number_of_seconds_is_sent_as_text(given: Any) -> None:
    assert ask.body(duration=given)["duration"] == "5"


@pytest.mark.parametrize("given", [5.5, "5s", "2", "16", True, 0, "05"], ids=repr)
def test_other_seconds_are_refused(given: Any) -> None:
    text = ask.refusal(duration=given)
    assert text.startswith(("duration is", "duration"))
    assert "must be one of '3', '4'" in text or "give a text" in text


def test_limits_of_fields() -> None:
    assert ask.body(prompt="x" * 2500, negative_prompt="y" * 2500)["negative_prompt"] == "y" * 2500
    assert ask.refusal(prompt="x" * 2501) == "prompt has 2501 characters, at most 2500 are allowed"
    assert ask.refusal(negative_prompt="x" * 2501) == "negative_prompt has 2501 characters, at most 2500 are allowed"
    assert [ask.body(cfg_scale=scale)["cfg_scale"] for scale in (0, 0.5, "1")] == [0, 0.5, 1]
    assert ask.refusal(cfg_scale=1.01) == "cfg_scale is 1.01, the greatest is 1.0"
    assert ask.refusal(cfg_scale=-0.01) == "cfg_scale is -0.01, the least is 0.0"
    assert ask.refusal(cfg_scale=True).startswith("cfg_scale is True: give a number")
    assert "aspect_ratio is '4:3', must be one of '16:9', '9:16' or '1:1'" in ask.refusal(aspect_ratio="4:3")
    assert "mode is '8k', must be one of 'std', 'pro' or '4k'" in ask.refusal(mode="8k")
    assert "sound is 'loud', must be one of 'on' or 'off'" in ask.refusal(sound="loud")
    assert ask.refusal(camera_control={}) == "camera_control is not a field of the API"  # retired with its models


def test_a_prompt_is_required_but_for_shots_of_ones_own() -> None:
    words = "prompt is required, unless multi_shot is true with shot_type 'customize'"
    assert ask.refusal(prompt=None) == words
    assert ask.refusal(prompt="  ", multi_shot=False) == words
    assert ask.refusal(prompt=None, multi_shot=True, shot_type="intelligence") == words
    assert ask.body(prompt=None, **TWO_SHOTS)


def test_a_kind_of_shot_is_required_with_several() -> None:
    assert ask.refusal(multi_shot=True) == "shot_type is required with multi_shot: 'customize' or 'intelligence'"
    assert ask.body(multi_shot=True, shot_type="intelligence")["shot_type"] == "intelligence"
    assert ask.body(multi_shot=False)["multi_shot"] is False


def test_shots_are_required_where_they_are_ones_own() -> None:
    text = ask.refusal(multi_shot=True, shot_type="customize")
    assert text == "multi_prompt is required with shot_type 'customize': 1 to 6 shots"


def test_shots_that_kling_would_ignore_are_refused() -> None:
    text = ask.refusal(multi_prompt=SHOTS)
    assert text == "multi_prompt has 2 shots, which Kling ignores without multi_shot: set it"


def test_shots_are_1_to_6_and_add_up_to_the_duration() -> None:
    def shots(*seconds: Any) -> dict[str, Any]:
        listed = [{"prompt": "x", "duration": second} for second in seconds]
        return {"multi_shot": True, "shot_type": "customize", "multi_prompt": listed}

    assert len(ask.body(**shots(1, 1, 1, 1, 1, 1), duration="6")["multi_prompt"]) == 6
    assert ask.body(**shots(5))["multi_prompt"] == [{"index": 1, "prompt": "x", "duration": "5"}]
    assert "multi_prompt has 7 entries, at most 6 are allowed" in ask.refusal(**shots(*[1] * 7), duration="7")
    assert "multi_prompt.0.duration is '0', must be one of '1'" in ask.refusal(**shots(0, 5))
    for seconds in ((2, 2), (3, 3)):
        assert ask.refusal(**shots(*seconds)) == (
            f"multi_prompt has shots of {sum(seconds)} s in all, but duration is '5': make them equal"
        )


def test_a_shot_has_a_prompt_of_512_characters() -> None:
    def one(**shot: Any) -> dict[str, Any]:
        listed = [{"prompt": "x", "duration": "5", **shot}]
        return {"multi_shot": True, "shot_type": "customize", "multi_prompt": listed}

    assert ask.body(**one(prompt="x" * 512))
    assert ask.refusal(**one(prompt="x" * 513)) == ("multi_prompt.0.prompt has 513 characters, at most 512 are allowed")
    assert ask.refusal(**one(prompt="")) == "multi_prompt.0.prompt is empty"
    assert ask.refusal(**one(index=0)) == "multi_prompt.0.index is 0, the least is 1"
    assert ask.refusal(**one(seconds=1)) == "multi_prompt.0.seconds is not a field of the API"
    missing = {"multi_shot": True, "shot_type": "customize", "multi_prompt": [{"prompt": "x"}]}
    assert ask.refusal(**missing) == "multi_prompt.0.duration is required"


V2 = ("kling-v2-6", "kling-v2-5-turbo")


@pytest.mark.parametrize("seconds", range(3, 16))
def test_kling_v3_takes_3_to_15_seconds(seconds: int) -> None:
    assert ask.body(duration=seconds)["duration"] == str(seconds)


@pytest.mark.parametrize("model", V2)
def test_the_older_models_take_5_or_10_seconds(model: str) -> None:
    assert [ask.body(model_name=model, duration=one)["duration"] for one in ("5", "10")] == ["5", "10"]
    for seconds in ("3", "9", "11", "15"):
        text = ask.refusal(model_name=model, duration=seconds)
        assert text == f"duration is '{seconds}', but model '{model}' takes '5' or '10'"


def test_4k_is_for_kling_v3() -> None:
    assert [ask.body(mode=mode)["mode"] for mode in ("std", "pro", "4k")] == ["std", "pro", "4k"]
    for model in V2:
        assert ask.body(model_name=model, mode="pro")["mode"] == "pro"
        text = ask.refusal(model_name=model, mode="4k")
        assert text == f"mode is '4k', but model '{model}' takes 'std' or 'pro'"


def test_sound_is_for_pro_with_kling_v2_6_and_never_with_v2_5_turbo() -> None:
    for mode in ("std", "pro", "4k"):
        assert ask.body(sound="on", mode=mode)["sound"] == "on"
    assert ask.body(model_name="kling-v2-6", sound="on", mode="pro")["sound"] == "on"
    assert ask.body(model_name="kling-v2-6", sound="off")["sound"] == "off"
    assert ask.refusal(model_name="kling-v2-6", sound="on") == (
        "sound is 'on', but model 'kling-v2-6' takes it only with mode 'pro', and mode is 'std'"
    )
    for mode in ("std", "pro"):
        text = ask.refusal(model_name="kling-v2-5-turbo", sound="on", mode=mode)
        assert text == "sound is 'on', but model 'kling-v2-5-turbo' takes 'off'"


@pytest.mark.parametrize("model", V2)
def test_the_older_models_have_no_cfg_scale_and_one_shot(model: str) -> None:
    text = ask.refusal(model_name=model, cfg_scale=0.5)
    assert text == f"cfg_scale is given, but model '{model}' does not take it: leave it out"
    text = ask.refusal(model_name=model, multi_shot=True, shot_type="intelligence")
    assert text == f"multi_shot is True, but model '{model}' takes False"
    assert ask.body(model_name=model, multi_shot=False)["multi_shot"] is False


@pytest.mark.parametrize("gateway", ["cometapi", "cometapi-v2"])
def test_cometapi_takes_less(gateway: str) -> None:
    assert ask.refusal(gateway, mode="4k") == "mode is '4k', but CometAPI takes 'std' or 'pro'"
    assert ask.refusal(gateway, duration="15") == "duration is '15', but CometAPI takes '5' or '10'"
    assert ask.body(gateway, duration="10", mode="pro")["duration"] == "10"


def test_rules_of_a_model_hold_against_the_gateways_default() -> None:
    assert ask.body(cfg_scale=0.5)["model_name"] == "kling-v3"
    gateway = replace(GATEWAYS["official"], models={"text-to-video": ("kling-v2-6",)})
    request = ROUTE.request.parse({"prompt": "a cat", "cfg_scale": 0.5})
    with pytest.raises(KlingInputError, match="cfg_scale is given, but model 'kling-v2-6' does not take it"):
        for_gateway(ROUTE, request, gateway)


def test_an_unknown_model_is_warned_of_and_sent() -> None:
    fields = {"model_name": "kling-v9", "mode": "4k", "duration": "15", "sound": "on", "cfg_scale": 1}
    assert ask.body(**fields)["model_name"] == "kling-v9"
    request = ask.request(**fields)
    assert "'kling-v9' is not known for route 'text-to-video'" in (
        unknown_model(ROUTE, request, GATEWAYS["official"]) or ""
    )
    warning = unknown_limits(ROUTE, request) or ""
    assert all(words in warning for words in ("'kling-v9'", "cfg_scale, duration, mode", "sent as it is"))
    assert unknown_limits(ROUTE, ask.request()) is None


def test_a_rule_waits_for_the_fields_that_are_templates() -> None:
    refused = ask.refused_in_the_dag_file
    assert "CometAPI" not in (refused(mode="4k") or "")
    assert "'kling-v2-6' takes '5' or '10'" in (refused(model_name="kling-v2-6", duration="7") or "")
    assert refused(model_name="{{ params.model }}", duration="7") is None
    assert refused(model_name="kling-v2-6", duration="{{ params.duration }}") is None
    assert "takes it only with mode 'pro'" in (refused(model_name="kling-v2-6", sound="on") or "")
    assert refused(model_name="kling-v2-6", sound="on", mode="{{ params.mode }}") is None
    assert "prompt is required" in (refused(prompt=None) or "")
    assert refused(prompt="{{ params.prompt }}") is None
    assert refused(prompt=None, multi_shot="{{ params.shots }}") is None
    assert "make them equal" in (refused(**TWO_SHOTS, duration="7") or "")
    assert refused(**TWO_SHOTS, duration="{{ params.duration }}") is None
    templated = [{**SHOTS[0], "duration": "{{ params.first }}"}, SHOTS[1]]
    assert refused(multi_shot=True, shot_type="customize", multi_prompt=templated, duration="7") is None
