"""Turns a reference video as a user gives it into a URL, which is all that Kling takes as a video [C].

A video in object storage is read once, piece by piece, to see that it is what was meant and fits, and its header once
more for its seconds and sides; then its URL is signed. A video on the web is sent as it is, unread, so how long it
plays is not known here.
"""

from __future__ import annotations

import hashlib
from typing import Any, BinaryIO

from airflow_kling.api.redact import redact_url
from airflow_kling.api.reference_checks import (
    archived_result,
    check_archived,
    check_reference_literal,
    refuse,
    scheme_of,
    url_or_address,
)
from airflow_kling.api.reference_images import OpenFile, Reference, SignUrl
from airflow_kling.api.route import VideoClass
from airflow_kling.exceptions import KlingInputError
from airflow_kling.media.errors import BrokenMedia
from airflow_kling.media.video import describe_video

_PIECE = 1024 * 1024
# An MP4 and a QuickTime file begin with a box of this type; its brand tells them apart.
_BOX = b"ftyp"
_QUICKTIME = b"qt  "


def load_video(
    reference: object, *, name: str, limits: VideoClass, open_file: OpenFile | None, sign_url: SignUrl | None
) -> Reference:
    """Check a reference video and turn it into a URL.

    :param reference: an http(s) URL, the address of an object, a path object of a storage, or the output of an archive
        task: its first video, or the one whose entry is given.
    :param name: how errors call it.
    :param limits: what the API takes in this field.
    :param open_file: opens an object for reading.
    :param sign_url: makes the URL of an object.
    :raises KlingInputError: no URL can be made of it, it breaks a limit, cannot be read, or is not what was archived.
    """
    check_reference_literal(reference, name=name, video=True)
    address = url_or_address(reference, name=name, video=True)
    if scheme_of(address) in ("http", "https"):
        return Reference(address, {"name": name, "source": "url", "uri": redact_url(address)})
    if open_file is None or sign_url is None:
        refuse(name, f"is an object storage URL ({redact_url(address)}), which cannot be signed here; give a URL")
    archived = archived_result(reference, name=name, video=True)
    try:
        with open_file(address) as file:
            described = _read(file, name, limits)
    except KlingInputError:
        raise
    except Exception as error:  # each storage library has errors of its own
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise KlingInputError(f"{name} cannot be read from {redact_url(address)}: {reason}.") from error
    source = {"name": name, "source": "archive" if archived else "file", "uri": redact_url(address)}
    if archived:
        check_archived(archived, described["sha256"], name)
    return Reference(sign_url(address, name), {**source, **described, **(archived.described if archived else {})})


def _read(file: BinaryIO, name: str, limits: VideoClass) -> dict[str, Any]:
    """Read a video once, in constant memory, up to its limit of bytes."""
    digest, size, head = hashlib.sha256(), 0, b""
    while piece := file.read(_PIECE):
        digest.update(piece)
        size += len(piece)
        head = head or piece[:12]
        if size > limits.max_bytes:
            mb = limits.max_bytes // 2**20
            refuse(
                name, f"has more bytes than the limit of {limits.max_bytes} ({mb} MB); shorten or compress the video"
            )
    content_type = _content_type(head)
    if content_type not in limits.formats:
        found = "is empty (0 bytes)" if not size else f"is a {content_type}" if content_type else "is no video"
        refuse(name, f"{found}; give one of {', '.join(limits.formats)}")
    return {"sha256": digest.hexdigest(), "bytes": size, "content_type": content_type, **_dimensions(file)}


def _dimensions(file: BinaryIO) -> dict[str, Any]:
    """Return what the model's limits are about; nothing where the header is of a form that is not read here."""
    if not file.seekable():
        return {}
    try:
        video = describe_video(file)
    except BrokenMedia:
        return {}
    return {"width": video.width, "height": video.height, "duration": round(video.seconds, 3)}


def _content_type(head: bytes) -> str | None:
    if head[4:8] != _BOX:
        return None
    return "video/quicktime" if head[8:12] == _QUICKTIME else "video/mp4"
