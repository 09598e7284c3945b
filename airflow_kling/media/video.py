"""Proves that a file is a whole MP4 video, in little memory and time whatever it holds.

Its boxes have to fill it to its last byte. Its header has to name a duration and a video track, and every sample that
a track names has to lie inside the media data. With PyAV the first and the last frame are decoded too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import BinaryIO, Final

from airflow_kling.media import frames
from airflow_kling.media.errors import BrokenVideo, OverLimit, TooManyPixels
from airflow_kling.media.mp4 import Box, BoxReader, only
from airflow_kling.media.samples import Extents, check_samples

#: The header of a clip has some 20 kB, and that of a film some MB.
MAX_HEADER_BYTES: Final = 64 * 1024 * 1024
MAX_TRACKS: Final = 32
_UNKNOWN_DURATION = {0: 0xFFFFFFFF, 1: 0xFFFFFFFFFFFFFFFF}  # by the version of the box
_ENCRYPTED = "encv"


@dataclass(frozen=True)
class VideoInfo:
    """What a video is.

    :param width: pixels.
    :param height: pixels.
    :param seconds: how long it plays.
    :param codec: of its pictures, as the file names it: ``avc1``, ``hvc1``, ``hev1``, ``av01``, ``vp09`` ...
    """

    width: int
    height: int
    seconds: float
    codec: str


def verify_video(file: BinaryIO, *, max_pixels: int, max_seconds: float = math.inf) -> VideoInfo:
    """Check an MP4 from the start of ``file`` to its end; see :func:`airflow_kling.media.probe.probe`.

    :raises BrokenVideo: it is cut off, damaged, or of a form that is not verified here.
    :raises OverLimit: it is over a limit.
    """
    reader = BoxReader(file)
    header, extents = _read_top(reader)
    boxes = reader.children(header)
    seconds = _seconds(reader, only(boxes, "mvhd"))
    if seconds > max_seconds:
        raise OverLimit(f"has {seconds:g} seconds, over the limit of {max_seconds:g}")
    tracks = boxes.get("trak", [])
    if len(tracks) > MAX_TRACKS:
        raise OverLimit(f"has {len(tracks)} tracks, over the limit of {MAX_TRACKS}")
    found = None
    for track in tracks:
        table, is_video = _table(reader, track)
        if found is None and is_video:
            found = _describe(reader, table, seconds)
            _check_pixels(found, max_pixels)
        check_samples(reader, table, extents)
    if found is None:
        raise BrokenVideo("it has no video track")
    frames.verify_frames(file, found.codec, pixels=found.width * found.height)
    return found


def describe_video(file: BinaryIO) -> VideoInfo:
    """Read from the header of an MP4 what it is; nothing else of the file is looked at, and nothing is proved.

    :raises BrokenVideo: the header cannot be read.
    :raises OverLimit: it is over a limit.
    """
    reader = BoxReader(file)
    header, _ = _read_top(reader)
    boxes = reader.children(header)
    seconds = _seconds(reader, only(boxes, "mvhd"))
    for track in boxes.get("trak", [])[:MAX_TRACKS]:
        table, is_video = _table(reader, track)
        if is_video:
            return _describe(reader, table, seconds)
    raise BrokenVideo("it has no video track")


def _table(reader: BoxReader, track: Box) -> tuple[Box, bool]:
    """Return the sample table of a track, and whether it is one of pictures."""
    media = reader.children(reader.child(track, "mdia"))
    return reader.child(only(media, "minf"), "stbl"), _handler(reader, only(media, "hdlr")) == "vide"


def _read_top(reader: BoxReader) -> tuple[Box, Extents]:
    """Return the header, and where the media data are."""
    boxes: dict[str, list[Box]] = {}
    for box in reader.top():
        if box.name == "moof":
            raise BrokenVideo("it is a fragmented MP4 (moof), which is not verified here")
        if box.name in ("ftyp", "moov", "mdat"):
            boxes.setdefault(box.name, []).append(box)
    only(boxes, "ftyp")
    header = only(boxes, "moov")
    if header.size > MAX_HEADER_BYTES:
        raise OverLimit(f"has a header of {header.size} bytes, over the limit of {MAX_HEADER_BYTES}")
    return header, Extents([(box.body, box.end) for box in boxes.get("mdat", [])])


def _seconds(reader: BoxReader, box: Box) -> float:
    version = reader.at(box.body, 1)[0]
    if version > 1:
        raise BrokenVideo(f"its box 'mvhd' has the version {version}, which nobody knows")
    offset, code = ((12, "II"), (20, "IQ"))[version]
    ((scale, duration),) = reader.numbers(box, offset, code, 1)
    if not scale or not duration or duration == _UNKNOWN_DURATION[version]:
        raise BrokenVideo("it says of no duration")
    return float(duration / scale)


def _handler(reader: BoxReader, box: Box) -> str:
    if box.size < 12:
        raise BrokenVideo("its box 'hdlr' is too small")
    return reader.at(box.body + 8, 4).decode("latin-1")


def _describe(reader: BoxReader, table: Box, seconds: float) -> VideoInfo:
    """Read the first sample description: the codec's name, and behind it width and height."""
    descriptions = reader.child(table, "stsd")
    entries = [box for boxes in reader.children(descriptions, skip=8).values() for box in boxes]
    if not entries or entries[0].size < 28:
        raise BrokenVideo("its video track does not say what its pictures are")
    codec = entries[0].name
    if codec == _ENCRYPTED:
        raise BrokenVideo("it is encrypted")
    if not codec.isascii() or not codec.isprintable():
        raise BrokenVideo("its codec has no name")
    ((width, height),) = reader.numbers(entries[0], 24, "HH", 1)
    return VideoInfo(width, height, seconds, codec)


def _check_pixels(video: VideoInfo, max_pixels: int) -> None:
    if not video.width or not video.height:
        raise BrokenVideo("it has no pixels")
    if video.width * video.height > max_pixels:
        raise TooManyPixels(f"has {video.width}x{video.height} pixels, over the limit of {max_pixels}")
