"""Prices tasks: units of Kling's price list [W], which are of an image pack, a video pack or a try-on pack."""

from __future__ import annotations

from airflow_kling.emulator.endpoints import Fields
from airflow_kling.emulator.video_rules import has_base

IMAGE, VIDEO, TRY_ON = "image", "video", "try-on"
AUTO_SERIES = 3
"""Pictures of a series with ``auto``: Kling chooses, and so does the emulator."""

# Units a second: silent, with sound, with a video as reference.
_V3 = {"std": (0.6, 0.9), "pro": (0.8, 1.2), "4k": (3.0, 3.0)}
_V3_OMNI = {"std": (0.6, 0.8, 0.9), "pro": (0.8, 1.0, 1.2), "4k": (3.0, 3.0, 3.0)}
_O1 = {"std": (0.6, 0.6, 0.9), "pro": (0.8, 0.8, 1.2)}
# Units for 5 s: silent, with sound, with voices.
_FIVE_SECONDS = {
    "kling-v2-6": {"std": (1.5, 1.5, 1.5), "pro": (2.5, 5.0, 6.0)},
    "kling-v2-5-turbo": {"std": (1.5, 1.5, 1.5), "pro": (2.5, 2.5, 2.5)},
}


def image_generation(fields: Fields) -> float:
    """4 units for an image that kling-v2-1 makes from text, otherwise 8."""
    each = 4 if fields["model_name"] == "kling-v2-1" and not fields["image"] else 8
    return each * int(fields["n"])


def series_length(fields: Fields) -> int:
    """How many pictures a series has; 0 if none is asked for."""
    if fields["result_type"] != "series":
        return 0
    return AUTO_SERIES if fields["series_amount"] == "auto" else int(fields["series_amount"])


def omni_image(fields: Fields) -> float:
    """8 units for an image, 16 in 4k."""
    return (16 if fields["resolution"] == "4k" else 8) * (series_length(fields) or int(fields["n"]))


def video(fields: Fields) -> float:
    """Units of text-to-video and image-to-video, by model, mode, seconds, sound and voices."""
    seconds, sound = int(fields["duration"]), fields["sound"] == "on"
    if fields["model_name"] == "kling-v3":
        return round(_V3[fields["mode"]][sound] * seconds, 2)
    column = 2 if fields.get("voice_list") else int(sound)
    return _FIVE_SECONDS[fields["model_name"]][fields["mode"]][column] * seconds / 5


def omni_video(fields: Fields) -> float:
    """Units of an omni video, by model, mode, seconds, sound and whether a video is given."""
    table = _V3_OMNI if fields["model_name"] == "kling-v3-omni" else _O1
    column = 2 if fields["video_list"] else int(fields["sound"] == "on")
    return round(table[fields["mode"]][column] * omni_seconds(fields), 2)


def omni_seconds(fields: Fields) -> int:
    """Seconds of an omni video; one that is edited keeps its length, which is 5 s if it was not fetched."""
    return round(fields.get("source_seconds") or 5) if has_base(fields) else int(fields["duration"])
