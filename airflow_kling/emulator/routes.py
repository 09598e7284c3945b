"""Holds Kling's routes: one row for each kind of generation. No other module names a route.

A new route is one more :class:`Route` in :data:`ROUTES`. Its rules come from Kling's documentation, not from the
product's models, so that a mistake there is found here. [C] marks what an official or a CometAPI page says, [W] what
others measured.
"""

from __future__ import annotations

import functools
from typing import Any

from airflow_kling.emulator import drawing, film, image_rules, pictures, prices, video_rules
from airflow_kling.emulator.endpoints import Fields, ResultList, Route, Variant
from airflow_kling.emulator.fields import (
    Rule,
    absent,
    choice,
    elements,
    image,
    images,
    model,
    number,
    optional,
    picture,
    required,
    text,
    watermark,
    web_address,
    whole,
    whole_or,
)
from airflow_kling.emulator.gateways import COMETAPI, COMETAPI_V2, OFFICIAL
from airflow_kling.emulator.video_fields import (
    FRAMES,
    MAX_PROMPT,
    SECONDS,
    SHOTS,
    SOURCE,
    VIDEO,
    VIDEO_RATIOS,
    VOICES,
)

ASPECT_RATIOS = ("16:9", "9:16", "1:1", "4:3", "3:4", "3:2", "2:3", "21:9")
# Fields that every route has, but for the watermark of a try-on [C].
_TASK: dict[str, Rule] = {"external_task_id": text(512), "callback_url": web_address}
_COMMON: dict[str, Rule] = {**_TASK, "watermark_info": watermark}


def _n(fields: Fields) -> int:
    number: int = fields["n"]
    return number


def _single(fields: Fields) -> int:
    return 0 if prices.series_length(fields) else _n(fields)


def _one(fields: Fields) -> int:
    return 1


def _images(draw: Any) -> ResultList:
    return ResultList("images", count=_n, draw=draw)


def _videos(draw: Any, seconds: Any = lambda fields: int(fields["duration"])) -> ResultList:
    return ResultList(
        "videos",
        count=_one,
        draw=functools.partial(draw, seconds=seconds),
        media_type="video/mp4",
        # No index; the id is an input of other routes [C].
        item=lambda task_id, index, fields: {"id": f"{task_id}-video-{index}", "duration": str(seconds(fields))},
    )


# Ended on 2026-09-15 and before, on this route [W].
_ENDED_IMAGE_MODELS = ("kling-v1", "kling-v1-5", "kling-v2", "kling-v2-new")
_SIDE = required(number(0, 2))

ROUTES: tuple[Route, ...] = (
    Route(
        "multi-image-to-image",
        fields={
            **_COMMON,
            "subject_image_list": required(images("subject_image", 1, 4)),
            "scene_image": image,
            "style_image": image,
            "model_name": choice("kling-v2-1", "kling-v2"),
            "prompt": text(MAX_PROMPT),
            "negative_prompt": text(MAX_PROMPT),
            "n": whole(1, 9),
            "aspect_ratio": choice(*ASPECT_RATIOS),
        },
        variants=(
            Variant(
                COMETAPI,
                "images/generations",
                fields={
                    "subject_image_list": required(images("subject_image", 2, 4)),
                    "model_name": choice("kling-v2"),
                },
                spelling={"scene_image": "scence_image"},
                lacks=frozenset({"negative_prompt", "watermark_info"}),
                # Image generation has the same path there [C].
                when="subject_image_list",
            ),
            Variant(COMETAPI_V2, "images/multi-image2image", {"model_name": choice("kling-v2", "kling-v2-1")}),
            Variant(OFFICIAL, "images/multi-image2image"),
        ),
        results=(
            _images(
                functools.partial(
                    drawing.collage, subjects=("subject_image_list",), scene="scene_image", style="style_image"
                )
            ),
        ),
        price=lambda fields: 16 * _n(fields),
    ),
    Route(
        "image-generation",
        fields={
            **_COMMON,
            "model_name": model("kling-v3", "kling-v2-1", retired=_ENDED_IMAGE_MODELS),
            "prompt": required(text(MAX_PROMPT)),
            "negative_prompt": text(MAX_PROMPT),
            "image": image,
            "image_reference": optional(choice("subject", "face")),
            "image_fidelity": number(0, 1),
            "human_fidelity": number(0, 1),
            "element_list": elements(image_rules.MOST_REFERENCES),
            "resolution": choice("1k", "2k"),
            "n": whole(1, 9),
            "aspect_ratio": choice(*ASPECT_RATIOS),
        },
        variants=(
            # An older page of CometAPI's has no 21:9, the newest has the ratios of the official one [C].
            Variant(COMETAPI, "images/generations"),
            Variant(OFFICIAL, "images/generations"),
        ),
        results=(_images(functools.partial(pictures.from_prompt, subjects=("image", "element_list"))),),
        price=prices.image_generation,
        problem=image_rules.image_generation,
    ),
    Route(
        "omni-image",
        fields={
            **_COMMON,
            "model_name": model("kling-image-o1", "kling-v3-omni"),
            "prompt": required(text(MAX_PROMPT)),
            "image_list": images("image", 0, image_rules.MOST_REFERENCES),
            "element_list": elements(image_rules.MOST_REFERENCES),
            "resolution": choice("1k", "2k", "4k"),
            "result_type": choice("single", "series"),
            "n": whole(1, 9),
            "series_amount": whole_or("auto", 2, 9, default=4),
            "aspect_ratio": optional(choice(*ASPECT_RATIOS, "auto")),
        },
        variants=(Variant(COMETAPI, "images/omni-image"), Variant(OFFICIAL, "images/omni-image")),
        results=tuple(
            ResultList(
                name,
                count=count,
                draw=functools.partial(pictures.from_prompt, subjects=("image_list", "element_list")),
                beside={"result_type": result_type},
            )
            for name, count, result_type in (
                ("images", _single, "single"),
                ("series_images", prices.series_length, "series"),
            )
        ),
        price=prices.omni_image,
        problem=image_rules.omni_image,
    ),
    Route(
        "image-expansion",
        fields={
            **_COMMON,
            "image": required(image),
            **dict.fromkeys(image_rules.SIDES, _SIDE),
            "prompt": text(MAX_PROMPT),
            "n": whole(1, 9),
            # An older page of CometAPI's calls it so, the newest does not [C].
            "bottom_expansion_ratio": absent,
        },
        variants=(Variant(COMETAPI, "images/editing/expand"), Variant(OFFICIAL, "images/editing/expand")),
        results=(_images(pictures.expansion),),
        price=lambda fields: 8 * _n(fields),
        problem=image_rules.image_expansion,
    ),
    Route(
        "virtual-try-on",
        fields={
            **_TASK,
            "model_name": model("kolors-virtual-try-on-v1", "kolors-virtual-try-on-v1-5"),
            # No rule for the ratio of the sides here [C].
            "human_image": required(picture(stretch=None)),
            "cloth_image": required(picture(stretch=None)),
            **dict.fromkeys(("n", "prompt", "watermark_info"), absent),
        },
        variants=(
            Variant(COMETAPI, "images/kolors-virtual-try-on"),
            Variant(OFFICIAL, "images/kolors-virtual-try-on"),
        ),
        results=(ResultList("images", count=_one, draw=pictures.try_on),),
        price=lambda fields: 1,
        pack=prices.TRY_ON,
    ),
    Route(
        "text-to-video",
        fields={**_COMMON, **VIDEO, "aspect_ratio": choice(*VIDEO_RATIOS)},
        variants=(
            # Two modes and two lengths are all that its newest page knows [C].
            Variant(COMETAPI, "videos/text2video", {"mode": choice("std", "pro"), "duration": choice("5", "10")}),
            Variant(OFFICIAL, "videos/text2video"),
        ),
        results=(_videos(film.from_text),),
        price=prices.video,
        problem=video_rules.text_to_video,
        pack=prices.VIDEO,
    ),
    Route(
        "image-to-video",
        fields={
            **_COMMON,
            **VIDEO,
            "image": required(image),
            "image_tail": image,
            "element_list": elements(3),
            "voice_list": VOICES,
            # The picture decides [C]; masks are of models that have ended.
            **dict.fromkeys(("aspect_ratio", "static_mask", "dynamic_masks"), absent),
        },
        variants=(
            Variant(COMETAPI, "videos/image2video"),
            Variant(OFFICIAL, "videos/image2video"),
        ),
        results=(_videos(film.from_pictures),),
        price=prices.video,
        problem=video_rules.image_to_video,
        pack=prices.VIDEO,
    ),
    Route(
        "omni-video",
        fields={
            **_COMMON,
            "model_name": model("kling-video-o1", "kling-v3-omni"),
            "prompt": text(MAX_PROMPT),
            "image_list": FRAMES,
            "element_list": elements(7),
            "video_list": SOURCE,
            "mode": choice("pro", "std", "4k"),
            "aspect_ratio": optional(choice(*VIDEO_RATIOS)),
            "duration": SECONDS,
            "sound": choice("off", "on"),
            **SHOTS,
        },
        variants=(
            # Both models there know two lengths from a prompt or a first frame [C].
            Variant(COMETAPI, "videos/omni-video", problem=video_rules.five_or_ten),
            Variant(OFFICIAL, "videos/omni-video"),
        ),
        results=(_videos(film.from_references, prices.omni_seconds),),
        price=prices.omni_video,
        problem=video_rules.omni_video,
        video_problem=video_rules.source_video,
        pack=prices.VIDEO,
    ),
)
