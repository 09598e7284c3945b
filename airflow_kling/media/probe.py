"""Tells what a file is by its content, and refuses one that is not whole."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import BinaryIO

from airflow_kling.exceptions import KlingImageError
from airflow_kling.media.errors import BrokenMedia, OverLimit
from airflow_kling.media.image import verify_image
from airflow_kling.media.kinds import EXTENSIONS, HEAD_BYTES, FileType, find_type
from airflow_kling.media.video import verify_video

_EXPECTED = {"image": "a JPEG, PNG or WebP image", "video": "an MP4 video"}


@dataclass(frozen=True)
class MediaInfo:
    """What a file is.

    :param content_type: by content, e.g. ``image/png``.
    :param extension: that goes with it: ``png``, ``jpg``, ``webp`` or ``mp4``.
    :param width: pixels.
    :param height: pixels.
    :param duration: seconds; None of an image.
    :param codec: of a video's pictures, as the file names it, e.g. ``avc1``; None of an image.
    """

    content_type: str
    extension: str
    width: int
    height: int
    duration: float | None = None
    codec: str | None = None


def probe(
    file: BinaryIO, *, url: str, max_pixels: int, kind: str = "image", max_seconds: float = math.inf
) -> MediaInfo:
    """Check a file from its start to its end.

    :param file: seekable; its position afterwards is undefined.
    :param url: where it came from, as errors show it.
    :param max_pixels: refuse an image, or a video whose frames have more, before anything of it is decoded.
    :param kind: what it should be: ``image`` or ``video``; nothing else can be verified.
    :param max_seconds: refuse a longer video.
    :raises KlingImageError: of no known type, cut off, damaged or over a limit; retryable unless over a limit.
    """
    if kind not in EXTENSIONS:
        message = f"What came from {url} is not verified: its kind is {kind}, and only images and videos are."
        raise KlingImageError(message, url=url, retryable=False)
    file.seek(0)
    file_type = find_type(file.read(HEAD_BYTES))
    if file_type is None or file_type.kind != kind:
        raise KlingImageError(f"{url} did not answer with {_EXPECTED[kind]}.", url=url, retryable=True)
    try:
        return _verify(file, file_type, max_pixels, max_seconds)
    except OverLimit as error:
        raise KlingImageError(f"The {kind} from {url} {error}.", url=url, retryable=False) from None
    except BrokenMedia as error:
        raise KlingImageError(f"The {kind} from {url} is not whole: {error}.", url=url, retryable=True) from error


def _verify(file: BinaryIO, file_type: FileType, max_pixels: int, max_seconds: float) -> MediaInfo:
    if file_type.kind == "image":
        width, height = verify_image(file, file_type, max_pixels=max_pixels)
        return MediaInfo(file_type.content_type, file_type.extension, width, height)
    video = verify_video(file, max_pixels=max_pixels, max_seconds=max_seconds)
    return MediaInfo(file_type.content_type, file_type.extension, video.width, video.height, video.seconds, video.codec)
