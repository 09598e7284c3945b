"""Names in the storage: ``<kling task id>/<index>.<ext>``, ``manifest.json`` and ``review.json`` beside it, no others.

The task id comes from an API, so it is checked: no other text from outside ever becomes part of a path.
"""

from __future__ import annotations

import re
from typing import Final

from airflow_kling.exceptions import KlingInputError

#: Extensions of images that are archived, as :mod:`airflow_kling.media.image` gives them.
EXTENSIONS: Final = ("png", "jpg", "webp")
#: One task makes 9 images at most (limit of the API); more room than that, so that a raised limit loses no paid image.
MAX_INDEX: Final = 99

_TASK_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")


def check_task_id(kling_task_id: object) -> str:
    """Return ``kling_task_id`` when it may be a name in the storage.

    :raises KlingInputError: it has other characters than letters, digits, ``_`` and ``-``, or is not 1 to 128 long.
    """
    if not isinstance(kling_task_id, str) or not _TASK_ID.fullmatch(kling_task_id):
        shown = repr(kling_task_id)[:140]
        raise KlingInputError(f"{shown} is not a Kling task id: 1 to 128 letters, digits, '_' and '-' are expected.")
    return kling_task_id


def image_key(kling_task_id: str, index: int, ext: str) -> str:
    """Name of an image relative to the destination.

    :raises KlingInputError: not a task id, an index outside 0 to 99, or an extension that is never archived.
    """
    if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index <= MAX_INDEX or ext not in EXTENSIONS:
        raise KlingInputError(f"{index!r}.{ext} is not an image of a task: index 0 to {MAX_INDEX}, {EXTENSIONS}.")
    return f"{check_task_id(kling_task_id)}/{index}.{ext}"


def manifest_key(kling_task_id: str) -> str:
    """Name of the manifest relative to the destination."""
    return f"{check_task_id(kling_task_id)}/manifest.json"


def review_key(kling_task_id: str) -> str:
    """Name of the verdict on a task's images, beside its manifest."""
    return f"{check_task_id(kling_task_id)}/review.json"


def split_manifest_uri(uri: str) -> tuple[str, str]:
    """Return destination and task id of the manifest at ``uri``.

    :raises KlingInputError: it is not the address of a manifest.
    """
    destination, _, rest = str(uri).removesuffix("/manifest.json").rpartition("/")
    if not destination or f"{destination}/{rest}/manifest.json" != uri:
        raise KlingInputError(f"{str(uri)[:200]!r} is no manifest: <destination>/<Kling task id>/manifest.json is.")
    return destination, check_task_id(rest)
