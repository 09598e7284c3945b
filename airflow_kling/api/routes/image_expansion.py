"""Describes image expansion: a picture is continued beyond its edges.

Sources: Kling's API reference of outpainting [C], the CometAPI page "Image Expansion" [C].
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from airflow_kling.api.fields import ImageCount, ImageText, KlingRequest, Prompt, Watermark
from airflow_kling.api.route import IMAGE, IMAGE_PACE, Endpoint, MediaField, Route
from airflow_kling.api.rules import Rule

#: Multiple of the picture's height (up, down) or width (left, right) [C].
_Ratio = Annotated[float, Field(ge=0, le=2)]
_MAX_AREA = 3  # times the picture's own [C]
_SIDES = ("up_expansion_ratio", "down_expansion_ratio", "left_expansion_ratio", "right_expansion_ratio")


def _too_large(request: Any) -> str | None:
    up, down, left, right = (getattr(request, side) for side in _SIDES)
    area = (1 + up + down) * (1 + left + right)
    if area <= _MAX_AREA + 1e-9:  # sums of decimal fractions are not exact
        return None
    return (
        f"the expansion ratios (up {up:g}, down {down:g}, left {left:g}, right {right:g}) make {area:.4g} times the "
        f"picture's area, at most {_MAX_AREA} times is allowed"
    )


class ImageExpansionRequest(KlingRequest):
    """The fields of a request; this route has no model."""

    rules = (Rule(_SIDES, _too_large),)

    image: ImageText = Field(repr=False)
    up_expansion_ratio: _Ratio
    down_expansion_ratio: _Ratio  # bottom_expansion_ratio on an older CometAPI page
    left_expansion_ratio: _Ratio
    right_expansion_ratio: _Ratio
    prompt: Prompt = None
    n: ImageCount = 1
    watermark_info: Watermark = None


_COMETAPI = Endpoint(path="/kling/v1/images/editing/expand")

ROUTE = Route(
    name="image-expansion",
    endpoints={
        "cometapi": _COMETAPI,
        "cometapi-v2": _COMETAPI,
        "official": Endpoint(path="/v1/images/editing/expand"),
    },
    request=ImageExpansionRequest,
    media={"image": MediaField(IMAGE)},
    results=("images",),
    slots_field="n",
    pace=IMAGE_PACE,
)
