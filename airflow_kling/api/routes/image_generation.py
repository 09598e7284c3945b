"""Describes image generation: a prompt, and one reference image where the model takes it, becomes images.

Sources: Kling's API reference of image generation (2.1) and its capability map of 2026-05-19 [C], the CometAPI page
"Image Generation" [C].
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from airflow_kling.api.fields import (
    AspectRatio,
    ElementItem,
    ImageCount,
    KlingRequest,
    OptionalText,
    Prompt,
    RequiredPrompt,
    Watermark,
    too_many_references,
)
from airflow_kling.api.route import IMAGE, IMAGE_PACE, Endpoint, MediaField, Route
from airflow_kling.api.rules import NOT_TAKEN, ModelTable, Rule

_Fidelity = Annotated[float | None, Field(ge=0, le=1)]
_MAX_REFERENCES = 10  # images and elements [C]


def _image_missing(request: Any) -> str | None:
    if request.image_reference and not request.image:
        return f"image is required with image_reference {request.image_reference!r}"
    return None


def _negative_with_image(request: Any) -> str | None:
    if request.image and request.negative_prompt:
        return "negative_prompt is given together with image, which Kling does not take: leave one of them out"
    return None


def _fidelity_without_subject(request: Any) -> str | None:
    if request.human_fidelity is not None and request.image_reference != "subject":
        found = request.image_reference
        return (
            f"human_fidelity is {request.human_fidelity:g}, which needs image_reference 'subject', and "
            f"image_reference is {found!r}"
        )
    return None


def _references(request: Any) -> str | None:
    return too_many_references([request.image] if request.image else [], request.element_list, _MAX_REFERENCES)


class ImageGenerationRequest(KlingRequest):
    """The fields of a request."""

    model_table: ClassVar[ModelTable] = {
        "kling-v3": dict.fromkeys(("image_reference", "image_fidelity", "human_fidelity"), NOT_TAKEN),  # [C]
        "kling-v2-1": {"element_list": NOT_TAKEN},  # [C]
    }
    rules = (
        Rule(("image", "image_reference"), _image_missing),
        Rule(("image", "negative_prompt"), _negative_with_image),
        Rule(("human_fidelity", "image_reference"), _fidelity_without_subject),
        Rule(("image", "element_list"), _references),
    )

    prompt: RequiredPrompt
    model_name: OptionalText = None
    negative_prompt: Prompt = None
    image: OptionalText = Field(default=None, repr=False)
    image_reference: Literal["subject", "face"] | None = None  # face: exactly one face in the image [C]
    image_fidelity: _Fidelity = None  # 0.5 when not given [C]
    human_fidelity: _Fidelity = None  # 0.45 when not given [C]
    element_list: Annotated[list[ElementItem] | None, Field(min_length=1, max_length=_MAX_REFERENCES)] = None
    resolution: Literal["1k", "2k"] = "1k"
    n: ImageCount = 1
    aspect_ratio: AspectRatio = "16:9"
    watermark_info: Watermark = None


# The page also lists kling-v2, -v1-5 and -v1, which Kling has retired: sent, with a warning. An older page has other
# limits: prompt <= 500 and negative_prompt <= 200 characters, no 21:9.
_MODELS = ("kling-v3", "kling-v2-1")  # [C]
_COMETAPI = Endpoint(path="/kling/v1/images/generations", models=_MODELS)

ROUTE = Route(
    name="image-generation",
    endpoints={
        "cometapi": _COMETAPI,
        "cometapi-v2": _COMETAPI,
        "official": Endpoint(path="/v1/images/generations", models=_MODELS),
    },
    request=ImageGenerationRequest,
    media={"image": MediaField(IMAGE)},
    results=("images",),
    slots_field="n",
    pace=IMAGE_PACE,
)
