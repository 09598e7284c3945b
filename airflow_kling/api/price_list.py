"""Lists what each route costs, by model and by the fields that decide it: data.

Kling bills units, out of a pack for images, one for videos and one for try-on. Source: a third party's copy of Kling's
price list [W]; multi-image to image is on Kling's own page too [C]. CometAPI's prices are not known [U].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, get_args

from airflow_kling.api.values import is_blank

#: When the price list was read.
LIST_DATE = "2026-11-26"

Pack = Literal["image", "video", "try-on"]
PACKS: tuple[Pack, ...] = get_args(Pack)
Fields = Mapping[str, Any]
#: Units for one image, second or try-on: a number, or one for each variant, such as ``pro sound``.
Price = float | Mapping[str, float]
#: Prices by route and by model; under ``*`` for every model, and for the route that sends none.
Prices = Mapping[str, Mapping[str, Price]]

#: List price of a unit; of try-on, what one costs.
USD_PER_UNIT: Mapping[Pack, float] = {"image": 0.0035, "video": 0.14, "try-on": 0.07}
#: Most pictures of a series whose amount is left to the model.
MOST_IN_A_SERIES = 9
_MODES = ("std", "pro", "4k")
_VIDEO = {"model_name": None, "mode": "std", "duration": "5", "sound": "off"}


class Amount(NamedTuple):
    """How many images, seconds or try-ons are billed."""

    number: float
    at_most: bool = False


class Tariff(NamedTuple):
    """What decides the price of a route.

    :param unit: what a price is for.
    :param defaults: the fields that decide it, with what the API takes where they are not given [C].
    :param variants: every name of a variant; none where a model has one price.
    :param variant: name of the variant that a request asks for.
    :param prices: the list.
    """

    pack: Pack
    unit: str
    defaults: Fields
    variants: tuple[str, ...]
    variant: Callable[[Fields], str]
    amount: Callable[[Fields], Amount]
    prices: Mapping[str, Price]


def _images(fields: Fields) -> Amount:
    return Amount(float(fields["n"]))


def _images_or_series(fields: Fields) -> Amount:
    if fields["result_type"] != "series":
        return _images(fields)
    if fields["series_amount"] == "auto":
        return Amount(MOST_IN_A_SERIES, at_most=True)
    return Amount(float(fields["series_amount"]))


def _seconds(fields: Fields) -> Amount:
    return Amount(float(fields["duration"]))


def _seconds_or_source(fields: Fields) -> Amount:
    if any(not isinstance(one, Mapping) or one.get("refer_type") != "feature" for one in fields["video_list"] or ()):
        from airflow_kling.api.routes.omni_video import ROUTE  # built on pydantic, which no other price needs

        # The result is as long as the video that is edited, whatever ``duration`` says.
        return Amount(ROUTE.media["video_list"].limits_of(fields["model_name"]).seconds[1], at_most=True)
    return _seconds(fields)


def _one(fields: Fields) -> Amount:
    return Amount(1.0)


def _no_variant(fields: Fields) -> str:
    return ""


def _text_or_image(fields: Fields) -> str:
    return "text" if is_blank(fields["image"]) else "image"


def _resolution(fields: Fields) -> str:
    return str(fields["resolution"]).lower()


def _clip(fields: Fields) -> str:
    sound, voice = " sound" if fields["sound"] == "on" else "", " voice" if fields.get("voice_list") else ""
    return f"{fields['mode']}{sound}{voice}"


def _omni_clip(fields: Fields) -> str:
    """A clip with a video as a reference has no sound [C]."""
    return f"{fields['mode']} video" if fields["video_list"] else _clip(fields)


_V3 = {"std": 0.6, "std sound": 0.9, "pro": 0.8, "pro sound": 1.2, "4k": 3.0, "4k sound": 3.0}
# The list has these for 5 and for 10 seconds; by the second they are the same.
_V2_6 = {"std": 0.3, "pro": 0.5, "pro sound": 1.0, "pro sound voice": 1.2}
_V2_5_TURBO = {"std": 0.3, "pro": 0.5}
_CLIPS: Mapping[str, Price] = {"kling-v3": _V3, "kling-v2-6": _V2_6, "kling-v2-5-turbo": _V2_5_TURBO}
_CLIP_VARIANTS = tuple(f"{mode}{more}" for mode in _MODES for more in ("", " sound", " sound voice"))

TARIFFS: Mapping[str, Tariff] = {
    "multi-image-to-image": Tariff(
        "image", "image", {"model_name": None, "n": 1}, (), _no_variant, _images,
        {"kling-v2-1": 16.0, "kling-v2": 16.0},
    ),
    "image-generation": Tariff(
        "image", "image", {"model_name": None, "n": 1, "image": None}, ("text", "image"), _text_or_image, _images,
        {"kling-v3": 8.0, "kling-v2-1": {"text": 4.0, "image": 8.0}, "kling-v2": {"text": 4.0, "image": 8.0}},
    ),
    "omni-image": Tariff(
        "image", "image",
        {"model_name": None, "n": 1, "resolution": "1k", "result_type": "single", "series_amount": 4},
        ("1k", "2k", "4k"), _resolution, _images_or_series,
        {"kling-image-o1": {"1k": 8.0, "2k": 8.0}, "kling-v3-omni": {"1k": 8.0, "2k": 8.0, "4k": 16.0}},
    ),
    "image-expansion": Tariff("image", "image", {"n": 1}, (), _no_variant, _images, {"*": 8.0}),
    "virtual-try-on": Tariff(
        "try-on", "try-on", {"model_name": None}, (), _no_variant, _one,
        {"kolors-virtual-try-on-v1": 1.0, "kolors-virtual-try-on-v1-5": 1.0},
    ),
    "text-to-video": Tariff("video", "second", _VIDEO, _CLIP_VARIANTS, _clip, _seconds, _CLIPS),
    "image-to-video": Tariff(
        "video", "second", {**_VIDEO, "voice_list": None}, _CLIP_VARIANTS, _clip, _seconds, _CLIPS,
    ),
    "omni-video": Tariff(
        "video", "second", {**_VIDEO, "mode": "pro", "video_list": None},
        tuple(f"{mode}{more}" for mode in _MODES for more in ("", " sound", " video")), _omni_clip, _seconds_or_source,
        {
            "kling-video-o1": {"std": 0.6, "pro": 0.8, "std video": 0.9, "pro video": 1.2},
            "kling-v3-omni": {
                "std": 0.6, "std sound": 0.8, "pro": 0.8, "pro sound": 1.0, "4k": 3.0, "4k sound": 3.0,
                "std video": 0.9, "pro video": 1.2,
            },
        },
    ),
}  # fmt: skip
