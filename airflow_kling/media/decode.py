"""Decodes an image with Pillow within a bound of memory, large ones one at a time."""

from __future__ import annotations

import threading
from contextlib import nullcontext
from typing import BinaryIO, Final

from airflow_kling.exceptions import KlingError
from airflow_kling.media.errors import BrokenImage

#: Bytes that the decoding of one image may take; what would take more is not decoded.
MAX_MEMORY: Final = 112 * 1024 * 1024
_LARGE = 16 * 1024 * 1024
#: Held by whatever decodes something large.
one_at_a_time = threading.Lock()


def decode(file: BinaryIO, pillow_format: str, *, memory: int, shrink: bool = True) -> None:
    """Read all pixels, and keep none.

    :param file: seekable; at its start.
    :param memory: bytes that this takes, by the structure of the file.
    :param shrink: decode a JPEG at an eighth of its size, which reads it to its end all the same.
    :raises BrokenImage: the pixels cannot be read.
    """
    from PIL import Image

    with one_at_a_time if memory > _LARGE else nullcontext():
        try:
            with Image.open(file, formats=[pillow_format]) as image:
                if shrink:
                    image.draft(None, (1, 1))
                image.load()
        except KlingError:  # from a file that is still being fetched
            raise
        except Exception as error:  # Pillow's readers raise nearly anything on damaged bytes
            raise BrokenImage(str(error) or type(error).__name__) from error
