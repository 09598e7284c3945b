"""Describes multi-image to image: one to four subject images, a scene and a style become images.

Sources: the CometAPI page "Multi-Image to Image" [seed], Kling's API reference [C].
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from airflow_kling.api.fields import (
    AspectRatio,
    ImageCount,
    ImageText,
    KlingRequest,
    OptionalText,
    Prompt,
    Watermark,
)
from airflow_kling.api.route import IMAGE, IMAGE_PACE, Endpoint, MediaField, Route


def _as_plain(item: object) -> object:
    """Return the image of an object as the API has it."""
    return item["subject_image"] if isinstance(item, dict) and item.keys() == {"subject_image"} else item


_Subject = Annotated[ImageText, BeforeValidator(_as_plain)]


class MultiImageToImageRequest(KlingRequest):
    """The fields of a request."""

    subject_images: list[Annotated[ImageText, BeforeValidator(_as_plain)]] = Field(
        min_length=1, max_length=4, repr=False
    )  # [seed]
    prompt: Prompt = None
    model_name: OptionalText = None
    scene_image: OptionalText = Field(default=None, repr=False)
    style_image: OptionalText = Field(default=None, repr=False)
    n: ImageCount = 1
    aspect_ratio: AspectRatio = "16:9"
    negative_prompt: Prompt = None
    watermark_info: Watermark = None


ROUTE = Route(
    name="multi-image-to-image",
    endpoints={
        "cometapi": Endpoint(
            path="/kling/v1/images/generations",  # [seed]; the query route behind it [I]
            models=("kling-v2",),  # [seed]
            min_items={"subject_images": 2},  # [seed]
            spellings={"scene_image": "scence_image"},  # sic [seed]
            not_taken=frozenset({"negative_prompt", "watermark_info"}),
        ),
        "cometapi-v2": Endpoint(
            path="/kling/v1/images/multi-image2image",  # [C]
            models=("kling-v2", "kling-v2-1"),
        ),
        "official": Endpoint(
            path="/v1/images/multi-image2image",
            models=("kling-v2-1", "kling-v2"),  # kling-v2 on older pages only [C]
        ),
    },
    request=MultiImageToImageRequest,
    body_names={"subject_images": "subject_image_list"},
    media={
        "subject_images": MediaField(IMAGE, list_of="subject_image"),
        "scene_image": MediaField(IMAGE),
        "style_image": MediaField(IMAGE),
    },
    results=("images",),
    slots_field="n",  # an image task takes n slots of the account [C]
    pace=IMAGE_PACE,
)
