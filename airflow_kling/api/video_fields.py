"""Defines what the requests of the video routes share: fields, rules between them, and what each model takes.

Sources: Kling's API reference of image to video (3.0) and its capability map of 2026-05-19 [C], CometAPI's pages [C].
Retired with the models before 2.5 and left out: camera_control, static_mask, dynamic_masks.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, NotRequired

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, StringConstraints, with_config
from typing_extensions import TypedDict

from airflow_kling.api.fields import PLAIN, KlingRequest, OptionalText, Prompt, Watermark
from airflow_kling.api.rules import NOT_TAKEN, Allowed, ModelTable, Rule
from airflow_kling.api.values import plain

MAX_SHOT_PROMPT = 512  # characters [C]


def _seconds_text(value: Any) -> Any:
    """Return seconds as the text that the API takes; a form and a spreadsheet have a number."""
    value = plain(value)
    whole = isinstance(value, int | float) and not isinstance(value, bool) and value == int(value)
    return str(int(value)) if whole else value


#: Seconds as a text [C]; which of them a model takes is in the tables.
Duration = Annotated[
    Literal["3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15"], BeforeValidator(_seconds_text)
]
ShotDuration = Annotated[
    Literal["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15"],
    BeforeValidator(_seconds_text),
]
Mode = Literal["std", "pro", "4k"]  # 720p, 1080p, 4k [C]
VideoRatio = Literal["16:9", "9:16", "1:1"]  # [C]; older CometAPI pages name seven
DEFAULT_DURATION: Final = "5"  # [C]


@with_config(ConfigDict(extra="forbid", coerce_numbers_to_str=True))
class Shot(TypedDict):
    """A shot of a video of several."""

    index: NotRequired[Annotated[int, Field(ge=1)]]
    prompt: Annotated[str, StringConstraints(min_length=1, max_length=MAX_SHOT_PROMPT), PLAIN]
    duration: ShotDuration


def _numbered(shots: list[Any] | None) -> list[Any] | None:
    """Give each shot its number; those of the author stay."""
    return shots and [{"index": number, **shot} for number, shot in enumerate(shots, 1)]


class ShotsRequest(KlingRequest):
    """What all three video routes have: a prompt, or several shots with one each."""

    model_name: OptionalText = None
    prompt: Prompt = None
    sound: Literal["on", "off"] | None = None  # off when not given [C]
    multi_shot: bool | None = None
    shot_type: Literal["customize", "intelligence"] | None = None
    multi_prompt: Annotated[list[Shot] | None, Field(min_length=1, max_length=6), AfterValidator(_numbered)] = None
    watermark_info: Watermark = None


class VideoRequest(ShotsRequest):
    """What text to video and image to video share."""

    negative_prompt: Prompt = None
    mode: Mode = "std"
    duration: Duration = DEFAULT_DURATION
    cfg_scale: Annotated[float | None, Field(ge=0, le=1)] = None  # 0.5 when not given [C]


def _shot_type_missing(request: Any) -> str | None:
    if request.multi_shot and request.shot_type is None:
        return "shot_type is required with multi_shot: 'customize' or 'intelligence'"
    return None


def _shots_missing(request: Any) -> str | None:
    if request.multi_shot and request.shot_type == "customize" and not request.multi_prompt:
        return "multi_prompt is required with shot_type 'customize': 1 to 6 shots"
    return None


def _shots_ignored(request: Any) -> str | None:
    if request.multi_prompt and not request.multi_shot:
        return f"multi_prompt has {len(request.multi_prompt)} shots, which Kling ignores without multi_shot: set it"
    return None


def _shots_too_long(request: Any) -> str | None:
    if not (request.multi_shot and request.multi_prompt):
        return None
    seconds, wanted = sum(int(shot["duration"]) for shot in request.multi_prompt), request.duration or DEFAULT_DURATION
    if seconds == int(wanted):
        return None
    return f"multi_prompt has shots of {seconds} s in all, but duration is {wanted!r}: make them equal"


def _prompt_for_intelligence(request: Any) -> str | None:
    if request.multi_shot and request.shot_type == "intelligence" and not request.prompt:
        return "prompt is required with shot_type 'intelligence'"
    return None


def _prompt_missing(request: Any) -> str | None:
    if not request.prompt and not (request.multi_shot and request.shot_type == "customize"):
        return "prompt is required, unless multi_shot is true with shot_type 'customize'"
    return None


#: Of several shots [C].
SHOT_RULES = (
    Rule(("multi_shot", "shot_type"), _shot_type_missing),
    Rule(("multi_shot", "shot_type", "multi_prompt"), _shots_missing),
    Rule(("multi_shot", "multi_prompt"), _shots_ignored),
    Rule(("multi_shot", "multi_prompt", "duration"), _shots_too_long),
)
PROMPT_REQUIRED = Rule(("prompt", "multi_shot", "shot_type"), _prompt_missing)
PROMPT_FOR_INTELLIGENCE = Rule(("prompt", "multi_shot", "shot_type"), _prompt_for_intelligence)

#: The live models of text to video and image to video, the default first [W, measured 2026-10-01].
VIDEO_MODELS = ("kling-v3", "kling-v2-6", "kling-v2-5-turbo")
_V2 = {
    "duration": Allowed(("5", "10")),
    "mode": Allowed(("std", "pro")),
    "multi_shot": Allowed((False,)),
    "cfg_scale": NOT_TAKEN,
}
#: What their models take of the fields that both have [C].
VIDEO_TABLE: ModelTable = {
    "kling-v3": {},
    "kling-v2-6": {**_V2, "sound": Allowed(needs={"mode": ("pro",)}, free=("off",))},
    "kling-v2-5-turbo": {**_V2, "sound": Allowed(("off",))},
}
