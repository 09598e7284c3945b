"""Reads images, videos and manifests from the storage; nobody sees one that is not what was archived.

An object goes to a temporary file, so that no byte of it is sent before all of it is checked.
"""

from __future__ import annotations

import hashlib
import logging
import os
import stat
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, BinaryIO, cast

from airflow_kling.archive.manifest import MAX_BYTES, Manifest, parse_manifest
from airflow_kling.media.kinds import HEAD_BYTES, MP4, find_type
from airflow_kling.plugins.gallery.locations import (
    ArchiveLocation,
    ExpectedFile,
    Unreadable,
    UriLocation,
    is_below,
)
from airflow_kling.storage.destination import Destination
from airflow_kling.storage.open import AWS_CONN_ID, open_object, open_store

log = logging.getLogger(__name__)

_PIECE = 1024 * 1024  # bytes read at once
#: Of botocore, in place of its minutes and five attempts.
_S3_TIMEOUTS = {"connect_timeout": 3, "read_timeout": 5, "retries": {"total_max_attempts": 2}}


def read_image(image: ExpectedFile, roots: Sequence[str], abandoned: threading.Event) -> BinaryIO:
    """Return a temporary file with the bytes of an image, which are those that were archived, at its start.

    :param roots: folders of the API server that may be read.
    :param abandoned: is set when nobody needs the image any more.
    :raises Unreadable: there is none, it has other bytes than expected, or the storage failed.
    """
    file = _read(image.location, image.bytes, roots, abandoned)
    try:
        _check(file, image)
        return file
    except BaseException:
        file.close()
        raise


def copy_video(video: ExpectedFile, target: BinaryIO, roots: Sequence[str], abandoned: threading.Event) -> None:
    """Write the bytes of a video to an empty file, those that were archived; parameters as :func:`read_image`.

    :raises Unreadable: as :func:`read_image`; what the file has then may be anything.
    """
    _fill(target, video.location, video.bytes, roots, abandoned)
    _check(target, video)
    if find_type(target.read(HEAD_BYTES)) is not MP4:
        raise Unreadable("The file is no MP4.")


def read_manifest(
    location: ArchiveLocation, kling_task_id: str, roots: Sequence[str], abandoned: threading.Event
) -> Manifest:
    """Return the manifest of a generation; parameters as :func:`read_image`.

    :raises Unreadable: there is none, it is of another generation, or the storage failed.
    """
    with _read(location, MAX_BYTES, roots, abandoned) as file:
        file.seek(0)
        manifest = parse_manifest(file.read())
    if manifest is None or manifest.kling_task_id != kling_task_id:
        raise Unreadable("The file in the storage is not a manifest of this task.")
    return manifest


def _check(file: BinaryIO, expected: ExpectedFile) -> None:
    """Compare a file with what was archived; leave it at its start."""
    if file.seek(0, os.SEEK_END) == expected.bytes:
        file.seek(0)
        if hashlib.file_digest(cast(Any, file), "sha256").hexdigest() == expected.sha256:
            file.seek(0)
            return
    raise Unreadable("The file in the storage is not the one that was archived.")


class _LimitedFile:
    """A file that refuses to grow beyond a limit, or when nobody waits for it: the object may have become endless."""

    def __init__(self, file: BinaryIO, max_bytes: int, abandoned: threading.Event) -> None:
        self._file = file
        self._left = max_bytes
        self._abandoned = abandoned

    def write(self, piece: bytes) -> int:
        self._left -= len(piece)
        if self._left < 0 or self._abandoned.is_set():
            raise Unreadable("The file is larger than the archived one, or nobody waits for it any more.")
        return int(self._file.write(piece))


def _read(
    location: ArchiveLocation | UriLocation, max_bytes: int, roots: Sequence[str], abandoned: threading.Event
) -> BinaryIO:
    file = cast(BinaryIO, tempfile.TemporaryFile(prefix="kling-gallery-"))  # noqa: SIM115 - the caller closes it
    try:
        _fill(file, location, max_bytes, roots, abandoned)
        return file
    except BaseException:
        file.close()
        raise


def _fill(
    file: BinaryIO,
    location: ArchiveLocation | UriLocation,
    max_bytes: int,
    roots: Sequence[str],
    abandoned: threading.Event,
) -> None:
    target = cast(BinaryIO, _LimitedFile(file, max_bytes, abandoned))
    try:
        if not _copy(location, target, roots):
            raise Unreadable("The file is not in the storage.")
    except Unreadable:
        raise
    except Exception as error:  # each storage library has errors of its own
        # Only the class: the message may contain a signed URL.
        raise Unreadable(f"The storage failed ({type(error).__name__}).") from None


def _copy(location: ArchiveLocation | UriLocation, target: BinaryIO, roots: Sequence[str]) -> bool:
    if location.is_local:
        return _copy_local(location.path, target, roots)
    if isinstance(location, ArchiveLocation):
        destination, key, conn_id = Destination.parse(location.destination), location.key, location.conn_id
    elif location.uri.startswith("s3://"):
        place = Destination.parse(location.uri)
        destination, key, conn_id = replace(place, prefix=""), place.prefix, place.conn_id or AWS_CONN_ID
    else:
        with open_object(location.uri) as file:
            return _copy_pieces(file, target)
    store = open_store(destination.through(conn_id), aws_conn_id=conn_id, s3_config=_S3_TIMEOUTS)
    return store.download(key, target)


def _copy_local(path: str, target: BinaryIO, roots: Sequence[str]) -> bool:
    real = os.path.realpath(path)
    if not is_below(real, [os.path.realpath(root) for root in roots]):
        return False
    # Without O_NONBLOCK a pipe in the place of a file would block the thread for ever.
    with open(os.open(real, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW), "rb") as file:
        return stat.S_ISREG(os.fstat(file.fileno()).st_mode) and _copy_pieces(file, target)


def _copy_pieces(file: Any, target: BinaryIO) -> bool:
    while piece := file.read(_PIECE):
        target.write(piece)
    return True
