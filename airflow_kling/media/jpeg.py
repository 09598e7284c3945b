"""Proves that a JPEG is whole: reads its markers to the end marker, then decodes it where that takes little memory.

libjpeg keeps all coefficients of an image that has more than one scan, and walks through all of them for every scan.
Pillow keeps every application segment. So scans and segments are counted before anything is decoded, Pillow sees the
segments alone that decoding needs, and an image whose coefficients are too many is proved by its structure.
"""

from __future__ import annotations

import io
import re
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, BinaryIO, Final, cast

from airflow_kling.media.decode import MAX_MEMORY, decode
from airflow_kling.media.errors import BrokenImage, OverLimit

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

#: Encoders write ten scans, and some twenty at most.
MAX_SCANS: Final = 100
#: An image of 64 MiB has a thousand segments of full size.
MAX_SEGMENTS: Final = 10_000
#: Pixels times scans that are decoded; some 10 seconds.
_MAX_WORK: Final = 500_000_000

_PIECE = 64 * 1024
_BLOCK = 64 * 2  # bytes that libjpeg keeps of 8x8 pixels of a component
_END, _START_OF_SCAN, _COMMENT = 0xD9, 0xDA, 0xFE
_WITHOUT_LENGTH = frozenset({0x01, 0xD8, _END})  # TEM and SOI, which decoders skip or refuse
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # the other three are DHT, JPG and DAC
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_LOSSLESS = frozenset({0xC3, 0xC7, 0xCB, 0xCF})
_APPLICATION = range(0xE0, 0xF0)
_DECODER_READS = frozenset({0xE0, 0xEE})  # JFIF and Adobe say which colours the components are
_SHORT = 64  # bytes; those two are shorter
#: A marker: 0xFF, but neither stuffing of pixel data, nor filling, nor a restart within pixel data.
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")


@dataclass
class _Structure:
    """What the markers say.

    :param components: sampling factors of each component, horizontal and vertical.
    :param in_first_scan: how many components the first scan holds.
    :param kept: start and end of what a decoder needs.
    """

    width: int = 0
    height: int = 0
    frame: int = 0
    components: list[tuple[int, int]] = field(default_factory=list)
    scans: int = 0
    segments: int = 0
    in_first_scan: int = 0
    kept: list[tuple[int, int]] = field(default_factory=list)

    def keep(self, start: int, end: int) -> None:
        if self.kept and self.kept[-1][1] == start:
            start = self.kept.pop()[0]
        self.kept.append((start, end))

    @property
    def memory(self) -> int:
        """Bytes that decoding takes, but for some rows."""
        if self.frame in _LOSSLESS:  # which cannot be scaled down
            return self.width * self.height * max(3, len(self.components))
        scaled = self.width * self.height * max(3, len(self.components)) // 64
        if self.frame not in _PROGRESSIVE and self.in_first_scan == len(self.components):
            return scaled
        across, down = max(x for x, _ in self.components), max(y for _, y in self.components)
        columns, rows = -(-self.width // (8 * across)), -(-self.height // (8 * down))
        return scaled + sum(columns * x * rows * y * _BLOCK for x, y in self.components)


def verify_jpeg(file: BinaryIO, check_size: Callable[[int, int], None]) -> tuple[int, int]:
    """Check a JPEG from its start to its end marker; what follows that belongs to nobody.

    :return: width and height in pixels.
    :raises BrokenImage: it is cut off, damaged or over a limit.
    """
    found = _read_structure(_Reader(file), check_size)
    if not found.scans:
        raise BrokenImage("it has no pixel data")
    work = found.scans * found.width * found.height
    if found.memory <= MAX_MEMORY and (found.scans == 1 or work <= _MAX_WORK):
        slices = _Slices.open(file, found.kept)
        decode(slices, "JPEG", memory=found.memory, shrink=found.frame not in _LOSSLESS)
    return found.width, found.height


def _read_structure(reader: _Reader, check_size: Callable[[int, int], None]) -> _Structure:
    found = _Structure()
    reader.read(2)
    found.keep(0, 2)
    marker = 0
    while marker != _END:
        behind = reader.position
        in_scan = marker == _START_OF_SCAN
        start, marker = reader.next_marker()
        if in_scan:
            found.keep(behind, start)
        found.segments += 1
        if found.segments > MAX_SEGMENTS:
            raise OverLimit(f"has more than {MAX_SEGMENTS} segments, which is the limit")
        if marker not in _WITHOUT_LENGTH:
            _read_segment(reader, found, marker, check_size)
        if _is_needed(marker, reader.position - start):
            found.keep(start, reader.position)
    return found


def _read_segment(reader: _Reader, found: _Structure, marker: int, check_size: Callable[[int, int], None]) -> None:
    length = int.from_bytes(reader.read(2), "big") - 2
    if length < 0:
        raise BrokenImage("a segment has an impossible length")
    data = reader.read(length)
    if marker in _FRAMES:
        if found.components:
            raise BrokenImage("it has two headers")
        _read_frame(found, marker, data)
        check_size(found.width, found.height)
    elif marker == _START_OF_SCAN:
        found.scans += 1
        if found.scans > MAX_SCANS:
            raise OverLimit(f"has more than {MAX_SCANS} scans, which is the limit")
        if not found.components or not data:
            raise BrokenImage("its pixel data has no header")
        found.in_first_scan = found.in_first_scan or data[0]


def _read_frame(found: _Structure, marker: int, data: bytes) -> None:
    count = data[5] if len(data) > 5 else 0
    if not count or len(data) < 6 + 3 * count:
        raise BrokenImage("its header has the wrong length")
    found.frame = marker
    found.height, found.width = int.from_bytes(data[1:3], "big"), int.from_bytes(data[3:5], "big")
    found.components = [(factors >> 4, factors & 15) for factors in data[7 : 6 + 3 * count : 3]]
    if not all(1 <= factor <= 4 for factors in found.components for factor in factors):
        raise BrokenImage("its header has impossible values")


def _is_needed(marker: int, size: int) -> bool:
    if marker in _APPLICATION or marker == _COMMENT:
        return marker in _DECODER_READS and size <= _SHORT
    return True


class _Reader:
    """Reads a file forward, a piece at a time.

    :ivar position: of the next byte.
    """

    def __init__(self, file: BinaryIO) -> None:
        file.seek(0)
        self.position = 0
        self._file = file
        self._piece = b""
        self._at = 0

    def read(self, size: int) -> bytes:
        pieces = []
        while size:
            self._fill()
            taken = self._piece[self._at : self._at + size]
            self._advance(len(taken))
            size -= len(taken)
            pieces.append(taken)
        return b"".join(pieces)

    def next_marker(self) -> tuple[int, int]:
        """Return position and code of the next marker; what lies before it is pixel data, or skipped as decoders do."""
        while True:
            self._fill(2)
            found = _MARKER.search(self._piece, self._at)
            if found:
                self._advance(found.start() - self._at)
                return self.position, self.read(2)[1]
            left = 1 if self._piece.endswith(b"\xff") else 0
            self._advance(len(self._piece) - left - self._at)

    def _advance(self, count: int) -> None:
        self._at += count
        self.position += count

    def _fill(self, least: int = 1) -> None:
        while len(self._piece) - self._at < least:
            more = self._file.read(_PIECE)
            if not more:
                raise BrokenImage("its end marker is missing")
            self._piece, self._at = self._piece[self._at :] + more, 0


class _Slices(io.RawIOBase):
    """Some parts of a file as a file."""

    def __init__(self, file: BinaryIO, parts: list[tuple[int, int]]) -> None:
        self._file = file
        self._parts = parts
        self._ends = list(accumulate(end - start for start, end in parts))
        self._position = 0

    @classmethod
    def open(cls, file: BinaryIO, parts: list[tuple[int, int]]) -> BinaryIO:
        return cast(BinaryIO, io.BufferedReader(cls(file, parts), _PIECE))

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._ends[-1]}[whence]
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        number = bisect_right(self._ends, self._position)
        if number == len(self._parts):
            return 0
        left = self._ends[number] - self._position
        view = memoryview(buffer).cast("B")
        self._file.seek(self._parts[number][1] - left)
        data = self._file.read(min(left, len(view)))
        view[: len(data)] = data
        self._position += len(data)
        return len(data)
