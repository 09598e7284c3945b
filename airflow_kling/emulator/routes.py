"""The three ways to reach Kling, as data: where each one's routes are and what it accepts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Gateway:
    """One published variant of the multi-image-to-image API.

    :param name: as in the ``gateway`` extra of a connection
    :param path: path of create (POST) and, followed by an id, of query (GET)
    :param min_subjects: fewest subject images
    :param models: accepted values of ``model_name``, the default first
    :param scene_field: how the scene image is spelt
    :param extras: accepted fields beyond the common ones
    :param official: Kling itself (its error bodies, JWT, listing) or CometAPI in front of it
    """

    name: str
    path: str
    min_subjects: int
    models: tuple[str, ...]
    scene_field: str
    extras: frozenset[str]
    official: bool


_EXTRAS = frozenset({"negative_prompt", "watermark_info"})

GATEWAYS = (
    Gateway("cometapi", "/kling/v1/images/generations", 2, ("kling-v2",), "scence_image", frozenset(), False),
    Gateway(
        "cometapi-v2",
        "/kling/v1/images/multi-image2image",
        1,
        ("kling-v2", "kling-v2-1"),
        "scene_image",
        _EXTRAS,
        False,
    ),
    Gateway("official", "/v1/images/multi-image2image", 1, ("kling-v2-1", "kling-v2"), "scene_image", _EXTRAS, True),
)

MAX_SUBJECTS = 4
MAX_PROMPT = 2500
"""Characters of ``prompt`` and of ``negative_prompt``."""
MAX_N = 9
ASPECT_RATIOS = ("16:9", "9:16", "1:1", "4:3", "3:4", "3:2", "2:3", "21:9")
MAX_PAGE_NUM = 1000
MAX_PAGE_SIZE = 500
DEFAULT_PAGE_SIZE = 30
UNITS_PER_IMAGE = 8
