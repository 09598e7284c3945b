"""Tells what a file is by its content, and refuses one that is not whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

from airflow_kling.exceptions import KlingImageError
from airflow_kling.media.image import BrokenImage, OverLimit, verify_image
from airflow_kling.media.kinds import HEAD_BYTES, find_type


@dataclass(frozen=True)
class MediaInfo:
    """What a file is.

    :param content_type: by content, e.g. ``image/png``.
    :param extension: that goes with it: ``png``, ``jpg`` or ``webp``.
    :param width: pixels.
    :param height: pixels.
    """

    content_type: str
    extension: str
    width: int
    height: int


def probe(file: BinaryIO, *, url: str, max_pixels: int) -> MediaInfo:
    """Check a file from its start to its end.

    :param file: seekable; its position afterwards is undefined.
    :param url: where it came from, as errors show it.
    :param max_pixels: refuse an image of more pixels before anything of it is decoded.
    :raises KlingImageError: of no known type, cut off, damaged or over a limit; retryable unless over a limit.
    """
    file.seek(0)
    file_type = find_type(file.read(HEAD_BYTES))
    if file_type is None:
        raise KlingImageError(f"{url} did not answer with a JPEG, PNG or WebP image.", url=url, retryable=True)
    try:
        width, height = verify_image(file, file_type, max_pixels=max_pixels)
    except OverLimit as error:
        raise KlingImageError(f"The image from {url} {error}.", url=url, retryable=False) from None
    except BrokenImage as error:
        raise KlingImageError(f"The image from {url} is not whole: {error}.", url=url, retryable=True) from error
    return MediaInfo(file_type.content_type, file_type.extension, width, height)
