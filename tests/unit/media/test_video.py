"""An MP4 is whole to its last byte, or refused, whatever it holds; with PyAV its frames are looked at too."""

from __future__ import annotations

import struct
import sys
from contextlib import suppress
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_kling.media import frames, mp4, samples, video
from airflow_kling.media.errors import BrokenMedia, BrokenVideo, OverLimit, TooManyPixels
from airflow_kling.media.video import VideoInfo, describe_video, verify_video
from tests.clips import clip, patched, position, resized

PLAIN, FIRST = clip(), clip(header_first=True)


def check(data: bytes, **limits: Any) -> VideoInfo:
    return verify_video(BytesIO(data), **{"max_pixels": 10_000, **limits})


def box(name: bytes, body: bytes = b"") -> bytes:
    return struct.pack(">I4s", 8 + len(body), name) + body


@pytest.mark.parametrize("data", [PLAIN, FIRST], ids=["header last", "header first"])
def test_a_whole_video(data: bytes) -> None:
    assert check(data) == VideoInfo(64, 48, 1.0, "avc1")


@pytest.mark.parametrize("data", [PLAIN, FIRST, clip(sound=True)], ids=["header last", "header first", "sound"])
def test_its_header_alone_says_what_it_is(data: bytes) -> None:
    found = check(data)
    broken = patched(data, b"stco", 4, "II", 1, 0xFFFFFFF0)  # the samples lie elsewhere
    with pytest.raises(BrokenVideo):
        check(broken)
    assert describe_video(BytesIO(data)) == describe_video(BytesIO(broken)) == found


@pytest.mark.parametrize("data", [b"", b"\0\0\0\x18ftypmp42" + bytes(100), PLAIN[:200], FIRST[:300]])
def test_what_has_no_header_is_not_described(data: bytes) -> None:
    with pytest.raises(BrokenMedia):
        describe_video(BytesIO(data))


def test_a_video_with_sound() -> None:
    found = check(clip(sound=True))
    assert (found.width, found.height, found.codec) == (64, 48, "avc1")
    assert 0.9 < found.seconds < 1.2
    data = clip(sound=True)
    at = data.rindex(b"stco") + 12  # of the second track
    with pytest.raises(BrokenVideo, match="outside the media data"):
        check(data[:at] + bytes(4) + data[at + 4 :])


@pytest.mark.parametrize(("codec", "name"), [("libx265", "hev1"), ("libvpx-vp9", "vp09"), ("mpeg4", "mp4v")])
def test_other_codecs(codec: str, name: str) -> None:
    if codec not in __import__("av").codecs_available:
        pytest.skip(f"this FFmpeg has no {codec}")
    assert check(clip(codec=codec)).codec == name


@pytest.mark.parametrize("data", [PLAIN, FIRST], ids=["header last", "header first"])
def test_it_is_refused_wherever_it_is_cut_off(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "is_available", lambda: False)  # the structure alone has to find it
    assert check(data)
    for length in range(len(data)):
        with pytest.raises(BrokenVideo):
            check(data[:length])


def test_a_box_after_the_last_one_is_read_too() -> None:
    assert check(PLAIN + box(b"free", bytes(20)))
    with pytest.raises(BrokenVideo, match=r"'free' at byte .* is cut off"):
        check(PLAIN + box(b"free", bytes(20))[:-1])
    with pytest.raises(BrokenVideo):
        check(PLAIN + b"abc")


@settings(max_examples=400, deadline=None)
@given(st.integers(0, len(PLAIN) - 1), st.integers(1, 255))
def test_a_changed_byte_raises_nothing_else(position: int, change: int) -> None:
    data = bytearray(PLAIN)
    data[position] ^= change
    with suppress(BrokenMedia):
        check(bytes(data))


NESTED = [b"moov", b"mvhd", b"trak", b"tkhd", b"mdia", b"mdhd", b"hdlr", b"minf", b"stbl", b"stsd", b"stts", b"stsz"]


@pytest.mark.parametrize("name", [b"ftyp", b"mdat", *NESTED, b"stsc", b"stco", b"avc1"])
@pytest.mark.parametrize("change", [1, -1, 12, 2**20, -12])
def test_a_size_that_is_changed_is_found(name: bytes, change: int) -> None:
    (size,) = struct.unpack_from(">I", PLAIN, position(PLAIN, name) - 4)
    with pytest.raises(BrokenVideo):
        check(resized(PLAIN, name, max(0, size + change)))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (box(b"ftyp", b"isom\0\0\0\0"), "it has no boxes 'moov', where one is needed"),
        (PLAIN + PLAIN[PLAIN.index(b"moov") - 4 :], "it has 2 boxes 'moov', where one is needed"),
        (PLAIN.replace(b"mdat", b"free", 1), "chunk 0 of a track lies outside the media data"),
        (PLAIN.replace(b"mvhd", b"mvhx"), "it has no boxes 'mvhd'"),
        (PLAIN.replace(b"vide", b"text"), "it has no video track"),
        (PLAIN.replace(b"avc1", b"encv"), "it is encrypted"),
        (PLAIN.replace(b"stsz", b"stsx"), "it has no boxes 'stsz'"),
        (patched(PLAIN, b"mvhd", 0, "B", 2), "version 2, which nobody knows"),
        (patched(PLAIN, b"mvhd", 12, "I", 0), "it says of no duration"),
        (patched(PLAIN, b"mvhd", 16, "I", 0), "it says of no duration"),
        (patched(PLAIN, b"mvhd", 16, "I", 2**32 - 1), "it says of no duration"),
        (patched(PLAIN, b"stco", 8, "I", 0), "lies outside the media data"),
        (patched(PLAIN, b"stco", 8, "I", len(PLAIN)), "lies outside the media data"),
        (patched(PLAIN, b"stco", 4, "I", 2), "is larger than the box"),
        (patched(PLAIN, b"stsz", 12, "I", 2**31), "lies outside the media data"),
        (patched(PLAIN, b"stsz", 8, "I", 11), "11 sizes, 12 times and"),
        (patched(PLAIN, b"stsz", 8, "I", 13), "is larger than the box"),
        (patched(PLAIN, b"stts", 8, "I", 13), "12 sizes, 13 times and 12 places"),
        (patched(PLAIN, b"stsc", 8, "I", 2), "'stsc' is not in order"),
        (patched(PLAIN, b"stsc", 12, "I", 11), "12 sizes, 12 times and 11 places"),
        (patched(PLAIN, b"avc1", 24, "H", 0), "it has no pixels"),
        (clip(fragmented=True), "fragmented MP4"),
    ],
)
def test_what_contradicts_itself(data: bytes, reason: str) -> None:
    with pytest.raises(BrokenVideo, match=reason):
        check(data)


@pytest.mark.parametrize(
    ("data", "limits", "reason"),
    [
        (PLAIN, {"max_pixels": 64 * 48 - 1}, "has 64x48 pixels, over the limit of 3071"),
        (PLAIN, {"max_seconds": 0.9}, "has 1 seconds, over the limit of 0.9"),
        (patched(PLAIN, b"stts", 4, "I", 2**31), {}, "a table 'stts' of 2147483648 rows"),
        (patched(PLAIN, b"stsz", 8, "I", 2**31), {}, "has 2147483648 samples in a track"),
        (PLAIN + box(b"free") * mp4.MAX_BOXES, {}, "has more than 10000 boxes"),
    ],
)
def test_what_is_over_a_limit(data: bytes, limits: dict[str, Any], reason: str) -> None:
    with pytest.raises(OverLimit, match=reason):
        check(data, **limits)
    assert issubclass(TooManyPixels, OverLimit)


def test_a_header_that_is_too_large_and_too_many_tracks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video, "MAX_TRACKS", 0)
    with pytest.raises(OverLimit, match="1 tracks, over the limit of 0"):
        check(PLAIN)
    monkeypatch.setattr(video, "MAX_HEADER_BYTES", 10)
    with pytest.raises(OverLimit, match="has a header of"):
        check(PLAIN)


def rewritten(data: bytes) -> tuple[bytes, bytes]:
    """What lies before the media data and its box, of a file with the header last."""
    start = data.index(b"mdat") - 4
    end = data.index(b"moov") - 4
    return data[:start], data[start:end]


def test_sizes_of_64_bits_and_to_the_end_of_the_file() -> None:
    head, media = rewritten(PLAIN)
    header = PLAIN[len(head) + len(media) :]
    (offset,) = struct.unpack_from(">I", header, header.index(b"stco") + 12)
    large = struct.pack(">I4sQ", 1, b"mdat", len(media) + 8) + media[8:]
    assert check(head + large + patched(header, b"stco", 8, "I", offset + 8))
    last = struct.pack(">I4s", 0, b"mdat") + media[8:]
    moved = head + patched(header, b"stco", 8, "I", offset + len(header)) + last
    assert check(moved)
    with pytest.raises(BrokenVideo):
        check(moved[:-1])
    with pytest.raises(BrokenVideo, match="impossible size"):
        check(head + struct.pack(">I4sQ", 1, b"mdat", 2**63) + media[8:] + header)


def tables(**boxes: bytes) -> mp4.Box:
    data = box(b"stbl", b"".join(box(name.encode(), body) for name, body in boxes.items()))
    tables.data = data  # type: ignore[attr-defined]
    return mp4.Box("stbl", 0, 8, len(data))


def numbers(*values: int) -> bytes:
    return struct.pack(f">{len(values)}I", *values)


@pytest.mark.parametrize(
    ("sizes", "fits"),
    [
        ({"stsz": numbers(0, 10, 3)}, True),
        ({"stsz": numbers(0, 11, 3)}, False),
        ({"stsz": numbers(0, 0, 3, 9, 9, 12)}, True),
        ({"stsz": numbers(0, 0, 3, 9, 9, 13)}, False),
        ({"stz2": numbers(0, 16, 3) + struct.pack(">3H", 9, 9, 12)}, True),
        ({"stz2": numbers(0, 16, 3) + struct.pack(">3H", 9, 9, 13)}, False),
        ({"stz2": numbers(0, 8, 3) + bytes((9, 9, 12))}, True),
        ({"stz2": numbers(0, 4, 3) + bytes((0xAA, 0xA0))}, True),
        ({"stz2": numbers(0, 4, 3) + bytes((0xAA, 0xBF))}, False),
        ({"stz2": numbers(0, 5, 3) + bytes(9)}, False),
    ],
)
@pytest.mark.parametrize("wide", [False, True])
def test_forms_of_the_sample_tables(sizes: dict[str, bytes], fits: bool, wide: bool) -> None:
    """Two chunks: two samples at byte 100, and one behind them, in media data of 30 bytes."""
    places = {"co64": numbers(0, 2) + struct.pack(">2Q", 100, 120)} if wide else {"stco": numbers(0, 2, 100, 120)}
    if ("stsz" in sizes and sizes["stsz"][4:8] == bytes(4)) or ("stz2" in sizes and sizes["stz2"][7] in (8, 16)):
        places = {name: body.replace(b"\0\0\0\x78", b"\0\0\0\x76") for name, body in places.items()}
    table = tables(stts=numbers(0, 1, 3, 5), stsc=numbers(0, 2, 1, 2, 1, 2, 1, 1), **sizes, **places)
    reader = mp4.BoxReader(BytesIO(tables.data))  # type: ignore[attr-defined]
    extents = samples.Extents([(50, 60), (100, 130)])
    if fits:
        samples.check_samples(reader, table, extents)
    else:
        with pytest.raises(BrokenVideo):
            samples.check_samples(reader, table, extents)


# --- with PyAV --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["first", "last"])
def test_a_frame_that_cannot_be_decoded(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytearray(PLAIN)
    start, end = data.index(b"mdat") + 4, data.index(b"moov") - 4
    at = slice(start, start + 900) if place == "first" else slice(end - 30, end)
    data[at] = b"\xff" * (at.stop - at.start)
    with pytest.raises(BrokenVideo, match="cannot be decoded"):
        check(bytes(data))
    monkeypatch.setattr(frames, "is_available", lambda: False)
    assert check(bytes(data))


def test_without_pyav_the_structure_is_the_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    assert not frames.is_available()
    assert check(PLAIN)


def test_a_large_frame_and_an_odd_codec_are_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "is_available", lambda: pytest.fail("asked without need"))
    frames.verify_frames(BytesIO(), "mjpg", pixels=100)
    frames.verify_frames(BytesIO(), "avc1", pixels=frames.MAX_FRAME + 1)


def test_a_stream_that_is_larger_than_it_says_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "MAX_FRAME", 64 * 48 // 4)
    with pytest.raises(BrokenVideo, match="cannot be decoded"):
        frames.verify_frames(BytesIO(PLAIN), "avc1", pixels=100)


def test_a_last_frame_that_is_far_away_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "_MAX_WORK", 64 * 48 * 3)
    assert check(PLAIN)


@pytest.mark.parametrize(
    ("width", "height", "expected"), [(64, 48, (64, 48)), (1600, 900, (1280, 720)), (900, 1600, (720, 1280))]
)
def test_the_poster_is_the_first_frame(width: int, height: int, expected: tuple[int, int]) -> None:
    from PIL import Image

    poster = frames.draw_poster(BytesIO(clip(width, height, 2)))
    assert (poster.width, poster.height) == expected
    with Image.open(BytesIO(poster.jpeg)) as image:
        assert (image.format, image.size) == ("JPEG", expected)
        red, green, blue = image.getpixel((expected[0] - 1, 0))  # type: ignore[misc]
    assert (red < 40, 100 < green < 160, 100 < blue < 160) == (True, True, True), "teal, as it was drawn"
