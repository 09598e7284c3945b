"""Describes text to video: a prompt, or several shots with one each, becomes a video.

Sources: Kling's API reference of image to video, whose fields it shares [C], a transcription of its own page [C], live
runs [W], the CometAPI page "Text to Video" [C].
"""

from __future__ import annotations

from airflow_kling.api.route import VIDEO_PACE, Endpoint, Route
from airflow_kling.api.rules import Allowed, rules_of
from airflow_kling.api.video_fields import (
    PROMPT_REQUIRED,
    SHOT_RULES,
    VIDEO_MODELS,
    VIDEO_TABLE,
    VideoRatio,
    VideoRequest,
)


class TextToVideoRequest(VideoRequest):
    """The fields of a request."""

    model_table = VIDEO_TABLE
    rules = (PROMPT_REQUIRED, *SHOT_RULES)

    aspect_ratio: VideoRatio = "16:9"


_COMETAPI = Endpoint(
    path="/kling/v1/videos/text2video",
    models=VIDEO_MODELS,
    # [C]; older pages also limit prompt to 500 and negative_prompt to 200 characters.
    rules=rules_of("CometAPI", {"mode": Allowed(("std", "pro")), "duration": Allowed(("5", "10"))}),
)

ROUTE = Route(
    name="text-to-video",
    endpoints={
        "cometapi": _COMETAPI,
        "cometapi-v2": _COMETAPI,
        # The page's own default is a retired model, so one is always sent [C].
        "official": Endpoint(path="/v1/videos/text2video", models=VIDEO_MODELS),
    },
    request=TextToVideoRequest,
    results=("videos",),
    pace=VIDEO_PACE,
)
