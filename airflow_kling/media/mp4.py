"""Reads the boxes of an MP4, each of which says its size and its name (ISO 14496-12)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from airflow_kling.media.errors import BrokenVideo, OverLimit

#: A clip has some 100 boxes; a file of this many is made to take time.
MAX_BOXES: Final = 10_000
_MAX_POSITION: Final = 2**40  # file systems refuse to seek to far larger ones
_PIECE = 64 * 1024


@dataclass(frozen=True)
class Box:
    """One box.

    :param name: four letters.
    :param start: position of its header in the file.
    :param body: position of what follows its header.
    :param end: position behind it.
    """

    name: str
    start: int
    body: int
    end: int

    @property
    def size(self) -> int:
        """Bytes of its body."""
        return self.end - self.body


class BoxReader:
    """Reads boxes and tables of a file, a piece at a time.

    :param file: seekable; it may still be arriving.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._boxes = 0

    def at(self, position: int, size: int) -> bytes:
        """Return exactly these bytes.

        :raises BrokenVideo: they are not all there.
        """
        self._file.seek(position)
        data = self._file.read(size)
        if len(data) != size:
            raise BrokenVideo("it ends too early")
        return data

    def top(self) -> Iterator[Box]:
        """Yield the boxes of the file; the last one ends where the file ends.

        :raises BrokenVideo: it is cut off, or goes on with what is no box.
        """
        position = 0
        while self._has(position):
            box = self._box(position, None)
            if box.end == box.start:  # which means "to the end of the file"
                box = Box(box.name, box.start, box.body, self._size())
            if not self._has(box.end - 1):
                raise BrokenVideo(f"its box {box.name!r} at byte {box.start} is cut off")
            yield box
            position = box.end

    def children(self, parent: Box, skip: int = 0) -> dict[str, list[Box]]:
        """Return the boxes inside one, by their names.

        :param skip: bytes of fields before the first one.
        :raises BrokenVideo: they do not fill it exactly.
        """
        found: dict[str, list[Box]] = {}
        position = parent.body + skip
        while position < parent.end:
            box = self._box(position, parent)
            found.setdefault(box.name, []).append(box)
            position = box.end
        return found

    def child(self, parent: Box, *path: str) -> Box:
        """Return the one box of a name inside another, step by step.

        :raises BrokenVideo: there is none, or another one too.
        """
        for name in path:
            parent = only(self.children(parent), name)
        return parent

    def numbers(self, box: Box, offset: int, code: str, count: int) -> Iterator[tuple[int, ...]]:
        """Yield the rows of a table.

        :param offset: of the table in the body.
        :param code: of one row, as :mod:`struct` has it.
        :raises BrokenVideo: the box is too small for it.
        """
        row = struct.Struct(">" + code)
        if offset + count * row.size > box.size:
            raise BrokenVideo(f"its table {box.name!r} is larger than the box that holds it")
        position, end = box.body + offset, box.body + offset + count * row.size
        step = _PIECE // row.size * row.size
        while position < end:
            piece = self.at(position, min(step, end - position))
            yield from row.iter_unpack(piece)
            position += len(piece)

    def _box(self, position: int, parent: Box | None) -> Box:
        self._boxes += 1
        if self._boxes > MAX_BOXES:
            raise OverLimit(f"has more than {MAX_BOXES} boxes, which is the limit")
        size, raw = struct.unpack(">I4s", self.at(position, 8))
        name, body = raw.decode("latin-1"), position + 8
        if size == 1:
            size, body = int.from_bytes(self.at(body, 8), "big"), body + 8
        elif size == 0 and parent is None:
            return Box(name, position, body, position)
        end = position + size
        if not body <= end <= (parent.end if parent else _MAX_POSITION):
            raise BrokenVideo(f"its box {name!r} at byte {position} has an impossible size")
        return Box(name, position, body, end)

    def _has(self, position: int) -> bool:
        self._file.seek(position)
        return bool(self._file.read(1))

    def _size(self) -> int:
        return self._file.seek(0, 2)


def only(boxes: dict[str, list[Box]], name: str) -> Box:
    """Return the one box of a name.

    :raises BrokenVideo: there is none, or another one too.
    """
    found = boxes.get(name, [])
    if len(found) != 1:
        raise BrokenVideo(f"it has {len(found) or 'no'} boxes {name!r}, where one is needed")
    return found[0]
