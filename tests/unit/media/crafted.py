"""Images that no ordinary encoder writes: put together byte by byte."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from itertools import chain

from PIL import Image

# --- PNG ---------------------------------------------------------------------------------------------------------

END = b"\0\0\0\0IEND\xaeB`\x82"


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(*chunks: bytes) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def header(width=2, height=2, depth=8, colour=2, compression=0, filtering=0, interlace=0) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, compression, filtering, interlace))


# --- JPEG --------------------------------------------------------------------------------------------------------

TABLE_OF_ONES = bytes([16] * 64)


def segment(marker: int, data: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


def huffman(table: int, symbol: int) -> bytes:
    """A table with one code, the bit 0."""
    return segment(0xC4, bytes([table, 1, *[0] * 15, symbol]))


def frame(width: int, height: int, *, marker: int = 0xC0, components: int = 3, precision: int = 8) -> bytes:
    listed = bytes(chain.from_iterable((number, 0x11, 0) for number in range(1, components + 1)))
    return segment(marker, struct.pack(">BHHB", precision, height, width, components) + listed)


def scan(components: tuple[int, ...], data: bytes, *, spectrum: tuple[int, int] = (0, 63), low: int = 0) -> bytes:
    listed = bytes(chain.from_iterable((number, 0) for number in components))
    return segment(0xDA, bytes([len(components)]) + listed + bytes([*spectrum, low])) + data


def _blocks(width: int, height: int) -> int:
    return -(-width // 8) * -(-height // 8)


def jpeg(*segments: bytes, end: bytes = b"\xff\xd9") -> bytes:
    return b"\xff\xd8" + segment(0xDB, b"\0" + TABLE_OF_ONES) + b"".join(segments) + end


def grey_jpeg(width: int, height: int, *, scans: int = 1, components: int = 3) -> bytes:
    """A baseline JPEG, all grey; more than one scan means one for each component."""
    blocks = _blocks(width, height)
    data = bytes(-(-blocks * 2 // 8) if scans > 1 else -(-blocks * 2 * components // 8))
    numbers = range(1, components + 1)
    parts = [scan((number,), data) for number in numbers] if scans > 1 else [scan(tuple(numbers), data)]
    return jpeg(huffman(0, 0), huffman(0x10, 0), frame(width, height, components=components), *parts)


def progressive_jpeg(width: int, height: int, scans: int) -> bytes:
    """A grey progressive JPEG whose scans say in a few bytes that all of their coefficients are zero."""
    blocks = _blocks(width, height)
    coefficients = scan((1,), _end_of_band_runs(blocks), spectrum=(1, 63))
    start = [huffman(0, 0), huffman(0x10, 0xE0), frame(width, height, marker=0xC2, components=1)]
    return jpeg(*start, scan((1,), bytes(-(-blocks // 8)), spectrum=(0, 0)), *[coefficients] * (scans - 1))


def _end_of_band_runs(blocks: int) -> bytes:
    """Each of 15 bits: the code, then how many blocks beyond 2**14 it ends."""
    bits = ""
    while blocks > 0:
        run = min(blocks, 2**15 - 1)
        bits += "0" + format(max(0, run - 2**14), "014b")
        blocks -= max(run, 2**14)
    bits += "1" * (-len(bits) % 8)
    data = int(bits, 2).to_bytes(len(bits) // 8, "big")
    return data.replace(b"\xff", b"\xff\0")


def lossless_jpeg(width: int, height: int, *, precision: int = 8) -> bytes:
    """A lossless JPEG of one component: every difference is 0."""
    start = segment(0xC4, bytes([0, 1, *[0] * 15, 0]))
    data = bytes(-(-width * height // 8))
    one = frame(width, height, marker=0xC3, components=1, precision=precision)
    return jpeg(start, one, segment(0xDA, bytes([1, 1, 0, 1, 0, 0])) + data)


# --- WebP --------------------------------------------------------------------------------------------------------


def riff(*chunks: bytes, length: int | None = None) -> bytes:
    body = b"WEBP" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body) if length is None else length) + body


def webp_chunk(kind: bytes, data: bytes) -> bytes:
    return kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def u24(value: int) -> bytes:
    return value.to_bytes(3, "little")


def animated_webp(canvas: int, frame: int = 1) -> bytes:
    """An animation of one small frame on a large canvas."""
    still = BytesIO()
    Image.new("RGB", (frame, frame), "red").save(still, "WEBP", lossless=True)
    extended = webp_chunk(b"VP8X", b"\x02\0\0\0" + u24(canvas - 1) * 2)
    place = u24(0) * 2 + u24(frame - 1) * 2 + u24(100) + b"\0"
    return riff(extended, webp_chunk(b"ANIM", bytes(6)), webp_chunk(b"ANMF", place + still.getvalue()[12:]))
