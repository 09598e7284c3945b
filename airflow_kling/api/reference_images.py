"""A reference image as a user gives it -> a checked image in the form that the API takes.

The API accepts a too small image, makes the task, and fails it minutes later with "Image pixel is invalid". So all that
is not a remote URL is checked here, before anything is sent.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import stat
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, cast

from airflow_kling.api.redact import redact_url
from airflow_kling.api.reference_checks import ACCEPTED, check_reference_literal, refuse, scheme_of
from airflow_kling.exceptions import KlingInputError

if TYPE_CHECKING:
    from PIL import Image

OpenFile = Callable[[str], BinaryIO]


class Limits:
    """What the API takes as an image (its documentation of multi-image-to-image, "Images").

    The documentation says "10MB" without saying which; the larger reading is taken, so that no image is refused here
    that the API would take.
    """

    MAX_BYTES: Final = 10 * 1024 * 1024
    MIN_SIDE_PX: Final = 300
    #: The long side is at most 5/2 of the short one: "between 1:2.5 and 2.5:1".
    MAX_RATIO: Final = (5, 2)
    #: By content, as Pillow names formats. MPO is a JPEG with further pictures behind it, as many phones write it.
    FORMATS: Final = {"JPEG": "image/jpeg", "MPO": "image/jpeg", "PNG": "image/png"}


@dataclass(frozen=True)
class Reference:
    """A checked reference image.

    :param wire: what the request carries: the URL unchanged, or raw base64 without a ``data:`` prefix.
    :param description: what manifest and lineage record, never a payload: ``name``, ``source`` (``url``, ``file``,
        ``bytes`` or ``base64``), ``uri`` (url without its query, and file), and unless it is a remote URL ``sha256``,
        ``bytes``, ``width``, ``height``, ``content_type``.
    """

    wire: str = field(repr=False)
    description: dict[str, Any]


_BASE64_OF_IMAGE = ("/9j/", "iVBORw0KGgo", "R0lGOD", "UklGR")  # JPEG, PNG, GIF, WebP: these are never meant as a path


def load_reference(reference: object, *, name: str, open_file: OpenFile | None = None) -> Reference:
    """Check a reference image and turn it into what the API takes.

    :param reference: an http(s) URL, a local path, a path object (``pathlib.Path``, ``ObjectStoragePath``), an object
        storage URL such as ``s3://bucket/key``, bytes, raw base64, or a ``data:`` URL.
    :param name: how errors call this image, e.g. ``subject_images[1]``.
    :param open_file: opens a URL of another scheme than http(s) for reading.
    :raises KlingInputError: the image breaks a limit of the API, or cannot be read.
    """
    check_reference_literal(reference, name=name)
    if isinstance(reference, (bytes, bytearray, memoryview)):
        return _checked(bytes(reference), name, source="bytes")
    if not isinstance(reference, str):
        return _from_path_object(reference, name)
    scheme = scheme_of(reference)
    if scheme in ("http", "https"):
        return Reference(reference, {"name": name, "source": "url", "uri": redact_url(reference)})
    if scheme == "data":
        return _from_base64(reference.partition(",")[2], name)
    if scheme:
        return _from_object_storage(reference, name, open_file)
    if os.path.exists(reference):
        return _from_local_file(reference, name)
    return _from_base64(reference, name)


def _from_path_object(path: object, name: str) -> Reference:
    if isinstance(path, Path) and not scheme_of(str(path)):  # Airflow 2.11's ObjectStoragePath is a Path too
        return _from_local_file(path, name)
    if hasattr(path, "open"):
        return _from_open(lambda: cast(BinaryIO, cast(Any, path).open("rb")), str(path), name)
    if hasattr(path, "read_bytes"):
        return _from_open(lambda: BytesIO(cast(Any, path).read_bytes()), str(path), name)
    if isinstance(path, os.PathLike):
        return _from_local_file(os.fsdecode(path), name)
    refuse(name, f"is a {type(path).__name__}; give {ACCEPTED}")


def _from_local_file(path: str | Path, name: str) -> Reference:
    uri = Path(path).absolute().as_uri()
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            refuse(name, f"is not a file but a {'directory' if stat.S_ISDIR(status.st_mode) else 'device'} ({uri})")
        _check_size(status.st_size, name)
        with open(path, "rb") as file:
            data = _read_limited(file)
    except (OSError, ValueError) as error:
        if isinstance(error, KlingInputError):
            raise
        refuse(name, f"cannot be read from {uri[:200]}: {getattr(error, 'strerror', None) or error}")
    return _checked(data, name, source="file", uri=uri)


def _from_object_storage(url: str, name: str, open_file: OpenFile | None) -> Reference:
    if open_file is None:
        refuse(name, f"is an object storage URL ({redact_url(url)}), which cannot be opened here; give a path")
    return _from_open(lambda: open_file(url), url, name)


def _from_open(open_it: Callable[[], BinaryIO], location: str, name: str) -> Reference:
    uri = redact_url(location) if scheme_of(location) else Path(location).absolute().as_uri()
    try:
        with open_it() as file:
            data = _read_limited(file)
    except Exception as error:  # each storage library has errors of its own
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise KlingInputError(f"{name} cannot be read from {uri}: {reason}.") from error
    return _checked(data, name, source="file", uri=uri)


def _read_limited(file: BinaryIO) -> bytes:
    """Read one byte more than the limit at most; object stores may answer in pieces."""
    pieces, left = [], Limits.MAX_BYTES + 1
    while left and (piece := file.read(left)):
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


def _from_base64(text: str, name: str) -> Reference:
    if len(text) * 3 // 4 > Limits.MAX_BYTES * 1.1:  # 10 % for line breaks; the exact check follows on the bytes
        _check_size(len(text) * 3 // 4, name)
    compact = "".join(text.split())
    try:
        data = base64.b64decode(compact, validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if not data and compact.startswith(_BASE64_OF_IMAGE):
        refuse(name, f"is base64 of {len(compact)} characters that is cut off or damaged; encode the image again")
    if not data or not _looks_like_image(data):
        shown = text if len(text) <= 120 and text.isprintable() else f"{len(text)} characters of text"
        refuse(name, f"({shown}) is neither an existing file, nor an http(s) URL, nor base64 of an image")
    return _checked(data, name, source="base64")


def _looks_like_image(data: bytes) -> bool:
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            Image.open(BytesIO(data)).close()
    except Image.DecompressionBombError:
        return True
    except Exception:  # a damaged JPEG or PNG gets the error that says so, other bytes are no image at all
        return data.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"))
    return True


def _checked(data: bytes, name: str, **source: str) -> Reference:
    if not data:
        refuse(name, "is empty (0 bytes); give a JPEG or PNG image")
    _check_size(len(data), name)
    content_type, width, height = _decode(data, name)
    description: dict[str, Any] = {"name": name, **source, "sha256": hashlib.sha256(data).hexdigest()}
    description |= {"bytes": len(data), "width": width, "height": height, "content_type": content_type}
    return Reference(base64.b64encode(data).decode("ascii"), description)


def _check_size(size: int, name: str) -> None:
    if size > Limits.MAX_BYTES:
        found = f"at least {size}" if size == Limits.MAX_BYTES + 1 else str(size)
        refuse(name, f"has {found} bytes, over the limit of {Limits.MAX_BYTES} (10 MB); scale or compress the image")


def _decode(data: bytes, name: str) -> tuple[str, int, int]:
    """Decode the whole image, but only after its header has passed all limits.

    :return: content type, width and height.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(BytesIO(data)) as image:
                _check_header(image, name)
                content_type, (width, height) = Limits.FORMATS[image.format or ""], image.size
                image.draft(None, (1, 1))  # a JPEG is read to its end, at an eighth of its size
                image.load()
            with Image.open(BytesIO(data)) as image:
                image.verify()  # load() does not look at the checksums of a PNG
    except KlingInputError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        refuse(name, f"has more than {Image.MAX_IMAGE_PIXELS} pixels; scale the image down")
    except UnidentifiedImageError:
        refuse(name, "is not an image that can be read; give a JPEG or PNG")
    except Exception as error:  # Pillow's readers raise nearly anything on damaged bytes
        raise KlingInputError(f"{name} is cut off or damaged ({error}); give a whole JPEG or PNG.") from error
    return content_type, width, height


def _check_header(image: Image.Image, name: str) -> None:
    width, height = image.size
    if image.format not in Limits.FORMATS:
        refuse(name, f"is a {image.format} image, only JPEG and PNG are accepted; convert the image")
    if image.format == "PNG" and getattr(image, "is_animated", False):
        refuse(name, "is an animated PNG; save a single frame of it")
    if min(width, height) < Limits.MIN_SIDE_PX:
        refuse(name, f"has {width}x{height} px, under the limit of {Limits.MIN_SIDE_PX} px a side; use a larger image")
    long, short = Limits.MAX_RATIO
    if max(width, height) * short > min(width, height) * long:
        refuse(name, f"has {width}x{height} px, outside the ratios 1:2.5 to 2.5:1; crop the image")
