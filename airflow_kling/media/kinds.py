"""Names the file types that are archived: the one table of content types, extensions and first bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class FileType:
    """A type of file.

    :param kind: the kind of result that it holds, as :class:`airflow_kling.api.tasks.Result` names it.
    :param content_type: for HTTP and the storage.
    :param extension: of the file's name in the storage.
    :param name: its usual name; of an image, the one that Pillow has for it.
    :param signature: the bytes by which it is known, each with its offset.
    """

    kind: str
    content_type: str
    extension: str
    name: str
    signature: tuple[tuple[int, bytes], ...]

    def matches(self, head: bytes) -> bool:
        """Tell whether a file that begins with ``head`` is of this type."""
        return _matches(head, self.signature)


PNG: Final = FileType("image", "image/png", "png", "PNG", ((0, b"\x89PNG\r\n\x1a\n"),))
JPEG: Final = FileType("image", "image/jpeg", "jpg", "JPEG", ((0, b"\xff\xd8\xff"),))
WEBP: Final = FileType("image", "image/webp", "webp", "WEBP", ((0, b"RIFF"), (8, b"WEBP")))
MP4: Final = FileType("video", "video/mp4", "mp4", "MP4", ((4, b"ftyp"),))

FILE_TYPES: Final = (PNG, JPEG, WEBP, MP4)
#: The kinds of results that are archived, each with its extensions.
EXTENSIONS: Final = {
    kind: tuple(file_type.extension for file_type in FILE_TYPES if file_type.kind == kind)
    for kind in ("image", "video")
}
HEAD_BYTES: Final = 16  # no signature reaches further
SAMPLE_BYTES: Final = 512  # enough to tell a page from an image

#: Other images and videos that people have, by their first bytes. Some share the first mark of an MP4.
_OTHERS: Final = (
    ("GIF", ((0, b"GIF8"),)),
    ("TIFF", ((0, b"II*\0"),)),
    ("TIFF", ((0, b"MM\0*"),)),
    ("AVIF", ((4, b"ftypavi"),)),
    ("HEIC", ((4, b"ftyphei"),)),
    ("HEIC", ((4, b"ftypmif1"),)),
    ("BMP", ((0, b"BM"), (6, bytes(4)))),
    ("MOV", ((4, b"ftypqt  "),)),
    ("MOV", ((4, b"moov"),)),
    ("MOV", ((4, b"wide"),)),
    ("WebM", ((0, b"\x1a\x45\xdf\xa3"),)),  # or another Matroska
    ("AVI", ((0, b"RIFF"), (8, b"AVI "))),
)


def find_type(head: bytes) -> FileType | None:
    """Return the type of a file by its first :data:`HEAD_BYTES` bytes; None for one that is not archived."""
    if _other(head):
        return None
    return next((file_type for file_type in FILE_TYPES if file_type.matches(head)), None)


def name_format(head: bytes) -> str | None:
    """Name the format of a file by its first :data:`HEAD_BYTES` bytes; None where it is none that is known."""
    file_type = find_type(head)
    return file_type.name if file_type else _other(head)


def is_text(sample: bytes) -> bool:
    """Tell whether a file is a page or a message, and no result, by its first :data:`SAMPLE_BYTES` bytes."""
    start = sample.lstrip(b"\xef\xbb\xbf \t\r\n")
    return start[:1] in (b"<", b"{") or all(byte >= 32 or byte in b"\t\r\n" for byte in sample)


def _other(head: bytes) -> str | None:
    return next((name for name, signature in _OTHERS if _matches(head, signature)), None)


def _matches(head: bytes, signature: tuple[tuple[int, bytes], ...]) -> bool:
    return all(head[offset : offset + len(mark)] == mark for offset, mark in signature)
