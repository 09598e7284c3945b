"""Describes virtual try-on: a person wears a garment.

Sources: a transcription of Kling's API reference [C], the CometAPI index of operations [C]; the text of CometAPI's page
is not known.
"""

from __future__ import annotations

from pydantic import Field

from airflow_kling.api.fields import ImageText, KlingRequest, OptionalText
from airflow_kling.api.route import IMAGE_PACE, IMAGE_TRY, Endpoint, MediaField, Route


class VirtualTryOnRequest(KlingRequest):
    """The fields of a request; there is no prompt, number of images or watermark [C]."""

    human_image: ImageText = Field(repr=False)
    # One garment, as a product photo or on white; v1-5 takes a top and a bottom in one picture, any other pair makes
    # the task fail [C].
    cloth_image: ImageText = Field(repr=False)
    model_name: OptionalText = None


_MODELS = ("kolors-virtual-try-on-v1", "kolors-virtual-try-on-v1-5")  # [C]
_COMETAPI = Endpoint(path="/kling/v1/images/kolors-virtual-try-on", models=_MODELS)

ROUTE = Route(
    name="virtual-try-on",
    endpoints={
        "cometapi": _COMETAPI,
        "cometapi-v2": _COMETAPI,
        "official": Endpoint(path="/v1/images/kolors-virtual-try-on", models=_MODELS),
    },
    request=VirtualTryOnRequest,
    media={"human_image": MediaField(IMAGE_TRY), "cloth_image": MediaField(IMAGE_TRY)},
    results=("images",),
    pace=IMAGE_PACE,
)
