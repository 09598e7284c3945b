"""Proves that a file is a whole JPEG, PNG or WebP image, in little memory whatever its size.

First the size in the header is compared with the limit, and only then the pixels are read:

- PNG: every chunk's checksum, and the pixel data inflated piece by piece and counted. Constant memory. ISA-L does it at
  twice the speed of zlib; inflating is most of what archiving costs.
- JPEG: decoded by Pillow to its last byte, at an eighth of its size: 3 bytes for 64 pixels.
- Progressive JPEG: libjpeg keeps all its coefficients, up to 6 bytes a pixel. WebP: Pillow has no smaller way than the
  file and 16 bytes a pixel (measured: 67 MiB for 2048x2048). So these two have a limit of their own.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import BinaryIO

from isal import isal_zlib

from airflow_kling.exceptions import KlingError
from airflow_kling.media.kinds import JPEG, PNG, WEBP, FileType

_PIECE = 64 * 1024
#: As large as Kling's largest images; a WebP of this size takes some 300 MiB for a moment.
_MAX_PIXELS_IN_MEMORY = 4096 * 4096
_JPEG_END = b"\xff\xd9"
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type, PNG specification 11.2.2
_PNG_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


class BrokenImage(Exception):
    """Why a file is not a whole image, as a clause after "it is not whole"."""


class TooManyPixels(BrokenImage):
    """The image has more pixels than the limit, as a clause after "the image"."""


def verify_image(file: BinaryIO, file_type: FileType, *, max_pixels: int) -> tuple[int, int]:
    """Check an image from the start of ``file`` to its end; see :func:`airflow_kling.media.probe.probe`.

    :return: width and height in pixels.
    :raises BrokenImage: it is cut off, damaged or too large.
    """
    if file_type is PNG:
        return _verify_png(file, max_pixels)
    if file_type is WEBP:
        _verify_riff_length(file)
    size = _verify_with_pillow(file, file_type, max_pixels)
    if file_type is JPEG:
        _verify_jpeg_end(file)
    return size


def _check_pixels(width: int, height: int, max_pixels: int) -> None:
    if not width or not height:
        raise BrokenImage("it has no pixels")
    if width * height > max_pixels:
        raise TooManyPixels(f"has {width}x{height} pixels, over the limit of {max_pixels}")


def _verify_with_pillow(file: BinaryIO, file_type: FileType, max_pixels: int) -> tuple[int, int]:
    from PIL import Image

    file.seek(0)
    try:
        with Image.open(file, formats=[file_type.pillow_format]) as image:
            width, height = image.size
            in_memory = file_type is WEBP or "progressive" in image.info
            _check_pixels(width, height, min(max_pixels, _MAX_PIXELS_IN_MEMORY) if in_memory else max_pixels)
            image.draft(None, (1, 1))  # only a JPEG can; asks for the smallest scale
            image.load()
    except (BrokenImage, KlingError):  # the latter from a file that is still being fetched
        raise
    except Image.DecompressionBombError as error:
        raise TooManyPixels(f"has too many pixels ({error})") from error
    except Exception as error:  # Pillow's readers raise nearly anything on damaged bytes
        raise BrokenImage(str(error)) from error
    return width, height


def _verify_jpeg_end(file: BinaryIO) -> None:
    """Look for the end marker, which never occurs within pixel data; libjpeg is content without it."""
    file.seek(max(0, file.seek(0, os.SEEK_END) - _PIECE))
    if _JPEG_END not in file.read(_PIECE):
        raise BrokenImage("its end marker is missing")


def _verify_riff_length(file: BinaryIO) -> None:
    file.seek(4)
    declared = 8 + int.from_bytes(file.read(4), "little")
    found = file.seek(0, os.SEEK_END)
    if found < declared:
        raise BrokenImage(f"it has {found} of {declared} bytes")


def _verify_png(file: BinaryIO, max_pixels: int) -> tuple[int, int]:
    file.seek(len(PNG.signature[0][1]))
    pixels: _PixelData | None = None
    width = height = 0
    while True:
        kind, length = _png_chunk_header(file)
        if (pixels is None) != (kind == b"IHDR"):
            raise BrokenImage("its header is missing or doubled")
        pieces = _png_chunk_data(file, kind, length)
        if kind == b"IHDR":
            header = b"".join(pieces) if length == 13 else b""
            width, height, expected = _png_header(header, max_pixels)
            pixels = _PixelData(expected)
            continue
        for piece in pieces:
            if kind == b"IDAT" and pixels is not None:
                pixels.feed(piece)
        if kind == b"IEND" and pixels is not None:
            pixels.finish()
            return width, height


def _png_chunk_header(file: BinaryIO) -> tuple[bytes, int]:
    head = file.read(8)
    if len(head) < 8:
        raise BrokenImage("it ends before its last chunk")
    length, kind = struct.unpack(">I4s", head)
    return kind, length


def _png_chunk_data(file: BinaryIO, kind: bytes, length: int) -> Iterator[bytes]:
    """Yield the data of a chunk piece by piece, and compare its checksum at the end."""
    checksum = isal_zlib.crc32(kind)
    while length:
        piece = file.read(min(length, _PIECE))
        if not piece:
            raise BrokenImage("it ends inside a chunk")
        length -= len(piece)
        checksum = isal_zlib.crc32(piece, checksum)
        yield piece
    if file.read(4) != checksum.to_bytes(4, "big"):
        raise BrokenImage("a checksum is wrong")


def _png_header(header: bytes, max_pixels: int) -> tuple[int, int, int]:
    """Read the 13 bytes of IHDR.

    :return: width, height, and how many bytes the inflated pixel data must have.
    """
    if len(header) != 13:
        raise BrokenImage("its header has the wrong length")
    width, height, depth, colour, compression, filtering, interlace = struct.unpack(">IIBBBBB", header)
    _check_pixels(width, height, max_pixels)
    if depth not in _PNG_DEPTHS.get(colour, ()) or compression or filtering or interlace > 1:
        raise BrokenImage("its header has impossible values")
    bits = depth * _PNG_CHANNELS[colour]
    if not interlace:
        return width, height, _scanline_bytes(width, height, bits)
    passes = ((-((x - width) // dx), -((y - height) // dy)) for x, y, dx, dy in _ADAM7)
    return width, height, sum(_scanline_bytes(columns, rows, bits) for columns, rows in passes)


def _scanline_bytes(columns: int, rows: int, bits_per_pixel: int) -> int:
    return rows * (1 + (columns * bits_per_pixel + 7) // 8) if columns > 0 and rows > 0 else 0


class _PixelData:
    """Inflates the pixel data of a PNG, and keeps nothing but its length."""

    def __init__(self, expected: int) -> None:
        self._missing = expected
        self._inflate = isal_zlib.decompressobj()

    def feed(self, piece: bytes) -> None:
        while piece and not self._inflate.eof:
            self._take(piece)
            piece = self._inflate.unconsumed_tail

    def finish(self) -> None:
        while not self._inflate.eof and self._take(self._inflate.unconsumed_tail):
            pass
        if self._missing or not self._inflate.eof:
            raise BrokenImage(f"{self._missing} bytes of pixel data are missing")

    def _take(self, piece: bytes) -> int:
        try:
            count = len(self._inflate.decompress(piece, _PIECE))
        except isal_zlib.error as error:  # type: ignore[misc]  # its stub has an instance here
            raise BrokenImage(f"its pixel data is damaged ({error})") from error
        self._missing -= count
        if self._missing < 0:
            raise BrokenImage("it has more pixel data than its header says")
        return count
