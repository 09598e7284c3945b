"""Only a whole image passes; what its header promises is checked before anything is decoded."""

from __future__ import annotations

import os
import random
import struct
import zlib
from contextlib import suppress
from io import BytesIO

import pytest
from PIL import Image

from airflow_kling.media.image import BrokenImage, TooManyPixels, verify_image
from airflow_kling.media.kinds import HEAD_BYTES, find_type


def noise(width=97, height=61, mode="RGB", format="PNG", **options) -> bytes:
    data = BytesIO()
    channels = len(Image.new(mode, (1, 1)).tobytes())
    Image.frombytes(mode, (width, height), os.urandom(width * height * channels)).save(data, format, **options)
    return data.getvalue()


def verify(data: bytes, max_pixels=1_000_000) -> tuple[int, int]:
    file_type = find_type(data[:HEAD_BYTES])
    assert file_type is not None
    return verify_image(BytesIO(data), file_type, max_pixels=max_pixels)


def refused(data: bytes, *, retryable: bool, max_pixels=1_000_000) -> str:
    with pytest.raises(BrokenImage) as caught:
        verify(data, max_pixels)
    assert isinstance(caught.value, TooManyPixels) is not retryable
    return str(caught.value)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(*chunks: bytes) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def header(width=2, height=2, depth=8, colour=2, compression=0, filtering=0, interlace=0) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, compression, filtering, interlace))


END = chunk(b"IEND", b"")


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGB", "RGBA", "I;16"])
def test_every_kind_of_png(mode):
    image = Image.new("L", (97, 61), 7).convert("I").convert(mode) if mode == "I;16" else Image.new(mode, (97, 61))
    data = BytesIO()
    image.save(data, "PNG")
    assert verify(data.getvalue()) == (97, 61)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 1), (1, 9), (8, 8), (97, 61)])
def test_an_interlaced_png(size):
    """Pillow writes none, so it is put together here, pass by pass."""
    width, height = size
    passes = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    raw = b""
    for x, y, dx, dy in passes:
        columns, rows = len(range(x, width, dx)), len(range(y, height, dy))
        raw += rows * (b"\0" + bytes(columns * 3)) if columns else b""
    data = png(header(width, height, interlace=1), chunk(b"IDAT", zlib.compress(raw)), END)
    with Image.open(BytesIO(data)) as image:
        image.load()
    assert verify(data) == (width, height)


@pytest.mark.parametrize(
    ("format", "options"),
    [("JPEG", {}), ("JPEG", {"progressive": True}), ("WEBP", {}), ("WEBP", {"lossless": True})],
)
def test_other_formats(format, options):
    assert verify(noise(format=format, **options)) == (97, 61)
    assert verify(noise(mode="L", format=format, **options)) == (97, 61)


@pytest.mark.parametrize(
    ("format", "options"),
    [("PNG", {}), ("JPEG", {}), ("JPEG", {"progressive": True}), ("WEBP", {}), ("WEBP", {"lossless": True})],
)
def test_cut_anywhere_it_is_not_whole(format, options):
    whole = noise(format=format, **options)
    for length in [*range(17, len(whole) - 2, max(1, len(whole) // 40)), len(whole) - 3, len(whole) - 2]:
        refused(whole[:length], retryable=True)


def test_a_jpeg_without_its_end_marker():
    """Whether libjpeg misses the marker depends on the bits before it."""
    for seed in range(60):
        data = BytesIO()
        Image.frombytes("RGB", (16, 16), random.Random(seed).randbytes(768)).save(data, "JPEG")
        assert verify(data.getvalue() + b"a note") == (16, 16)
        refused(data.getvalue()[:-2], retryable=True)


def test_a_flipped_bit_in_a_png():
    whole = noise()
    for position in range(8, len(whole), max(1, len(whole) // 50)):
        broken = bytearray(whole)
        broken[position] ^= 1
        with pytest.raises(BrokenImage):
            verify(bytes(broken))


@pytest.mark.parametrize(
    "data",
    [
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff",
        b"RIFF\0\0\0\0WEBP",
    ],
)
def test_what_is_nothing_but_a_signature(data):
    refused(data, retryable=True)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (png(header(), END), "14 bytes of pixel data are missing"),
        (png(header(), chunk(b"IDAT", zlib.compress(bytes(13))), END), "1 bytes of pixel data are missing"),
        (png(header(), chunk(b"IDAT", zlib.compress(bytes(14))[:-1]), END), "pixel data are missing"),
        (png(header(), chunk(b"IDAT", zlib.compress(bytes(15))), END), "more pixel data"),
        (png(header(), chunk(b"IDAT", zlib.compress(bytes(10**8))), END), "more pixel data"),
        (png(header(), chunk(b"IDAT", b"no zlib"), END), "pixel data is damaged"),
        (png(header(), chunk(b"IDAT", zlib.compress(bytes(14))[:-1] + b"!"), END), "pixel data is damaged"),
        (png(header(), chunk(b"IDAT", zlib.compress(bytes(14)))), "ends before its last chunk"),
        (png(header(), b"\xff\xff\xff\xffIDAT"), "ends inside a chunk"),
        (png(header(), header(), END), "header is missing or doubled"),
        (png(chunk(b"IDAT", b""), END), "header is missing or doubled"),
        (png(chunk(b"IHDR", bytes(12)), END), "wrong length"),
        (png(header(width=0), END), "no pixels"),
        (png(header(depth=3), END), "impossible"),
        (png(header(colour=1), END), "impossible"),
        (png(header(compression=1), END), "impossible"),
        (png(header(interlace=2), END), "impossible"),
    ],
)
def test_a_png_that_breaks_the_rules(data, reason):
    assert reason in refused(data, retryable=True)


def test_damage_below_correct_checksums_ends_in_no_other_error():
    raw = zlib.compress(bytes(14) * 100)
    for position in range(len(raw) * 8):
        broken = bytearray(raw)
        broken[position // 8] ^= 1 << position % 8
        with suppress(BrokenImage):
            verify(png(header(height=200), chunk(b"IDAT", bytes(broken)), END))


def test_pixel_data_in_many_small_chunks_and_foreign_chunks_between():
    raw = zlib.compress(bytes(14))
    pieces = [chunk(b"IDAT", raw[i : i + 1]) for i in range(len(raw))]
    assert verify(png(header(), chunk(b"tEXt", b"a\0b"), *pieces, END)) == (2, 2)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_too_many_pixels_are_never_decoded(format):
    data = noise(100, 100, format=format)
    assert verify(data, max_pixels=10_000) == (100, 100)
    assert "over the limit of 9999" in refused(data, retryable=False, max_pixels=9_999)


@pytest.mark.parametrize(("format", "options"), [("JPEG", {"progressive": True}), ("WEBP", {"method": 0})])
def test_what_is_decoded_in_memory_has_a_limit_of_its_own(format, options):
    data = BytesIO()
    Image.new("L", (4097, 4096)).save(data, format, **options)
    assert "over the limit of 16777216" in refused(data.getvalue(), retryable=False, max_pixels=80_000_000)


def test_a_bomb_for_pillow():
    data = bytearray(noise(100, 100, format="JPEG"))
    start = data.index(b"\xff\xc0")
    data[start + 5 : start + 9] = struct.pack(">HH", 65_000, 65_000)
    assert "pixels" in refused(bytes(data), retryable=False)
