"""Reads images and manifests from the storage, and checks them before anybody sees them.

An object goes to a temporary file, so that no byte of it is sent before all of it is checked.
"""

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
from airflow_kling.plugins.gallery.locations import ArchiveLocation, ExpectedImage, NotShown, UriLocation
from airflow_kling.storage.open import open_object, open_store

log = logging.getLogger(__name__)

_PIECE = 1024 * 1024  # bytes read at once


class Unreachable(Exception):
    """The storage failed; the message tells the user so, and names no address."""


@contextmanager
def open_verified(
    image: ExpectedImage, *, max_pixels: int = DownloadLimits.max_pixels
) -> Iterator[tuple[BinaryIO, MediaInfo]]:
    """Open an image as a temporary file at its start, and tell its type and size.

    :param max_pixels: width times height.
    :raises NotShown: there is none, or it has other bytes than expected.
    :raises Unreachable: the storage failed.
    """
    with tempfile.TemporaryFile(prefix="kling-gallery-") as file:
        _read(image.location, _LimitedFile(file, image.bytes))
        size = file.tell()
        file.seek(0)
        if size != image.bytes or hashlib.file_digest(file, "sha256").hexdigest() != image.sha256:
            raise NotShown("The file in the storage is not the one that was archived.")
        try:
            info = probe(cast(BinaryIO, file), url="storage://image", max_pixels=max_pixels)
        except KlingImageError:
            raise NotShown("The file is not a whole image, or has too many pixels.") from None
        file.seek(0)
        yield cast(BinaryIO, file), info


def read_manifest(location: ArchiveLocation, kling_task_id: str) -> Manifest:
    """Return the manifest of a generation.

    :raises NotShown: there is none, or it is of another generation.
    :raises Unreachable: the storage failed.
    """
    with tempfile.TemporaryFile(prefix="kling-gallery-") as file:
        _read(location, _LimitedFile(file, MAX_BYTES))
        file.seek(0)
        manifest = parse_manifest(file.read())
    if manifest is None or manifest.kling_task_id != kling_task_id:
        raise NotShown("The file in the storage is not a manifest of this task.")
    return manifest


class _LimitedFile:
    """A file that refuses to grow beyond a limit: the object may have become larger since it was archived."""

    def __init__(self, file: Any, max_bytes: int) -> None:
        self._file = file
        self._left = max_bytes

    def write(self, piece: bytes) -> int:
        self._left -= len(piece)
        if self._left < 0:
            raise NotShown("The file is larger than the archived one.")
        return int(self._file.write(piece))


def _read(location: ArchiveLocation | UriLocation, target: _LimitedFile) -> None:
    try:
        if isinstance(location, ArchiveLocation):
            found = _read_from_archive(location, target)
        else:
            found = _read_from_uri(location, target)
    except NotShown:
        raise
    except KlingInputError:
        raise NotShown("The gallery does not read from this storage.") from None
    except Exception as error:  # each storage library has errors of its own
        # Only the class: the message may contain a signed URL.
        log.warning("The Kling gallery cannot read from the storage: %s", type(error).__name__)
        raise Unreachable(f"The storage failed ({type(error).__name__}).") from None
    if not found:
        raise NotShown("The file is no longer in the storage.")


def _read_from_archive(location: ArchiveLocation, target: _LimitedFile) -> bool:
    destination = location.destination
    if location.is_local and not _is_file(os.path.join(destination.removeprefix("file://"), location.key)):
        return False
    if location.conn_id and not destination.startswith(("file://", "s3://")):
        scheme, _, rest = destination.partition("://")
        destination = f"{scheme}://{location.conn_id}@{rest}"
    store = open_store(destination, aws_conn_id=location.conn_id)
    return store.download(location.key, cast(BinaryIO, target))


def _read_from_uri(location: UriLocation, target: _LimitedFile) -> bool:
    if location.is_local and not _is_file(location.path):
        return False
    with open(location.path, "rb") if location.is_local else open_object(location.uri) as file:
        while piece := file.read(_PIECE):
            target.write(piece)
    return True


def _is_file(path: str) -> bool:
    # Reading a pipe or device could block the thread for ever.
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False
