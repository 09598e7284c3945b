"""Verifies and scales images in a process of its own, which :mod:`.image_pool` starts, and kills if need be.

An image comes as an open file with a small question in JSON; the answer is its kind (a letter), its length and itself.
The process has no settings, no connection and no database: of Airflow it imports nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import sys
from typing import BinaryIO

from PIL import Image

from airflow_kling.exceptions import KlingImageError
from airflow_kling.media.probe import probe
from airflow_kling.plugins.gallery import thumbnails

READY, DONE, REFUSED, LARGE = b"R", b"D", b"N", b"L"
HEAD = struct.Struct(">cI")
#: Pixels from which on an image is large: only one is decoded at a time.
LARGE_PIXELS = 2048 * 2048
_MAX_QUESTION = 4096


def main(descriptor: str, memory: str) -> None:
    """Answer questions until the other end of the socket is closed.

    :param descriptor: of the socket.
    :param memory: limit of the process's data, in bytes.
    """
    _limit(int(memory))
    with socket.socket(fileno=int(descriptor)) as parent:
        parent.sendall(HEAD.pack(READY, 0))
        while True:
            question, descriptors, *_ = socket.recv_fds(parent, _MAX_QUESTION, 1)
            if not question:
                return
            with open(descriptors[0], "rb") as file:
                kind, content = answer(file, **json.loads(question))
            parent.sendall(HEAD.pack(kind, len(content)) + content)


def answer(file: BinaryIO, *, size: str, max_pixels: int, may_be_large: bool) -> tuple[bytes, bytes]:
    """Verify an image, and scale it down.

    :param size: ``thumb`` or ``large``; ``original`` only verifies it.
    :param max_pixels: one of more is refused.
    :param may_be_large: False answers :data:`LARGE` in place of decoding one of more than :data:`LARGE_PIXELS`.
    :return: :data:`DONE` with the WebP, or with content type and extension in JSON; :data:`REFUSED` with a sentence.
    """
    try:
        if not may_be_large and _pixels(file) > LARGE_PIXELS:
            return LARGE, b""
        info = probe(file, url="storage://image", max_pixels=max_pixels)
        if size not in thumbnails.SIDES:
            return DONE, json.dumps([info.content_type, info.extension]).encode()
        file.seek(0)
        return DONE, thumbnails.render(file, size)  # type: ignore[arg-type]
    except KlingImageError:
        return REFUSED, b"The file is not a whole image, or has too many pixels."
    except MemoryError:
        return REFUSED, b"The image needs more memory than the gallery gives to one."
    except Exception:  # Pillow raises nearly anything on odd metadata, which a whole image may have
        return REFUSED, b"The image cannot be scaled down; its original can be downloaded."


def _pixels(file: BinaryIO) -> int:
    """Return what the header says; 0 where it cannot be read, which the verification then refuses."""
    file.seek(0)
    try:
        with Image.open(file, formats=["PNG", "JPEG", "WEBP"]) as image:
            return image.width * image.height
    except MemoryError:
        raise
    except Image.DecompressionBombError:
        return LARGE_PIXELS + 1
    except Exception:
        return 0


def _limit(memory: int) -> None:
    with contextlib.suppress(Exception):  # not every system has it
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError, AttributeError):
        os.nice(5)  # Airflow's own requests come first


if __name__ == "__main__":
    main(*sys.argv[1:])
