"""Decides which fields of the image routes go together, as Kling's documentation says [C]."""

from __future__ import annotations

from airflow_kling.emulator.endpoints import Fields

MOST_REFERENCES = 10
"""Images and elements of a request together."""
MOST_AREA = 3.0
"""The area of an expanded picture over that of its source."""
SIDES = ("up_expansion_ratio", "down_expansion_ratio", "left_expansion_ratio", "right_expansion_ratio")


def image_generation(fields: Fields) -> str | None:
    """Why the fields of an image generation are wrong together."""
    if fields["image"] and fields["negative_prompt"]:
        return "negative_prompt is not supported with image"
    if fields["image_reference"] and not fields["image"]:
        return "image is required with image_reference"
    if fields["human_fidelity"] is not None and fields["image_reference"] != "subject":
        return "human_fidelity needs image_reference subject"
    if len(fields["element_list"]) + bool(fields["image"]) > MOST_REFERENCES:
        return f"image and element_list must have at most {MOST_REFERENCES} images and elements together"
    refused = ("element_list",) if fields["model_name"] == "kling-v2-1" else _ONLY_V2_1
    return next(
        (f"{name} is not supported by {fields['model_name']}" for name in refused if _given(fields[name])), None
    )


_ONLY_V2_1 = ("image_reference", "image_fidelity", "human_fidelity")


def _given(value: object) -> bool:
    return value not in (None, "", [])


def omni_image(fields: Fields) -> str | None:
    """Why the fields of an omni image are wrong together."""
    model = fields["model_name"]
    if len(fields["image_list"]) + len(fields["element_list"]) > MOST_REFERENCES:
        return f"image_list and element_list must have at most {MOST_REFERENCES} images and elements together"
    if model == "kling-image-o1" and fields["resolution"] == "4k":
        return f"resolution 4k is not supported by {model}"
    if model == "kling-image-o1" and fields["result_type"] == "series":
        return f"result_type series is not supported by {model}"
    if fields["aspect_ratio"] == "auto" and not fields["image_list"]:
        return "aspect_ratio auto needs an image in image_list"
    return None


def image_expansion(fields: Fields) -> str | None:
    """Why the sides of an expansion are wrong together."""
    up, down, left, right = (fields[name] for name in SIDES)
    area = (1 + up + down) * (1 + left + right)
    # The limit itself is allowed, and 1.2 x 2.5 is a little more than 3 in floating point.
    if area > MOST_AREA + 1e-9:
        return f"the expanded picture has {area:g} times the area of its source, at most {MOST_AREA:g} is allowed"
    return None
