"""Proves that a WebP is whole: reads its chunks, then decodes its first frame where that takes little memory.

Pillow decodes every WebP as an animation, on a canvas that a header of 30 bytes can make as large as it likes. So the
frame is taken out of its container, and its own header says how large it is.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import BinaryIO, Final

from airflow_kling.media.decode import MAX_MEMORY, decode
from airflow_kling.media.errors import BrokenImage, OverLimit

MAX_CHUNKS: Final = 10_000
_BYTES_A_PIXEL: Final = 16  # measured: two canvases, what they are copied to, and Pillow's own image
_ALPHA = 0x10  # flag of the extended header
_FRAME_HEADER = 16  # bytes of ANMF before the chunks of the frame

#: Kind, start and length of a chunk's data.
_Chunk = tuple[bytes, int, int]


def verify_webp(file: BinaryIO, check_size: Callable[[int, int], None]) -> tuple[int, int]:
    """Check a WebP from its start to the end of its container; of an animation, the pixels of the first frame.

    :return: width and height of the canvas in pixels.
    :raises BrokenImage: it is cut off, damaged or over a limit.
    """
    chunks = list(_chunks(file, 12, _container_end(file)))
    canvas = next((_canvas(file, chunk) for chunk in chunks if chunk[0] == b"VP8X"), None)
    if canvas:
        check_size(*canvas)
    bitstream, alpha = _first_frame(file, chunks)
    frame = _frame_size(file, bitstream)
    check_size(*frame)
    if canvas and (frame[0] > canvas[0] or frame[1] > canvas[1]):
        raise BrokenImage("its frame is larger than its canvas")
    size = bitstream[2] + (alpha[2] if alpha else 0)
    memory = 2 * size + frame[0] * frame[1] * _BYTES_A_PIXEL
    if memory <= MAX_MEMORY:
        decode(_still(file, frame, bitstream, alpha), "WEBP", memory=memory, shrink=False)
    return canvas or frame


def _container_end(file: BinaryIO) -> int:
    head = _read(file, 4, 4)
    end = 8 + int.from_bytes(head, "little")
    found = file.seek(0, os.SEEK_END)
    if found + 1 < end:  # the last byte only pads, and some writers leave it out
        raise BrokenImage(f"it has {found} of {end} bytes")
    return min(end, found)


def _chunks(file: BinaryIO, position: int, end: int) -> Iterator[_Chunk]:
    for _ in range(MAX_CHUNKS):
        if position + 8 > end:
            return
        kind, length = struct.unpack("<4sI", _read(file, position, 8))
        if position + 8 + length > end:
            raise BrokenImage("it ends inside a chunk")
        yield kind, position + 8, length
        position += 8 + length + length % 2
    raise OverLimit(f"has more than {MAX_CHUNKS} chunks, which is the limit")


def _canvas(file: BinaryIO, chunk: _Chunk) -> tuple[int, int]:
    data = _read(file, chunk[1], 10) if chunk[2] >= 10 else b""
    if not data:
        raise BrokenImage("its header has the wrong length")
    return 1 + int.from_bytes(data[4:7], "little"), 1 + int.from_bytes(data[7:10], "little")


def _first_frame(file: BinaryIO, chunks: list[_Chunk]) -> tuple[_Chunk, _Chunk | None]:
    """Return the chunks of the first frame's pixels, and of its transparency where that has one of its own."""
    for kind, start, length in chunks:
        if kind == b"ANMF":
            chunks = list(_chunks(file, start + _FRAME_HEADER, start + length))
            break
    alpha = None
    for chunk in chunks:
        if chunk[0] == b"ALPH":
            alpha = chunk
        if chunk[0] in (b"VP8 ", b"VP8L"):
            return chunk, alpha if chunk[0] == b"VP8 " else None
    raise BrokenImage("it has no pixel data")


def _frame_size(file: BinaryIO, chunk: _Chunk) -> tuple[int, int]:
    kind, start, length = chunk
    if kind == b"VP8L" and length >= 5 and (head := _read(file, start, 5))[0] == 0x2F:
        bits = int.from_bytes(head[1:], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 " and length >= 10 and (head := _read(file, start, 10))[3:6] == b"\x9d\x01\x2a":
        width, height = struct.unpack("<HH", head[6:])
        return width & 0x3FFF, height & 0x3FFF
    raise BrokenImage("its pixel data has no header")


def _still(file: BinaryIO, size: tuple[int, int], bitstream: _Chunk, alpha: _Chunk | None) -> BinaryIO:
    """Put the frame into a container of its own."""
    still = BytesIO()
    still.write(b"RIFF\0\0\0\0WEBP")
    if alpha:
        width, height = ((side - 1).to_bytes(3, "little") for side in size)
        _write_chunk(still, b"VP8X", bytes([_ALPHA, 0, 0, 0]) + width + height)
        _write_chunk(still, b"ALPH", _read(file, alpha[1], alpha[2]))
    _write_chunk(still, bitstream[0], _read(file, bitstream[1], bitstream[2]))
    length = still.tell() - 8
    still.seek(4)
    still.write(length.to_bytes(4, "little"))
    still.seek(0)
    return still


def _write_chunk(target: BinaryIO, kind: bytes, data: bytes) -> None:
    target.write(kind + len(data).to_bytes(4, "little"))
    target.write(data)
    target.write(b"\0" * (len(data) % 2))


def _read(file: BinaryIO, position: int, size: int) -> bytes:
    file.seek(position)
    data = file.read(size)
    if len(data) < size:
        raise BrokenImage("it ends inside a chunk")
    return data
