"""Decides which fields of the video routes go together, as Kling's documentation says."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from airflow_kling.emulator.endpoints import Fields
from airflow_kling.emulator.mp4 import VideoFacts

SHOT_TYPES = ("customize", "intelligence")
FRAME, END = "first_frame", "end_frame"


def seconds(least: int, most: int) -> tuple[str, ...]:
    """Every whole number of seconds from ``least`` to ``most``, as the API spells it."""
    return tuple(str(number) for number in range(least, most + 1))


@dataclass(frozen=True)
class VideoModel:
    """What a model of text-to-video and image-to-video can do.

    :param sound: modes that can have sound
    :param tail: modes that can have an end picture
    :param silent_tail: an end picture excludes sound
    :param cfg_scale: knows ``cfg_scale``
    :param shots: knows several shots, and elements
    :param voices: modes that can have voices
    """

    durations: tuple[str, ...]
    modes: tuple[str, ...]
    sound: tuple[str, ...] = ()
    tail: tuple[str, ...] = ()
    silent_tail: bool = False
    cfg_scale: bool = False
    shots: bool = False
    voices: tuple[str, ...] = ()


MODES = ("std", "pro", "4k")
# [C] official pages and capability map; the live ones of [W] measurements of 2026-10-01.
MODELS = {
    "kling-v3": VideoModel(seconds(3, 15), MODES, sound=MODES, tail=MODES, cfg_scale=True, shots=True),
    "kling-v2-6": VideoModel(
        ("5", "10"), ("std", "pro"), sound=("pro",), tail=("pro",), silent_tail=True, voices=("pro",)
    ),
    "kling-v2-5-turbo": VideoModel(("5", "10"), ("std", "pro"), tail=("pro",)),
}


def text_to_video(fields: Fields) -> str | None:
    """Why the fields of a text to video are wrong together."""
    if not fields["prompt"] and not _customized(fields):
        return "prompt is required"
    return next(_of_model(fields), None)


def image_to_video(fields: Fields) -> str | None:
    """Why the fields of an image to video are wrong together."""
    return next(_of_model(fields), None) or next(_of_tail(fields), None) or next(_of_voices(fields), None)


def _customized(fields: Fields) -> bool:
    return bool(fields["multi_shot"]) and fields["shot_type"] == "customize"


def _of_model(fields: Fields) -> Iterator[str]:
    name, mode = fields["model_name"], fields["mode"]
    model = MODELS[name]
    if mode not in model.modes:
        yield f"mode {mode} is not supported by {name}"
    if fields["duration"] not in model.durations:
        yield f"duration {fields['duration']} is not supported by {name}, only {', '.join(model.durations)}"
    if fields["sound"] == "on" and mode not in model.sound:
        yield f"sound is not supported by {name} in mode {mode}"
    if fields["cfg_scale"] is not None and not model.cfg_scale:
        yield f"cfg_scale is not supported by {name}"
    if fields["multi_shot"] and not model.shots:
        yield f"multi_shot is not supported by {name}"
    yield from shots(fields)


def _of_tail(fields: Fields) -> Iterator[str]:
    if not fields["image_tail"]:
        return
    name, mode = fields["model_name"], fields["mode"]
    model = MODELS[name]
    if mode not in model.tail:
        yield f"image_tail is not supported by {name} in mode {mode}"
    if model.silent_tail and fields["sound"] == "on":
        yield f"image_tail is not supported by {name} with sound"


def _of_voices(fields: Fields) -> Iterator[str]:
    name, model = fields["model_name"], MODELS[fields["model_name"]]
    if fields["element_list"] and not model.shots:
        yield f"element_list is not supported by {name}"
    if fields["element_list"] and fields["voice_list"]:
        yield "element_list and voice_list exclude each other"
    if fields["voice_list"] and fields["mode"] not in model.voices:
        yield f"voice_list is not supported by {name} in mode {fields['mode']}"
    if fields["voice_list"] and fields["sound"] != "on":
        yield "voice_list needs sound on"


def shots(fields: Fields) -> Iterator[str]:
    """Why several shots are wrong; without ``multi_shot`` what belongs to them is void."""
    if not fields["multi_shot"]:
        return
    if not fields["shot_type"]:
        yield "shot_type is required with multi_shot"
    if fields["shot_type"] == "intelligence" and not fields["prompt"]:
        yield "prompt is required with shot_type intelligence"
    if fields["shot_type"] == "customize":
        if not fields["multi_prompt"]:
            yield "multi_prompt is required with shot_type customize"
        whole = sum(int(shot["duration"]) for shot in fields["multi_prompt"])
        if whole != int(fields["duration"]):
            yield f"the shots of multi_prompt last {whole} s together, duration says {fields['duration']}"


def frames(fields: Fields) -> list[str]:
    """The types of the images that are the first or the last frame."""
    return [image["type"] for image in fields["image_list"] if image["type"]]


def has_base(fields: Fields) -> bool:
    """Whether a video is to be edited: its length and shape are the result's."""
    return any(video["refer_type"] == "base" for video in fields["video_list"])


def from_text_or_frame(fields: Fields) -> bool:
    """Whether there is nothing but a prompt, or a first frame: then a video lasts 5 or 10 s [C]."""
    types = [image["type"] for image in fields["image_list"]]
    return types in ([], [FRAME]) and not fields["element_list"] and not fields["video_list"]


def omni_video(fields: Fields) -> str | None:
    """Why the fields of an omni video are wrong together."""
    if not fields["prompt"] and not _customized(fields):
        return "prompt is required"
    return next(_of_references(fields), None) or next(_of_omni_model(fields), None) or next(shots(fields), None)


def _of_references(fields: Fields) -> Iterator[str]:
    types, pictures, subjects = frames(fields), len(fields["image_list"]), len(fields["element_list"])
    if len(types) != len(set(types)):
        yield "image_list has two images of the same type"
    if END in types and FRAME not in types:
        yield f"{END} needs {FRAME}"
    if END in types and pictures > 2:
        yield f"{END} is not supported with more than 2 images"
    most = 4 if fields["video_list"] else 7
    if pictures + subjects > most:
        yield f"image_list and element_list must have at most {most} images and elements together"
    if fields["model_name"] == "kling-v3-omni" and FRAME in types and subjects > 3:
        yield f"element_list must have at most 3 elements with {FRAME}"
    if not fields["aspect_ratio"] and FRAME not in types and not has_base(fields):
        yield f"aspect_ratio is required without {FRAME} and without a video to edit"


def _of_omni_model(fields: Fields) -> Iterator[str]:
    name, sound = fields["model_name"], fields["sound"] == "on"
    if sound and fields["video_list"]:
        yield "sound must be off with video_list"
    if name == "kling-v3-omni":
        return
    if fields["mode"] == "4k":
        yield f"mode 4k is not supported by {name}"
    if sound:
        yield f"sound is not supported by {name}"
    if fields["multi_shot"]:
        yield f"multi_shot is not supported by {name}"
    if not has_base(fields):
        if int(fields["duration"]) > 10:
            yield f"duration {fields['duration']} is not supported by {name}, at most 10"
        if reason := five_or_ten(fields):
            yield reason


def five_or_ten(fields: Fields) -> str | None:
    """Why a duration is wrong where only 5 and 10 s are known: of kling-video-o1, on CometAPI of both models [C]."""
    if from_text_or_frame(fields) and fields["duration"] not in ("5", "10"):
        return f"duration {fields['duration']} is not supported from text or {FRAME}, only 5, 10"
    return None


class SourceLimits(NamedTuple):
    """What a video must be like that a model refers to: seconds, pixels, frames per second."""

    seconds: tuple[float, float]
    sides: tuple[int, int]
    area: float = math.inf
    rate: tuple[int, int] = (0, 1000)


# [C] for kling-video-o1, [W] for kling-v3-omni.
SOURCES = {
    "kling-video-o1": SourceLimits((3, 10), (720, 2160), rate=(24, 60)),
    "kling-v3-omni": SourceLimits((3, 15.5), (700, 4553), area=8_294_400),
}


def source_video(fields: Fields, facts: VideoFacts) -> str | None:
    """Why a task with this video as a reference fails."""
    limits = SOURCES[fields["model_name"]]
    sides = (facts.width, facts.height)
    if not limits.seconds[0] <= facts.seconds <= limits.seconds[1]:
        return f"Video duration is invalid: {facts.seconds:g} s"
    if min(sides) < limits.sides[0] or max(sides) > limits.sides[1] or facts.width * facts.height > limits.area:
        return f"Video resolution is invalid: {facts.width} x {facts.height}"
    if not limits.rate[0] <= round(facts.rate) <= limits.rate[1]:
        return f"Video frame rate is invalid: {facts.rate:g}"
    return None
