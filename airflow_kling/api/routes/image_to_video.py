"""Describes image to video: an image, and one for the end where the model takes it, becomes a video.

Sources: Kling's API reference of image to video (3.0) and its capability map of 2026-05-19 [C], live runs [W], older
CometAPI pages "Image to Video" [C].
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, ConfigDict, Field, with_config
from typing_extensions import TypedDict

from airflow_kling.api.fields import ElementItem, ImageText, OptionalText, RequiredText, plain_or
from airflow_kling.api.route import IMAGE, VIDEO_PACE, Endpoint, MediaField, Route
from airflow_kling.api.rules import NOT_TAKEN, Allowed, ModelTable, Rule
from airflow_kling.api.video_fields import (
    PROMPT_FOR_INTELLIGENCE,
    SHOT_RULES,
    VIDEO_MODELS,
    VIDEO_TABLE,
    VideoRequest,
)


def _id_text(value: Any) -> Any:
    """Return an id of digits as the text that the API takes; a float has lost some of them and is refused."""
    return str(value) if type(value) is int else value


@with_config(ConfigDict(extra="forbid"))
class Voice(TypedDict):
    """A voice of Kling's library."""

    voice_id: Annotated[RequiredText, BeforeValidator(_id_text)]


def _silent_voices(request: Any) -> str | None:
    if request.voice_list and request.sound != "on":
        return "voice_list is given, which needs sound 'on'"
    return None


def _voices_and_elements(request: Any) -> str | None:
    if request.voice_list and request.element_list:
        return "voice_list and element_list are both given, but Kling takes only one of them"
    return None


# What a model takes beside the fields of both routes [C].
_MORE: ModelTable = {
    "kling-v3": {"voice_list": NOT_TAKEN},
    "kling-v2-6": {
        "image_tail": Allowed(needs={"mode": ("pro",), "sound": ("off", None)}),
        "voice_list": Allowed(needs={"mode": ("pro",)}),
        "element_list": NOT_TAKEN,
    },
    "kling-v2-5-turbo": {
        "image_tail": Allowed(needs={"mode": ("pro",)}),
        "voice_list": NOT_TAKEN,
        "element_list": NOT_TAKEN,
    },
}


class ImageToVideoRequest(VideoRequest):
    """The fields of a request; the picture decides the aspect ratio [C]."""

    model_table: ClassVar[ModelTable] = {name: {**VIDEO_TABLE[name], **more} for name, more in _MORE.items()}
    rules = (
        PROMPT_FOR_INTELLIGENCE,
        *SHOT_RULES,
        Rule(("voice_list", "sound"), _silent_voices),
        Rule(("voice_list", "element_list"), _voices_and_elements),
    )

    # The page takes image_tail alone too, but no live model does [C].
    image: ImageText = Field(repr=False)
    image_tail: OptionalText = Field(default=None, repr=False)
    element_list: Annotated[list[ElementItem] | None, Field(min_length=1, max_length=3)] = None
    voice_list: Annotated[list[Annotated[Voice, plain_or("voice_id")]] | None, Field(min_length=1, max_length=2)] = None


# Only older CometAPI pages are known: prompt <= 500 and negative_prompt <= 200 characters, mode std or pro, duration
# 5 or 10. What the newest one says is not, so nothing more is refused here than the models refuse.
_COMETAPI = Endpoint(path="/kling/v1/videos/image2video", models=VIDEO_MODELS)

ROUTE = Route(
    name="image-to-video",
    endpoints={
        "cometapi": _COMETAPI,
        "cometapi-v2": _COMETAPI,
        "official": Endpoint(path="/v1/videos/image2video", models=VIDEO_MODELS),
    },
    request=ImageToVideoRequest,
    media={"image": MediaField(IMAGE), "image_tail": MediaField(IMAGE)},
    results=("videos",),
    pace=VIDEO_PACE,
)
