"""Checks the sample tables of an MP4 track: they agree with each other, and every sample lies inside the media data."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from itertools import chain, islice, repeat
from typing import Final

from airflow_kling.media.errors import BrokenVideo, OverLimit
from airflow_kling.media.mp4 import Box, BoxReader, only

#: Rows of one table. A clip has some 1000; ten hours of film have a million.
MAX_ROWS: Final = 1_000_000


class Extents:
    """The parts of a file that hold media data.

    :param parts: start and end of each, in the order of the file.
    """

    def __init__(self, parts: list[tuple[int, int]]) -> None:
        self._starts = [start for start, _ in parts]
        self._ends = [end for _, end in parts]

    def hold(self, start: int, size: int) -> bool:
        """Tell whether these bytes lie in one of the parts."""
        number = bisect_right(self._starts, start) - 1
        return number >= 0 and start + size <= self._ends[number]


def check_samples(reader: BoxReader, table: Box, extents: Extents) -> None:
    """Check the box ``stbl`` of a track.

    :raises BrokenVideo: its tables contradict each other, or name what is not there.
    :raises OverLimit: they are larger than any clip's.
    """
    boxes = reader.children(table)
    sizes = _Sizes(reader, boxes)
    timed = sum(count for count, _ in _rows(reader, only(boxes, "stts"), "II"))
    offsets, chunks = _offsets(reader, boxes)
    placed = 0
    for number, count in enumerate(_samples_by_chunk(reader, only(boxes, "stsc"), chunks)):
        (start,) = next(offsets)
        placed += count
        if placed > sizes.count:
            break
        if not extents.hold(start, sizes.take(count)):
            raise BrokenVideo(f"chunk {number} of a track lies outside the media data")
    if not sizes.count == timed == placed:
        raise BrokenVideo(f"its tables name {sizes.count} sizes, {timed} times and {placed} places of samples")


def _rows(reader: BoxReader, box: Box, code: str) -> Iterator[tuple[int, ...]]:
    """Yield the rows of a table that begins with their number."""
    return reader.numbers(box, 8, code, _count(reader, box, 4))


def _count(reader: BoxReader, box: Box, offset: int) -> int:
    ((count,),) = reader.numbers(box, offset, "I", 1)
    if count > MAX_ROWS:
        raise OverLimit(f"has a table {box.name!r} of {count} rows, over the limit of {MAX_ROWS}")
    return count


def _offsets(reader: BoxReader, boxes: dict[str, list[Box]]) -> tuple[Iterator[tuple[int, ...]], int]:
    """Return where each chunk begins, and how many there are."""
    name, code = ("co64", "Q") if "co64" in boxes else ("stco", "I")
    box = only(boxes, name)
    return _rows(reader, box, code), _count(reader, box, 4)


def _samples_by_chunk(reader: BoxReader, box: Box, chunks: int) -> Iterator[int]:
    """Yield how many samples each chunk has; a row holds from its first chunk to that of the next row."""
    first, samples = 1, None
    for row in chain(_rows(reader, box, "III"), [(chunks + 1, 0, 0)]):
        if not first <= row[0] <= chunks + 1 or (samples is None and row[0] != 1):
            raise BrokenVideo("its table 'stsc' is not in order")
        yield from repeat(samples or 0, row[0] - first)
        first, samples = row[0], row[1]


class _Sizes:
    """The sizes of a track's samples, in their order.

    :ivar count: how many there are.
    """

    def __init__(self, reader: BoxReader, boxes: dict[str, list[Box]]) -> None:
        compact = "stz2" in boxes
        box = only(boxes, "stz2" if compact else "stsz")
        ((size, self.count),) = reader.numbers(box, 4, "II", 1)
        self._each = 0 if compact else size
        self._sizes: Iterator[int] = iter(())
        if self._each:
            return
        if self.count > MAX_ROWS:
            raise OverLimit(f"has {self.count} samples in a track, over the limit of {MAX_ROWS}")
        if compact:
            self._sizes = self._read_compact(reader, box, size & 0xFF)
        else:
            self._sizes = (row[0] for row in reader.numbers(box, 12, "I", self.count))

    def take(self, count: int) -> int:
        """Return the size of the next samples together."""
        return count * self._each if self._each else sum(islice(self._sizes, count))

    def _read_compact(self, reader: BoxReader, box: Box, bits: int) -> Iterator[int]:
        if bits not in (4, 8, 16):
            raise BrokenVideo("its table 'stz2' is of no known form")
        if bits == 4:
            packed = (row[0] for row in reader.numbers(box, 12, "B", (self.count + 1) // 2))
            return islice((half for byte in packed for half in (byte >> 4, byte & 15)), self.count)
        return (row[0] for row in reader.numbers(box, 12, "B" if bits == 8 else "H", self.count))
