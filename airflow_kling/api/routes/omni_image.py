"""Describes omni image: a prompt that names reference images and elements becomes images, or a series of them.

Sources: Kling's API reference of omni image (3.0) and its capability map of 2026-05-19 [C], the CometAPI page "Omni
Image" [C].
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from airflow_kling.api.fields import (
    ElementItem,
    ImageCount,
    ImageItem,
    KlingRequest,
    OptionalText,
    RequiredPrompt,
    Watermark,
    too_many_references,
)
from airflow_kling.api.route import IMAGE, IMAGE_PACE, Endpoint, MediaField, Route
from airflow_kling.api.rules import Allowed, ModelTable, Rule

_MAX_REFERENCES = 10  # images and elements [C]


def _number(value: Any) -> Any:
    """Return the number that a template has rendered to its text."""
    return int(value) if isinstance(value, str) and value.strip().isdecimal() else value


_SeriesAmount = Annotated[Literal[2, 3, 4, 5, 6, 7, 8, 9, "auto"], BeforeValidator(_number)]  # [C]


def _references(request: Any) -> str | None:
    return too_many_references(request.image_list, request.element_list, _MAX_REFERENCES)


def _auto_without_image(request: Any) -> str | None:
    if request.aspect_ratio == "auto" and not request.image_list:
        return "aspect_ratio is 'auto', which needs an image in image_list: give one, or a ratio"
    return None


class OmniImageRequest(KlingRequest):
    """The fields of a request; ``n`` counts for single images, ``series_amount`` for a series [C]."""

    model_table: ClassVar[ModelTable] = {
        "kling-image-o1": {"resolution": Allowed(("1k", "2k")), "result_type": Allowed(("single",))},  # [C]
        "kling-v3-omni": {},
    }
    rules = (
        Rule(("image_list", "element_list"), _references),
        Rule(("aspect_ratio", "image_list"), _auto_without_image),
    )

    # Names references as <<<image_1>>> and <<<element_1>>> [C].
    prompt: RequiredPrompt
    model_name: OptionalText = None
    image_list: Annotated[list[ImageItem] | None, Field(min_length=1, max_length=_MAX_REFERENCES)] = Field(
        default=None, repr=False
    )
    element_list: Annotated[list[ElementItem] | None, Field(min_length=1, max_length=_MAX_REFERENCES)] = None
    resolution: Literal["1k", "2k", "4k"] = "1k"
    result_type: Literal["single", "series"] | None = None  # single when not given [C]
    n: ImageCount = 1
    series_amount: _SeriesAmount | None = None  # 4 when not given [C]
    # auto when not given [C]
    aspect_ratio: Literal["16:9", "9:16", "1:1", "4:3", "3:4", "3:2", "2:3", "21:9", "auto"] | None = None
    watermark_info: Watermark = None


_MODELS = ("kling-image-o1", "kling-v3-omni")  # [C]
_COMETAPI = Endpoint(path="/kling/v1/images/omni-image", models=_MODELS)

ROUTE = Route(
    name="omni-image",
    endpoints={
        "cometapi": _COMETAPI,
        "cometapi-v2": _COMETAPI,
        "official": Endpoint(path="/v1/images/omni-image", models=_MODELS),
    },
    request=OmniImageRequest,
    media={"image_list": MediaField(IMAGE, list_of="image")},
    results=("images", "series_images"),
    slots_field="n",
    series_field="series_amount",  # auto takes as many slots as images are made [C]
    pace=IMAGE_PACE,
)
