"""The limits of a request as data: the validators of :mod:`airflow_kling.api.tasks` are made of them.

Nothing is imported here but ``typing``. A DAG file is parsed every few seconds, and literals that are plainly within
the limits need no model there, whose import costs as much as all else that a parse needs of this package.

Sources: the CometAPI page "Multi-Image to Image" [seed], Kling's API reference [C].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

MAX_PROMPT = 2500  # characters, prompt and negative_prompt [seed]
MAX_SUBJECTS = 4  # [seed]; the least number depends on the gateway
MAX_IMAGES = 9  # n [C]
AspectRatio = Literal["16:9", "9:16", "1:1", "4:3", "3:4", "3:2", "2:3", "21:9"]  # [seed]
URL_SCHEMES = ("http://", "https://")


def plainly_valid(fields: Mapping[str, Any]) -> bool:
    """Whether every field given has the type that it should have and keeps to its limit.

    What is not plain, such as a number as text, a blank text or ``watermark_info``, is left to the model, which also
    words the errors: False decides nothing.

    :param fields: of ``MultiImageToImageRequest``; any may be missing.
    """
    return all(name in _PLAIN and _PLAIN[name](value) for name, value in fields.items())


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _prompt(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= MAX_PROMPT


def _images(value: Any) -> bool:
    return isinstance(value, list) and 1 <= len(value) <= MAX_SUBJECTS and all(isinstance(v, str) and v for v in value)


_PLAIN: dict[str, Callable[[Any], bool]] = {
    "subject_images": _images,
    "prompt": _prompt,
    "negative_prompt": _prompt,
    "model_name": _text,
    "external_task_id": _text,
    "n": lambda value: type(value) is int and 1 <= value <= MAX_IMAGES,
    "aspect_ratio": lambda value: isinstance(value, str) and value in get_args(AspectRatio),
    "callback_url": lambda value: isinstance(value, str) and value.startswith(URL_SCHEMES),
}
