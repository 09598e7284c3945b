"""Objects of the storage, read into memory no larger than they may be, and checked before anybody sees them."""

from __future__ import annotations

import hashlib
import logging
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, cast

from airflow_kling.archive.download import DownloadLimits
from airflow_kling.archive.manifest import MAX_BYTES, Manifest, parse_manifest
from airflow_kling.exceptions import KlingImageError, KlingInputError
from airflow_kling.media.probe import MediaInfo, probe
from airflow_kling.plugins.gallery.locations import Archived, Located, NotShown, Picture
from airflow_kling.storage.open import open_object, open_store

log = logging.getLogger(__name__)

_PIECE = 1024 * 1024


class Unreachable(Exception):
    """The storage did not give an object."""


@contextmanager
def opened(picture: Picture, *, max_pixels: int = DownloadLimits.max_pixels) -> Iterator[tuple[BinaryIO, MediaInfo]]:
    """A verified image as a temporary file at its start, and what it is.

    :raises NotShown: there is none, or it is not what its XCom says.
    :raises Unreachable: the storage failed.
    """
    with tempfile.TemporaryFile(prefix="kling-gallery-") as file:
        _read(picture.place, _Limited(file, picture.bytes))
        size = file.tell()
        file.seek(0)
        if size != picture.bytes or hashlib.file_digest(file, "sha256").hexdigest() != picture.sha256:
            raise NotShown("Its bytes are not those that were archived.")
        try:
            info = probe(cast(BinaryIO, file), url="storage://image", max_pixels=max_pixels)
        except KlingImageError:
            raise NotShown("It is no whole image, or too large.") from None
        file.seek(0)
        yield cast(BinaryIO, file), info


def read_manifest(place: Archived, kling_task_id: str) -> Manifest:
    """The manifest of a generation.

    :raises NotShown: there is none, or it is of something else.
    :raises Unreachable: the storage failed.
    """
    with tempfile.TemporaryFile(prefix="kling-gallery-") as file:
        _read(place, _Limited(file, MAX_BYTES))
        file.seek(0)
        manifest = parse_manifest(file.read())
    if manifest is None or manifest.kling_task_id != kling_task_id:
        raise NotShown("What lies there is no manifest of this task.")
    return manifest


class _Limited:
    """A file that takes no more than it was told to expect."""

    def __init__(self, file: Any, most: int) -> None:
        self._file = file
        self._left = most

    def write(self, piece: bytes) -> int:
        self._left -= len(piece)
        if self._left < 0:
            raise NotShown("It is larger than what was archived.")
        return int(self._file.write(piece))


def _read(place: Archived | Located, target: _Limited) -> None:
    try:
        found = _from_archive(place, target) if isinstance(place, Archived) else _from_address(place, target)
    except (NotShown, KlingInputError):
        raise NotShown("The gallery does not read from there, or there is more than was archived.") from None
    except Exception as error:  # each storage library has errors of its own; their texts may hold signed URLs
        log.warning("The Kling gallery cannot read from its storage: %s", type(error).__name__)
        raise Unreachable(f"The storage did not answer as it should ({type(error).__name__}).") from None
    if not found:
        raise NotShown("It is no longer in the storage.")


def _from_archive(place: Archived, target: _Limited) -> bool:
    destination = place.destination
    if place.is_local and not _is_file(os.path.join(destination.removeprefix("file://"), place.key)):
        return False
    if place.conn_id and not destination.startswith(("file://", "s3://")):
        scheme, _, rest = destination.partition("://")
        destination = f"{scheme}://{place.conn_id}@{rest}"
    store = open_store(destination, aws_conn_id=place.conn_id)
    return store.download(place.key, cast(BinaryIO, target))


def _from_address(place: Located, target: _Limited) -> bool:
    if place.is_local and not _is_file(place.path):
        return False
    with open(place.path, "rb") if place.is_local else open_object(place.uri) as file:
        while piece := file.read(_PIECE):
            target.write(piece)
    return True


def _is_file(path: str) -> bool:
    """A device or pipe would hold its reader for ever."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False
