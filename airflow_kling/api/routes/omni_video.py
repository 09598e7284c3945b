"""Describes omni video: a prompt that names reference images, elements and a video becomes a video.

Sources: a transcription of Kling's API reference of omni video (O1) and its capability map of 2026-05-19 [C], readings
of the page for kling-v3-omni [W], the CometAPI page "Omni Video" [C].
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, NotRequired

from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict

from airflow_kling.api.fields import ElementItem, ImageText, plain_or, too_many_references
from airflow_kling.api.route import IMAGE, VIDEO, VIDEO_PACE, Endpoint, MediaField, Route
from airflow_kling.api.rules import Allowed, ModelTable, Rule
from airflow_kling.api.video_fields import (
    DEFAULT_DURATION,
    PROMPT_FOR_INTELLIGENCE,
    PROMPT_REQUIRED,
    SHOT_RULES,
    Duration,
    Mode,
    ShotsRequest,
    VideoRatio,
)

_MAX_REFERENCES = 7  # images and elements [C]
_MAX_WITH_VIDEO = 4  # beside a video [C]
_MAX_WITH_FRAME = 3  # elements beside a first frame, kling-v3-omni [W]
_PLAIN_DURATIONS = ("5", "10")
_MAX_SECONDS_OF_O1 = 10  # [C]


@with_config(ConfigDict(extra="forbid"))
class FrameOrImage(TypedDict):
    """An image: of the first or the last frame, else a reference."""

    image_url: ImageText
    type: NotRequired[Literal["first_frame", "end_frame"]]


@with_config(ConfigDict(extra="forbid"))
class Video(TypedDict):
    """A video: for its style and motion (``feature``), or to be edited (``base``)."""

    video_url: ImageText
    refer_type: NotRequired[Literal["feature", "base"]]
    keep_original_sound: NotRequired[Literal["yes", "no"]]


def _types(request: Any) -> list[str | None]:
    return [image.get("type") for image in request.image_list or ()]


def _edits(request: Any) -> bool:
    # Only a video that is said to be a feature is not edited: what Kling takes for none is not known.
    return any(video.get("refer_type") != "feature" for video in request.video_list or ())


def _end_without_first(request: Any) -> str | None:
    types = _types(request)
    if "end_frame" in types and "first_frame" not in types:
        return "image_list has an end_frame without a first_frame, which it needs"
    return None


def _end_among_many(request: Any) -> str | None:
    types = _types(request)
    if "end_frame" in types and len(types) > 2:
        return f"image_list has {len(types)} images with an end_frame, at most 2 are allowed with one"
    return None


def _references(request: Any) -> str | None:
    if request.video_list:
        return too_many_references(request.image_list, request.element_list, _MAX_WITH_VIDEO, beside="a video")
    return too_many_references(request.image_list, request.element_list, _MAX_REFERENCES)


def _elements_with_frame(request: Any) -> str | None:
    count = len(request.element_list or ())
    if request.model_name == "kling-v3-omni" and "first_frame" in _types(request) and count > _MAX_WITH_FRAME:
        return (
            f"element_list has {count} entries, model 'kling-v3-omni' takes at most {_MAX_WITH_FRAME} beside a "
            "first_frame"
        )
    return None


def _ratio_missing(request: Any) -> str | None:
    if request.aspect_ratio is None and "first_frame" not in _types(request) and not _edits(request):
        return "aspect_ratio is required without a first_frame and without a video to edit: '16:9', '9:16' or '1:1'"
    return None


def _sound_with_video(request: Any) -> str | None:
    if request.video_list and request.sound == "on":
        return "sound is 'on', which Kling does not take beside a video: leave it out"
    return None


def _is_plain(request: Any) -> bool:
    """Tell whether a video is made of a text alone, or of it and a first frame."""
    return not request.video_list and not request.element_list and _types(request) in ([], ["first_frame"])


def _plain_duration(request: Any, who: str) -> str | None:
    duration = request.duration or DEFAULT_DURATION
    if duration in _PLAIN_DURATIONS or not _is_plain(request):
        return None
    return f"duration is {duration!r}, but {who} takes '5' or '10' for a text or a first frame alone"


def _duration_of_o1(request: Any) -> str | None:
    if request.model_name != "kling-video-o1" or request.duration is None or _edits(request):
        return None
    if int(request.duration) > _MAX_SECONDS_OF_O1:
        return f"duration is {request.duration!r}, but model 'kling-video-o1' takes '3' to '{_MAX_SECONDS_OF_O1}'"
    return _plain_duration(request, "model 'kling-video-o1'")


def _duration_of_cometapi(request: Any) -> str | None:
    return _plain_duration(request, "CometAPI")


_OF_DURATION = ("duration", "image_list", "element_list", "video_list")


class OmniVideoRequest(ShotsRequest):
    """The fields of a request; ``duration`` is void where a video is edited [C]."""

    model_table: ClassVar[ModelTable] = {
        "kling-video-o1": {  # [C]
            "mode": Allowed(("std", "pro")),
            "sound": Allowed(("off",)),
            "multi_shot": Allowed((False,)),
        },
        "kling-v3-omni": {},
    }
    rules = (
        PROMPT_REQUIRED,
        PROMPT_FOR_INTELLIGENCE,
        *SHOT_RULES,
        Rule(("image_list",), _end_without_first),
        Rule(("image_list",), _end_among_many),
        Rule(("image_list", "element_list", "video_list"), _references),
        Rule(("model_name", "image_list", "element_list"), _elements_with_frame),
        Rule(("aspect_ratio", "image_list", "video_list"), _ratio_missing),
        Rule(("sound", "video_list"), _sound_with_video),
        Rule(("model_name", *_OF_DURATION), _duration_of_o1),
    )

    # The prompt names references as <<<image_1>>>, <<<element_1>>> and <<<video_1>>> [C].
    image_list: Annotated[
        list[Annotated[FrameOrImage, plain_or("image_url")]] | None, Field(min_length=1, max_length=_MAX_REFERENCES)
    ] = Field(default=None, repr=False)
    element_list: Annotated[list[ElementItem] | None, Field(min_length=1, max_length=_MAX_REFERENCES)] = None
    video_list: Annotated[list[Annotated[Video, plain_or("video_url")]] | None, Field(min_length=1, max_length=1)] = (
        Field(default=None, repr=False)
    )
    mode: Mode = "pro"
    aspect_ratio: VideoRatio | None = None
    duration: Duration | None = None  # 5 when not given [C]; not to be said where a video is edited


_MODELS = ("kling-video-o1", "kling-v3-omni")
_VIDEO_OF_MODEL = {
    "kling-video-o1": VIDEO._replace(seconds=(3.0, 10.0), sides=(720, 2160), max_pixels=None),  # [C]
    "kling-v3-omni": VIDEO,  # [W]
}
_COMETAPI = Endpoint(
    path="/kling/v1/videos/omni-video",
    models=_MODELS,  # [C]
    rules=(Rule(_OF_DURATION, _duration_of_cometapi),),  # [C]
)

ROUTE = Route(
    name="omni-video",
    endpoints={
        "cometapi": _COMETAPI,
        "cometapi-v2": _COMETAPI,
        "official": Endpoint(path="/v1/videos/omni-video", models=_MODELS),  # o1 [C], v3-omni [W]
    },
    request=OmniVideoRequest,
    media={
        "image_list": MediaField(IMAGE, list_of="image_url"),
        "video_list": MediaField(VIDEO, list_of="video_url", of_model=_VIDEO_OF_MODEL),
    },
    results=("videos",),
    pace=VIDEO_PACE,
)
