"""A good request of every route, and where it goes on each gateway."""

from __future__ import annotations

from tests.unit.emulator.calls import b64, picture

WIDE = b64(picture(480, 320, "orange"))
TALL = b64(picture(320, 480, "teal"))
SOURCE_VIDEO = "http://127.0.0.1:9/source.mp4"
"""Nobody listens there."""

PATHS = {
    "multi-image-to-image": {"cometapi": "images/generations", "official": "images/multi-image2image"},
    "image-generation": "images/generations",
    "omni-image": "images/omni-image",
    "image-expansion": "images/editing/expand",
    "virtual-try-on": "images/kolors-virtual-try-on",
    "text-to-video": "videos/text2video",
    "image-to-video": "videos/image2video",
    "omni-video": "videos/omni-video",
}
PREFIXES = {"cometapi": "/kling/v1/", "official": "/v1/"}
BODIES = {
    "multi-image-to-image": {"subject_image_list": [{"subject_image": WIDE}, {"subject_image": TALL}]},
    "image-generation": {"model_name": "kling-v3", "prompt": "a fox in the snow"},
    "omni-image": {
        "model_name": "kling-v3-omni",
        "prompt": "put <<<image_1>>> beside <<<element_1>>>",
        "image_list": [{"image": WIDE}],
        "element_list": [{"element_id": 829836802793406551}],
    },
    "image-expansion": {
        "image": WIDE,
        "up_expansion_ratio": 0.5,
        "down_expansion_ratio": 0,
        "left_expansion_ratio": 0.25,
        "right_expansion_ratio": 0.25,
    },
    "virtual-try-on": {"human_image": TALL, "cloth_image": WIDE},
    "text-to-video": {"model_name": "kling-v3", "prompt": "a fox in the snow"},
    "image-to-video": {"model_name": "kling-v3", "image": WIDE, "prompt": "slow turn"},
    "omni-video": {
        "model_name": "kling-v3-omni",
        "prompt": "<<<image_1>>> walks",
        "image_list": [{"image_url": WIDE}],
        "aspect_ratio": "9:16",
    },
}
CASES = [(route, gateway) for route in PATHS for gateway in PREFIXES]


def path(route: str, gateway: str) -> str:
    under = PATHS[route]
    return PREFIXES[gateway] + (under if isinstance(under, str) else under[gateway])


def body(route: str, **changes):
    """A good body with these fields changed; None takes one away."""
    fields = {**BODIES[route], **changes}
    return {name: value for name, value in fields.items() if value is not None}
