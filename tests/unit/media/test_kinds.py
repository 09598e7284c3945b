"""The table of file types."""

from __future__ import annotations

import subprocess
import sys
from io import BytesIO

import pytest
from PIL import Image

from airflow_kling.api.values import RESULT_KINDS
from airflow_kling.media.kinds import (
    EXTENSIONS,
    FILE_TYPES,
    HEAD_BYTES,
    JPEG,
    MP4,
    PNG,
    WEBP,
    FileType,
    find_type,
    name_format,
)


@pytest.mark.parametrize("file_type", [PNG, JPEG, WEBP], ids=lambda file_type: file_type.extension)
def test_a_type_is_known_by_its_first_bytes(file_type: FileType) -> None:
    data = BytesIO()
    Image.new("RGB", (4, 4)).save(data, file_type.name)
    assert find_type(data.getvalue()[:HEAD_BYTES]) is file_type
    assert Image.MIME[file_type.name] == file_type.content_type


@pytest.mark.parametrize("head", [b"", b"<html>", b"GIF89a", b"RIFF\0\0\0\0WAVE", b"\x89PNG", b"\xff\xd8"])
def test_what_is_none_of_them(head: bytes) -> None:
    assert find_type(head) is None


@pytest.mark.parametrize("brand", [b"isom", b"mp42", b"avc1", b"iso6"])
def test_an_mp4_by_its_brand(brand: bytes) -> None:
    assert find_type(b"\0\0\0\x20ftyp" + brand) is MP4
    assert name_format(b"\0\0\0\x20ftyp" + brand) == "MP4"


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"\0\0\0\x14ftypqt  ", "MOV"),
        (b"\0\0\x0a\0moov\0\0\0\0", "MOV"),
        (b"\x1a\x45\xdf\xa3\x9fB\x86\x81", "WebM"),
        (b"RIFF\0\0\0\0AVI LIST", "AVI"),
        (b"\0\0\0\x1cftypheic", "HEIC"),
        (b"\0\0\0\x1cftypavif", "AVIF"),
        (b"%PDF-1.7", None),
    ],
)
def test_other_formats_have_a_name_at_most(head: bytes, name: str | None) -> None:
    assert find_type(head) is None
    assert name_format(head) == name


def test_no_name_is_used_twice() -> None:
    assert EXTENSIONS == {"image": ("png", "jpg", "webp"), "video": ("mp4",)}
    assert {file_type.kind for file_type in FILE_TYPES} == EXTENSIONS.keys() <= set(RESULT_KINDS.values())
    assert len({file_type.content_type for file_type in FILE_TYPES}) == len(FILE_TYPES)


def test_import_is_light() -> None:
    code = "import sys, airflow_kling.media.kinds; print({'PIL', 'isal', 'pydantic', 'airflow'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "set()"
