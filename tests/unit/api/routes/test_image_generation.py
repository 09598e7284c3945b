"""Image generation: the body of Kling's page, and the rules of the reference image, elements and models."""

from __future__ import annotations

import pytest

from airflow_kling.api.gateways import GATEWAYS
from airflow_kling.api.request import unknown_limits, unknown_model
from airflow_kling.api.routes.image_generation import ROUTE
from tests.unit.api.routes.asking import ALL, ELEMENT, A, Asking, urls

ask = Asking(ROUTE, {"prompt": "a cat"})
V2_1 = "kling-v2-1"


@pytest.mark.parametrize("gateway", ALL)
def test_where_it_is(gateway: str) -> None:
    assert ask.url(gateway) == urls("images/generations")[gateway]


@pytest.mark.parametrize("gateway", ALL)
def test_the_request_of_the_page(gateway: str) -> None:
    page = {"model_name": V2_1, "prompt": "a dog", "image": A, "n": 2}
    # What it leaves out is sent with the default that the page gives it, and nothing beyond.
    assert ask.body(gateway, **page) == {**page, "resolution": "1k", "aspect_ratio": "16:9"}


@pytest.mark.parametrize("gateway", ALL)
def test_every_field_has_the_wires_name(gateway: str) -> None:
    common = {
        "prompt": "a cat",
        "resolution": "2k",
        "n": 9,
        "aspect_ratio": "21:9",
        "watermark_info": {"enabled": True},
        "callback_url": "https://example.com/hook",
        "external_task_id": "mine",
    }
    with_image = {"image": A, "image_reference": "subject", "image_fidelity": 0.5, "human_fidelity": 0.45}
    for more in (
        {"model_name": V2_1, **with_image},
        {"model_name": "kling-v3", "element_list": [{"element_id": ELEMENT}], "image": A},
        {"model_name": "kling-v3", "negative_prompt": "dogs"},
    ):
        assert ask.body(gateway, **common, **more) == {**common, **more}


@pytest.mark.parametrize("gateway", ALL)
def test_the_least_that_is_sent(gateway: str) -> None:
    assert ask.body(gateway) == {
        "model_name": "kling-v3",
        "prompt": "a cat",
        "resolution": "1k",
        "n": 1,
        "aspect_ratio": "16:9",
    }


def test_prompts() -> None:
    assert ask.refusal(prompt=None) == "prompt is required"
    assert ask.body(prompt="x" * 2500, negative_prompt="x" * 2500)
    for name in ("prompt", "negative_prompt"):
        assert ask.refusal(**{name: "x" * 2501}) == f"{name} has 2501 characters, at most 2500 are allowed"


def test_a_negative_prompt_does_not_go_with_an_image() -> None:
    assert ask.refusal(image=A, negative_prompt="dogs") == (
        "negative_prompt is given together with image, which Kling does not take: leave one of them out"
    )
    assert ask.body(image=A, negative_prompt=" ")["image"] == A


def test_a_kind_of_reference_needs_an_image() -> None:
    for kind in ("subject", "face"):
        assert ask.refusal(model_name=V2_1, image_reference=kind) == f"image is required with image_reference '{kind}'"
        assert ask.body(model_name=V2_1, image_reference=kind, image=A)["image_reference"] == kind
    assert "must be one of 'subject' or 'face'" in ask.refusal(model_name=V2_1, image_reference="style", image=A)


@pytest.mark.parametrize("name", ["image_fidelity", "human_fidelity"])
def test_fidelities_are_0_to_1(name: str) -> None:
    fields = {"model_name": V2_1, "image": A, "image_reference": "subject"}
    assert [ask.body(**fields, **{name: one})[name] for one in (0, 0.45, 1, "0.5")] == [0, 0.45, 1, 0.5]
    assert ask.refusal(**fields, **{name: 1.01}) == f"{name} is 1.01, the greatest is 1.0"
    assert ask.refusal(**fields, **{name: -0.01}) == f"{name} is -0.01, the least is 0.0"


def test_the_fidelity_of_a_face_goes_with_a_subject_only() -> None:
    fields = {"model_name": V2_1, "image": A, "human_fidelity": 0.5}
    assert ask.body(**fields, image_reference="subject")["human_fidelity"] == 0.5
    words = "human_fidelity is 0.5, which needs image_reference 'subject', and image_reference is "
    assert ask.refusal(**fields, image_reference="face") == f"{words}'face'"
    assert ask.refusal(**fields) == f"{words}None"


def test_what_each_model_takes() -> None:
    for fields in ({"image_reference": "face", "image": A}, {"image_fidelity": 0.5, "image": A}):
        name = next(iter(fields))
        assert ask.refusal(**fields) == f"{name} is given, but model 'kling-v3' does not take it: leave it out"
        assert ask.body(model_name=V2_1, **fields)
    both = ask.refusal(image_reference="subject", human_fidelity=0.5, image=A)
    assert "human_fidelity is given, but model 'kling-v3' does not take it" in both
    assert ask.body(element_list=[1])["element_list"] == [{"element_id": 1}]
    text = ask.refusal(model_name=V2_1, element_list=[1])
    assert text == "element_list is given, but model 'kling-v2-1' does not take it: leave it out"


def test_images_and_elements_are_10_at_most() -> None:
    assert ask.body(element_list=list(range(1, 11)))
    assert ask.body(image=A, element_list=list(range(1, 10)))
    assert ask.refusal(image=A, element_list=list(range(1, 11))) == (
        "there are 1 images and 10 elements, at most 10 together are allowed"
    )
    assert ask.refusal(element_list=list(range(1, 12))).startswith("element_list has 11 entries, at most 10")


def test_resolution_number_and_ratio() -> None:
    assert "resolution is '4k', must be one of '1k' or '2k'" in ask.refusal(resolution="4k")
    assert ask.refusal(n=10) == "n is 10, the greatest is 9"
    assert ask.refusal(n=0) == "n is 0, the least is 1"
    assert "aspect_ratio is 'auto', must be one of" in ask.refusal(aspect_ratio="auto")
    for gateway in ALL:  # an older page of CometAPI's has no 21:9
        assert ask.body(gateway, aspect_ratio="21:9")["aspect_ratio"] == "21:9"


@pytest.mark.parametrize("model", ["kling-v1", "kling-v1-5", "kling-v2"])
def test_a_retired_model_is_sent_with_a_warning(model: str) -> None:
    request = ask.request("cometapi", model_name=model, image=A, image_fidelity=0.5)
    assert f"model_name '{model}' is not known" in (unknown_model(ROUTE, request, GATEWAYS["cometapi"]) or "")
    assert f"What model '{model}' takes" in (unknown_limits(ROUTE, request) or "")


def test_templates_wait_for_the_run() -> None:
    refused = ask.refused_in_the_dag_file
    assert "image is required" in (refused(image_reference="face") or "")
    assert refused(image_reference="face", image="{{ params.image }}") is None
    assert "together with image" in (refused(image=A, negative_prompt="dogs") or "")
    assert refused(image="{{ params.image }}", negative_prompt="dogs") is None
    assert refused(image=A, negative_prompt="{{ params.not }}") is None
    assert refused(image_reference="face", image=object()) is None  # the output of a task
