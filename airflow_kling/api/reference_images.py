"""Reads a reference image as a user gives it, checks it, and puts it into the form that the API takes.

The API accepts a too small image, makes the task, and fails it minutes later with "Image pixel is invalid". So all that
is not a remote URL is checked here, before anything is sent.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import hashlib
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

from airflow_kling.api.archived import ArchivedResult
from airflow_kling.api.redact import redact_url
from airflow_kling.api.reference_checks import (
    ACCEPTED,
    archived_result,
    check_archived,
    check_reference_literal,
    refuse,
    scheme_of,
    url_or_address,
)
from airflow_kling.api.route import IMAGE, ImageClass
from airflow_kling.exceptions import KlingInputError
from airflow_kling.media.image import BrokenImage, OverLimit, TooManyPixels, verify_image
from airflow_kling.media.kinds import HEAD_BYTES, JPEG, PNG, find_type, name_format
from airflow_kling.media.png import is_animated

OpenFile = Callable[[str], BinaryIO]
#: Makes a URL that anybody can read for a while: of an address, and how errors call the reference.
SignUrl = Callable[[str, str], str]


#: What the API takes, by content. Many phones write MPO: a JPEG with more pictures behind it.
TYPES: Final = (JPEG, PNG)
#: The API names no limit. It is Pillow's, which most readers share.
MAX_PIXELS: Final = 89_478_485


@dataclass(frozen=True)
class Reference:
    """A checked reference image.

    :param wire: what the request carries: the URL unchanged, a signed one, or raw base64 without a ``data:`` prefix.
    :param description: what manifest and lineage record, never a payload: ``name``, ``source`` (``url``, ``file``,
        ``archive``, ``bytes`` or ``base64``), ``uri`` (url without its query, file, and archive), and unless it is a
        remote URL ``sha256``, ``bytes``, ``width``, ``height``, ``content_type``. Of an archived result also
        ``kling_task_id``, ``kind`` and ``index``.
    """

    wire: str = dataclasses.field(repr=False)
    description: dict[str, Any]


_BASE64_OF_IMAGE = ("/9j/", "iVBORw0KGgo", "R0lGOD", "UklGR")  # JPEG, PNG, GIF, WebP: these are never meant as a path


@dataclass(frozen=True)
class _Field:
    """What is read: how errors call the image, its limits, which archived result it has to be, and how it is sent.

    :param make_url: None to send the image itself.
    """

    name: str
    limits: ImageClass
    archived: ArchivedResult | None = None
    make_url: Callable[[], str] | None = None


def load_reference(
    reference: object,
    *,
    name: str,
    limits: ImageClass = IMAGE,
    open_file: OpenFile | None = None,
    sign_url: SignUrl | None = None,
) -> Reference:
    """Check a reference image and turn it into what the API takes.

    :param reference: an http(s) URL, a local path, a path object (``pathlib.Path``, ``ObjectStoragePath``), an object
        storage URL such as ``s3://bucket/key``, bytes, raw base64, a ``data:`` URL, or the output of an archive task:
        its first image, or the one whose entry is given.
    :param name: how errors call this image, e.g. ``subject_images[1]``.
    :param limits: what the API takes in this field.
    :param open_file: opens a URL of another scheme than http(s) for reading.
    :param sign_url: given to send a URL in any case; the image is read and checked all the same.
    :raises KlingInputError: the image breaks a limit of the API, cannot be read, is not the one that was archived, or
        no URL can be made of it.
    """
    check_reference_literal(reference, name=name, as_url=sign_url is not None)
    make_url = sign_url and partial(sign_url, url_or_address(reference, name=name), name)
    field = _Field(name, limits, archived_result(reference, name=name), make_url)
    if field.archived:
        return _from_archive(field.archived.location, field, open_file)
    if isinstance(reference, (bytes, bytearray, memoryview)):
        return _checked(bytes(reference), field, source="bytes")
    if not isinstance(reference, str):
        return _from_path_object(reference, field)
    scheme = scheme_of(reference)
    if scheme in ("http", "https"):
        return Reference(reference, {"name": field.name, "source": "url", "uri": redact_url(reference)})
    if scheme == "data":
        return _from_base64(reference.partition(",")[2], field)
    if scheme:
        return _from_object_storage(reference, field, open_file)
    if os.path.exists(reference):
        return _from_local_file(reference, field)
    return _from_base64(reference, field)


def _from_archive(location: str, field: _Field, open_file: OpenFile | None) -> Reference:
    if scheme_of(location) == "file":
        return _from_local_file(location.removeprefix("file://"), field)
    return _from_object_storage(location, field, open_file)


def _from_path_object(path: object, field: _Field) -> Reference:
    if isinstance(path, Path) and not scheme_of(str(path)):  # Airflow 2.11's ObjectStoragePath is a Path too
        return _from_local_file(path, field)
    if hasattr(path, "open"):
        return _from_open(lambda: cast(BinaryIO, cast(Any, path).open("rb")), str(path), field)
    if hasattr(path, "read_bytes"):
        return _from_open(lambda: BytesIO(cast(Any, path).read_bytes()), str(path), field)
    if isinstance(path, os.PathLike):
        return _from_local_file(os.fsdecode(path), field)
    refuse(field.name, f"is a {type(path).__name__}; give {ACCEPTED}")


def _from_local_file(path: str | Path, field: _Field) -> Reference:
    uri = Path(path).absolute().as_uri()
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            refuse(
                field.name, f"is not a file but a {'directory' if stat.S_ISDIR(status.st_mode) else 'device'} ({uri})"
            )
        _check_size(status.st_size, field)
        with open(path, "rb") as file:
            data = _read_limited(file, field)
    except (OSError, ValueError) as error:
        if isinstance(error, KlingInputError):
            raise
        refuse(field.name, f"cannot be read from {uri[:200]}: {getattr(error, 'strerror', None) or error}")
    return _checked(data, field, source="file", uri=uri)


def _from_object_storage(url: str, field: _Field, open_file: OpenFile | None) -> Reference:
    if open_file is None:
        refuse(field.name, f"is an object storage URL ({redact_url(url)}), which cannot be opened here; give a path")
    return _from_open(lambda: open_file(url), url, field)


def _from_open(open_it: Callable[[], BinaryIO], location: str, field: _Field) -> Reference:
    uri = redact_url(location) if scheme_of(location) else Path(location).absolute().as_uri()
    try:
        with open_it() as file:
            data = _read_limited(file, field)
    except Exception as error:  # each storage library has errors of its own
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise KlingInputError(f"{field.name} cannot be read from {uri}: {reason}.") from error
    return _checked(data, field, source="file", uri=uri)


def _read_limited(file: BinaryIO, field: _Field) -> bytes:
    """Read one byte more than the limit at most; object stores may answer in pieces."""
    pieces, left = [], field.limits.max_bytes + 1
    while left and (piece := file.read(left)):
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


def _from_base64(text: str, field: _Field) -> Reference:
    if len(text) * 3 // 4 > field.limits.max_bytes * 1.1:  # 10 % for line breaks; the exact check follows on the bytes
        _check_size(len(text) * 3 // 4, field)
    compact = "".join(text.split())
    try:
        data = base64.b64decode(compact, validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if not data and compact.startswith(_BASE64_OF_IMAGE):
        refuse(field.name, f"is base64 of {len(compact)} characters that is cut off or damaged; encode the image again")
    if name_format(data[:HEAD_BYTES]) is None:
        shown = text if len(text) <= 120 and text.isprintable() else f"{len(text)} characters of text"
        refuse(field.name, f"({shown}) is neither an existing file, nor an http(s) URL, nor base64 of an image")
    return _checked(data, field, source="base64")


def _checked(data: bytes, field: _Field, **source: str) -> Reference:
    if not data:
        refuse(field.name, "is empty (0 bytes); give a JPEG or PNG image")
    _check_size(len(data), field)
    sha256 = hashlib.sha256(data).hexdigest()
    if (archived := field.archived) is not None:
        check_archived(archived, sha256, field.name)
        source = {"source": "archive", "uri": redact_url(archived.uri)}
    content_type, width, height = _verify(data, field)
    description: dict[str, Any] = {"name": field.name, **source, "sha256": sha256}
    description |= {"bytes": len(data), "width": width, "height": height, "content_type": content_type}
    description |= archived.described if archived else {}
    return Reference(field.make_url() if field.make_url else base64.b64encode(data).decode("ascii"), description)


def _check_size(size: int, field: _Field) -> None:
    limit = field.limits.max_bytes
    if size > limit:
        found = f"at least {size}" if size == limit + 1 else str(size)
        mb = limit // 2**20
        refuse(field.name, f"has {found} bytes, over the limit of {limit} ({mb} MB); scale or compress the image")


def _verify(data: bytes, field: _Field) -> tuple[str, int, int]:
    """Prove that the image is whole, but only after its header has passed all limits; see the room ``media``.

    :return: content type, width and height.
    """
    head = data[:HEAD_BYTES]
    file_type = find_type(head)
    if file_type is None or file_type not in TYPES:
        found = name_format(head)
        refuse(
            field.name,
            f"is a {found} image, only JPEG and PNG are accepted; convert the image"
            if found
            else "is not an image that can be read; give a JPEG or PNG",
        )
    if file_type is PNG and is_animated(BytesIO(data)):
        refuse(field.name, "is an animated PNG; save a single frame of it")
    try:
        width, height = verify_image(
            BytesIO(data), file_type, max_pixels=MAX_PIXELS, check_size=partial(_check_pixels, field)
        )
    except TooManyPixels:
        refuse(field.name, f"has more than {MAX_PIXELS} pixels; scale the image down")
    except OverLimit as error:
        refuse(field.name, f"{error}; open the image in an editor and save it again")
    except BrokenImage as error:
        raise KlingInputError(f"{field.name} is cut off or damaged ({error}); give a whole JPEG or PNG.") from error
    return file_type.content_type, width, height


def _check_pixels(field: _Field, width: int, height: int) -> None:
    limits = field.limits
    if min(width, height) < limits.min_side:
        least = f"under the limit of {limits.min_side} px a side"
        refuse(field.name, f"has {width}x{height} px, {least}; use a larger image")
    if limits.max_ratio is None:
        return
    long, short = limits.max_ratio
    if max(width, height) * short > min(width, height) * long:
        most = long / short
        refuse(field.name, f"has {width}x{height} px, outside the ratios 1:{most:g} to {most:g}:1; crop the image")
