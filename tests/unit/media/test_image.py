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

from airflow_kling.media.errors import BrokenMedia, OverLimit
from airflow_kling.media.image import verify_image
from airflow_kling.media.kinds import HEAD_BYTES, find_type
from tests.unit.media import crafted
from tests.unit.media.crafted import END, chunk, header, png


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
    with pytest.raises(BrokenMedia) as caught:
        verify(data, max_pixels)
    assert isinstance(caught.value, OverLimit) is not retryable
    return str(caught.value)


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
        with pytest.raises(BrokenMedia):
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
        (png(header(), chunk(b"IDAT", b"no zlib"), END), "pixel data is damaged"),
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
        with suppress(BrokenMedia):
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
def test_what_would_take_too_much_memory_is_proved_by_its_structure(format, options):
    data = BytesIO()
    Image.new("L", (4500, 4500)).save(data, format, **options)
    whole = data.getvalue()
    assert verify(whole, max_pixels=80_000_000) == (4500, 4500)
    refused(whole[:-2], retryable=True, max_pixels=80_000_000)


PIXELS = zlib.compress(bytes(14))
WRONG = bytes(4)
GREY = crafted.grey_jpeg(40, 30)
STILL = noise(40, 30, format="WEBP")


@pytest.mark.parametrize(
    "data",
    [
        png(header(), chunk(b"IDAT", PIXELS[:-4]), END),
        png(header(), chunk(b"IDAT", PIXELS[:-4] + WRONG), END),
        png(header(), chunk(b"IDAT", zlib.compress(bytes(15))), END),
        png(header(), chunk(b"IDAT", zlib.compress(bytes(10**8))), END),
        png(header(), chunk(b"IDAT", PIXELS + b"surplus"), chunk(b"IDAT", b"more of it"), END),
        png(header(), chunk(b"tEXt", b"a\0b")[:-4] + WRONG, chunk(b"IDAT", PIXELS), END),
        png(header(), chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(10**8))), chunk(b"IDAT", PIXELS), END),
        png(header(), chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(10**8))), chunk(b"IDAT", PIXELS), END),
        png(header(), chunk(b"IDAT", PIXELS), END) + bytes(100_000),
    ],
    ids=[
        "no Adler",
        "wrong Adler",
        "surplus",
        "bomb",
        "behind",
        "wrong checksum",
        "zTXt bomb",
        "iCCP bomb",
        "trailing",
    ],
)
def test_a_png_that_others_show(data):
    assert verify(data) == (2, 2)


@pytest.mark.parametrize(
    "data",
    [
        GREY + bytes(300_000),
        GREY + os.urandom(300_000),
        GREY[:2] + crafted.segment(0xE1, bytes(65_000)) * 40 + GREY[2:],
        GREY[:2] + b"\xff" * 300 + GREY[3:],
        GREY[:-2] + b"\xff\xff\xff" + GREY[-1:],
        crafted.grey_jpeg(40, 30, scans=3),
        crafted.grey_jpeg(40, 30, components=4),
        crafted.progressive_jpeg(40, 30, scans=20),
        crafted.lossless_jpeg(40, 30),
    ],
    ids=[
        "trailing",
        "trailing noise",
        "metadata",
        "fill",
        "fill at the end",
        "scans",
        "CMYK",
        "progressive",
        "lossless",
    ],
)
def test_a_jpeg_that_others_show(data):
    assert verify(data) == (40, 30)


@pytest.mark.parametrize(
    "data",
    [
        STILL + bytes(100_000),
        STILL[:4] + struct.pack("<I", struct.unpack("<I", STILL[4:8])[0] + 1) + STILL[8:],
        crafted.animated_webp(40),
    ],
    ids=["trailing", "odd length", "animated"],
)
def test_a_webp_that_others_show(data):
    assert verify(data)[0] == 40


def test_a_frame_larger_than_its_canvas():
    assert "larger than its canvas" in refused(crafted.animated_webp(40, frame=41), retryable=True)


def test_an_animation_whose_first_frame_is_damaged():
    damaged = bytearray(crafted.animated_webp(40, frame=40))
    damaged[-12:] = bytes(12)
    refused(bytes(damaged), retryable=True)
    refused(bytes(damaged[:-1]), retryable=True)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (crafted.progressive_jpeg(40, 30, scans=101), "more than 100 scans"),
        (b"\xff\xd8" + crafted.segment(0xE1, b"") * 10_001 + GREY[2:], "more than 10000 segments"),
        (b"\xff\xd8" + b"\xff\x01" * 10_001 + GREY[2:], "more than 10000 segments"),
        (png(header(), chunk(b"tEXt", b"") * 100_001, END), "more than 100000 chunks"),
        (crafted.riff(crafted.webp_chunk(b"EXIF", b"") * 10_001), "more than 10000 chunks"),
    ],
    ids=["scans", "segments", "markers", "PNG chunks", "WebP chunks"],
)
def test_what_only_an_attacker_makes(data, reason):
    assert reason in refused(data, retryable=False)


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xd8" + b"\xff" * 10**6,
        b"\xff\xd8" + b"\xff\xd0" * 10**6,
        b"\xff\xd8" + b"\xff\0" * 10**6,
        GREY[:-2] + b"\xff\xd0" * 10**6,
        crafted.jpeg(crafted.frame(40, 30), crafted.frame(40, 30)),
        crafted.jpeg(crafted.scan((1,), b"")),
        crafted.jpeg(crafted.frame(40, 30)),
        crafted.jpeg(crafted.segment(0xC0, b"\x08\0\x01\0\x01\x01\x01\0\0")),
        crafted.jpeg(crafted.segment(0xC0, b"")),
        b"\xff\xd8\xff\xe0\0\0\xff\xd9",
    ],
)
def test_damaged_structures_of_jpeg(data):
    refused(data, retryable=True)


def test_a_bomb_for_pillow():
    data = bytearray(noise(100, 100, format="JPEG"))
    start = data.index(b"\xff\xc0")
    data[start + 5 : start + 9] = struct.pack(">HH", 65_000, 65_000)
    assert "pixels" in refused(bytes(data), retryable=False)
