"""Proves that a file is a whole JPEG, PNG or WebP image, in little memory and time whatever it holds.

What browsers and the usual libraries show is taken. The structure of the file is read first, in constant memory:
sizes, segments, scans, frames. Only what is within the limits is decoded, and only where decoding is cheap; elsewhere
the structure is the proof. Large images are decoded one at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO

from airflow_kling.media.errors import BrokenImage, OverLimit, TooManyPixels
from airflow_kling.media.jpeg import verify_jpeg
from airflow_kling.media.kinds import JPEG, PNG, FileType
from airflow_kling.media.png import verify_png
from airflow_kling.media.webp import verify_webp

__all__ = ["BrokenImage", "OverLimit", "TooManyPixels", "verify_image"]

CheckSize = Callable[[int, int], None]


def verify_image(
    file: BinaryIO, file_type: FileType, *, max_pixels: int, check_size: CheckSize | None = None
) -> tuple[int, int]:
    """Check an image from the start of ``file`` to its end; see :func:`airflow_kling.media.probe.probe`.

    :param check_size: called with width and height as soon as they are known; its errors pass.
    :return: width and height in pixels.
    :raises BrokenImage: it is cut off or damaged.
    :raises OverLimit: it is over a limit.
    """

    def check(width: int, height: int) -> None:
        if not width or not height:
            raise BrokenImage("it has no pixels")
        if width * height > max_pixels:
            raise TooManyPixels(f"has {width}x{height} pixels, over the limit of {max_pixels}")
        if check_size is not None:
            check_size(width, height)

    if file_type is PNG:
        return verify_png(file, check)
    if file_type is JPEG:
        return verify_jpeg(file, check)
    return verify_webp(file, check)
