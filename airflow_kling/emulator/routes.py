"""Holds Kling's routes: one row for each kind of generation. No other module names a route.

A new route is one more :class:`Route` in :data:`ROUTES`. Its rules come from Kling's documentation, not from the
product's models, so that a mistake there is found here. [C] marks what an official or a CometAPI page says.
"""

from __future__ import annotations

import functools

from airflow_kling.emulator import drawing
from airflow_kling.emulator.endpoints import Fields, ResultList, Route, Variant
from airflow_kling.emulator.fields import Rule, choice, image, images, required, text, watermark, web_address, whole
from airflow_kling.emulator.gateways import COMETAPI, COMETAPI_V2, OFFICIAL

MAX_PROMPT = 2500
"""Characters of ``prompt`` and of ``negative_prompt`` [C]."""
ASPECT_RATIOS = ("16:9", "9:16", "1:1", "4:3", "3:4", "3:2", "2:3", "21:9")
# Fields that every route has [C].
_COMMON: dict[str, Rule] = {
    "external_task_id": text(512),
    "callback_url": web_address,
    "watermark_info": watermark,
}


def _n(fields: Fields) -> int:
    number: int = fields["n"]
    return number


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
            ResultList(
                "images",
                count=_n,
                draw=functools.partial(
                    drawing.collage, subjects=("subject_image_list",), scene="scene_image", style="style_image"
                ),
            ),
        ),
        price=lambda fields: 8 * _n(fields),
    ),
)
