"""Holds the rules of the fields that the video routes have in common, as Kling's documentation says."""

from __future__ import annotations

from airflow_kling.emulator.fields import (
    Rule,
    absent,
    choice,
    flag,
    image,
    model,
    number,
    objects,
    optional,
    required,
    text,
    video,
    whole,
)
from airflow_kling.emulator.video_rules import END, FRAME, MODELS, MODES, SHOT_TYPES, seconds

MAX_PROMPT = 2500
"""Characters of ``prompt`` and of ``negative_prompt`` [C]."""
VIDEO_RATIOS = ("16:9", "9:16", "1:1")
SECONDS = choice("5", *(each for each in seconds(3, 15) if each != "5"))
# Models that were there and have ended, on 2026-09-15 and before [W].
_ENDED = (
    "kling-v1",
    "kling-v1-5",
    "kling-v1-6",
    "kling-v2",
    "kling-v2-master",
    "kling-v2-1",
    "kling-v2-1-master",
)
SHOTS: dict[str, Rule] = {
    "multi_shot": flag,
    "shot_type": optional(choice(*SHOT_TYPES)),
    "multi_prompt": objects(
        "shots",
        0,
        6,
        {
            "index": required(whole(1, 6)),
            "prompt": required(text(512)),
            "duration": required(choice(*seconds(1, 15))),
        },
    ),
}
VIDEO: dict[str, Rule] = {
    # The page's default is a model that has ended, so a request without a model is refused [C], [W].
    "model_name": model(*MODELS, retired=_ENDED, default="kling-v1"),
    "prompt": text(MAX_PROMPT),
    "negative_prompt": text(MAX_PROMPT),
    "mode": choice(*MODES),
    "duration": SECONDS,
    "sound": choice("off", "on"),
    "cfg_scale": number(0, 1),
    # Of models that have ended.
    "camera_control": absent,
    **SHOTS,
}
"""Fields of text-to-video and of image-to-video [C]."""
VOICES = objects("voices", 0, 2, {"voice_id": required(text(512))})
FRAMES = objects("images", 0, 7, {"image_url": required(image), "type": optional(choice(FRAME, END))})
"""Images of an omni video: without a type they are references [C]."""
SOURCE = objects(
    "videos",
    0,
    1,
    {
        "video_url": required(video),
        "refer_type": choice("base", "feature"),
        "keep_original_sound": choice("yes", "no"),
    },
)
"""The video of an omni video, whose look or motion is taken, or which is edited [C]."""
