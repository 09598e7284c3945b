"""Proves that a PNG is whole: reads every chunk, and inflates and counts the pixel data piece by piece.

That takes constant memory, whatever the size and however the rows are interlaced. ISA-L does it at twice the speed of
zlib; inflating is most of what archiving costs.

As libpng, it shrugs at a wrong checksum of a chunk that the pixels do not need, at more pixel data than the header
says, and at the checksum of the pixel data, whose bytes the checksums of the chunks prove.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import BinaryIO, Final

from isal import isal_zlib

from airflow_kling.media.errors import BrokenImage, OverLimit
from airflow_kling.media.kinds import PNG

#: Encoders put 8 kB or more of pixels into a chunk.
MAX_CHUNKS: Final = 100_000

_PIECE = 64 * 1024
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type, PNG specification 11.2.2
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_RAW = -15  # inflate without the header and the checksum of zlib


def verify_png(file: BinaryIO, check_size: Callable[[int, int], None]) -> tuple[int, int]:
    """Check a PNG from its start to its last chunk; what follows that belongs to nobody.

    :param file: is read strictly forward, once.
    :return: width and height in pixels.
    :raises BrokenImage: it is cut off, damaged or over a limit.
    """
    file.seek(len(PNG.signature[0][1]))
    pixels: _PixelData | None = None
    width = height = 0
    for _ in range(MAX_CHUNKS):
        kind, length = _chunk_header(file)
        if (pixels is None) != (kind == b"IHDR"):
            raise BrokenImage("its header is missing or doubled")
        pieces = _chunk_data(file, kind, length)
        if kind == b"IHDR":
            width, height, expected = _read_header(b"".join(pieces) if length == 13 else b"", check_size)
            pixels = _PixelData(expected)
            continue
        for piece in pieces:
            if kind == b"IDAT" and pixels is not None:
                pixels.feed(piece)
        if kind == b"IEND" and pixels is not None:
            pixels.finish()
            return width, height
    raise OverLimit(f"has more than {MAX_CHUNKS} chunks, which is the limit")


def is_animated(file: BinaryIO) -> bool:
    """Tell whether a PNG has more than one frame; it stops at the pixel data."""
    position = len(PNG.signature[0][1])
    for _ in range(MAX_CHUNKS):
        file.seek(position)
        head = file.read(12)
        if len(head) < 12 or head[4:8] == b"IDAT":
            return False
        if head[4:8] == b"acTL":
            return int.from_bytes(head[8:], "big") > 1
        position += 12 + int.from_bytes(head[:4], "big")
    return False


def _chunk_header(file: BinaryIO) -> tuple[bytes, int]:
    head = file.read(8)
    if len(head) < 8:
        raise BrokenImage("it ends before its last chunk")
    length, kind = struct.unpack(">I4s", head)
    return kind, length


def _chunk_data(file: BinaryIO, kind: bytes, length: int) -> Iterator[bytes]:
    """Yield the data of a chunk piece by piece, and compare its checksum at the end."""
    checksum = isal_zlib.crc32(kind)
    while length:
        piece = file.read(min(length, _PIECE))
        if not piece:
            raise BrokenImage("it ends inside a chunk")
        length -= len(piece)
        checksum = isal_zlib.crc32(piece, checksum)
        yield piece
    found = file.read(4)
    if len(found) < 4:
        raise BrokenImage("it ends inside a chunk")
    if found != checksum.to_bytes(4, "big") and _is_critical(kind):
        raise BrokenImage("a checksum is wrong")


def _is_critical(kind: bytes) -> bool:
    return not kind[0] & 0x20  # a capital letter, PNG specification 5.4


def _read_header(header: bytes, check_size: Callable[[int, int], None]) -> tuple[int, int, int]:
    """Read the 13 bytes of IHDR.

    :return: width, height, and how many bytes the inflated pixel data must have.
    """
    if len(header) != 13:
        raise BrokenImage("its header has the wrong length")
    width, height, depth, colour, compression, filtering, interlace = struct.unpack(">IIBBBBB", header)
    check_size(width, height)
    if depth not in _DEPTHS.get(colour, ()) or compression or filtering or interlace > 1:
        raise BrokenImage("its header has impossible values")
    bits = depth * _CHANNELS[colour]
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
        self._header = b""
        self._inflate = isal_zlib.decompressobj(_RAW)

    def feed(self, piece: bytes) -> None:
        if len(self._header) < 2:
            wanted = 2 - len(self._header)
            self._header, piece = self._header + piece[:wanted], piece[wanted:]
            if len(self._header) == 2 and not _is_zlib(self._header):
                raise BrokenImage("its pixel data is damaged (no zlib header)")
        while piece and self._wants:
            self._take(piece)
            piece = self._inflate.unconsumed_tail

    def finish(self) -> None:
        while self._wants and self._take(self._inflate.unconsumed_tail):
            pass
        if self._missing:
            raise BrokenImage(f"{self._missing} bytes of pixel data are missing")

    @property
    def _wants(self) -> bool:
        return self._missing > 0 and not self._inflate.eof

    def _take(self, piece: bytes) -> int:
        try:
            count = len(self._inflate.decompress(piece, min(_PIECE, self._missing)))
        except isal_zlib.error as error:  # type: ignore[misc]  # its stub has an instance here
            raise BrokenImage(f"its pixel data is damaged ({error})") from error
        self._missing -= count
        return count


def _is_zlib(header: bytes) -> bool:
    """Tell whether two bytes are the header of a zlib stream without a dictionary, RFC 1950."""
    return header[0] & 15 == 8 and not header[1] & 0x20 and int.from_bytes(header, "big") % 31 == 0
