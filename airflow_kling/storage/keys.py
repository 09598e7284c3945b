"""Makes the names of objects: ``<kling task id>/<index>.<extension>``, ``manifest.json`` and ``review.json``.

The poster of a video is ``<kling task id>/<index>.poster.jpg``. What could not be verified lies aside, as
``<kling task id>/unverified/<index>.<extension>`` or, where it is no image, ``unverified/<kind>-<index>.<extension>``.

The task id comes from an API, so it is checked: no other text from outside ever becomes part of a path.
"""

from __future__ import annotations

import re
from typing import Final

from airflow_kling.exceptions import KlingInputError
from airflow_kling.media.kinds import EXTENSIONS

#: A task makes 9 images at most [C]. There is room for more, so that a raised limit loses no paid image.
MAX_INDEX: Final = 99

#: Of a file of no known type.
UNKNOWN_EXTENSION: Final = "bin"
UNVERIFIED_EXTENSIONS: Final = (*EXTENSIONS["image"], *EXTENSIONS["video"], UNKNOWN_EXTENSION)

_TASK_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")


def check_task_id(kling_task_id: object) -> str:
    """Return ``kling_task_id`` when it may be a name in the storage.

    :raises KlingInputError: it has other characters than letters, digits, ``_`` and ``-``, or is not 1 to 128 long.
    """
    if not isinstance(kling_task_id, str) or not _TASK_ID.fullmatch(kling_task_id):
        shown = repr(kling_task_id)[:140]
        raise KlingInputError(f"{shown} is not a Kling task id: 1 to 128 letters, digits, '_' and '-' are expected.")
    return kling_task_id


def image_key(kling_task_id: str, index: int, extension: str) -> str:
    """Return the name of an image relative to the destination.

    :raises KlingInputError: not a task id, an index outside 0 to 99, or an extension that is never archived.
    """
    return result_key(kling_task_id, index, extension, kind="image")


def result_key(kling_task_id: str, index: int, extension: str, *, kind: str) -> str:
    """Return the name of an image or a video relative to the destination.

    :param kind: ``image`` or ``video``.
    :raises KlingInputError: as :func:`image_key`.
    """
    _check_index(index, extension, EXTENSIONS[kind])
    return f"{check_task_id(kling_task_id)}/{index}.{extension}"


def poster_key(kling_task_id: str, index: int) -> str:
    """Return the name of the first frame of a video, relative to the destination.

    :raises KlingInputError: as :func:`image_key`.
    """
    _check_index(index, "jpg", EXTENSIONS["image"])
    return f"{check_task_id(kling_task_id)}/{index}.poster.jpg"


def unverified_key(kling_task_id: str, index: int, extension: str, *, kind: str = "image") -> str:
    """Return the name of a result that could not be verified, relative to the destination.

    :param extension: of an image or a video, or :data:`UNKNOWN_EXTENSION`.
    :param kind: of the result, as :class:`airflow_kling.api.tasks.Result` names it.
    :raises KlingInputError: as :func:`image_key`.
    """
    _check_index(index, extension, UNVERIFIED_EXTENSIONS)
    name = index if kind == "image" else f"{kind}-{index}"
    return f"{check_task_id(kling_task_id)}/unverified/{name}.{extension}"


def manifest_key(kling_task_id: str) -> str:
    """Return the name of the manifest relative to the destination."""
    return f"{check_task_id(kling_task_id)}/manifest.json"


def review_key(kling_task_id: str) -> str:
    """Return the name of the verdict on a task's images, beside its manifest."""
    return f"{check_task_id(kling_task_id)}/review.json"


def split_manifest_uri(uri: str) -> tuple[str, str]:
    """Return destination and task id of the manifest at ``uri``.

    :raises KlingInputError: it is not the address of a manifest.
    """
    destination, _, rest = str(uri).removesuffix("/manifest.json").rpartition("/")
    if not destination or f"{destination}/{rest}/manifest.json" != uri:
        raise KlingInputError(
            f"{str(uri)[:200]!r} is not the address of a manifest: <destination>/<Kling task id>/manifest.json."
        )
    return destination, check_task_id(rest)


def _check_index(index: int, extension: str, extensions: tuple[str, ...]) -> None:
    if not (type(index) is int and 0 <= index <= MAX_INDEX and extension in extensions):  # True is an int too
        raise KlingInputError(f"{index!r}.{extension} is not a result of a task: index 0 to {MAX_INDEX}, {extensions}.")
