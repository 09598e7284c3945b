"""The table of file types."""

from __future__ import annotations

import subprocess
import sys
from io import BytesIO

import pytest
from PIL import Image

from airflow_kling.api.values import RESULT_KINDS
from airflow_kling.media.kinds import EXTENSIONS, FILE_TYPES, HEAD_BYTES, FileType, find_type


@pytest.mark.parametrize("file_type", FILE_TYPES, ids=lambda file_type: file_type.extension)
def test_a_type_is_known_by_its_first_bytes(file_type: FileType) -> None:
    data = BytesIO()
    Image.new("RGB", (4, 4)).save(data, file_type.pillow_format)
    assert find_type(data.getvalue()[:HEAD_BYTES]) is file_type
    assert Image.MIME[file_type.pillow_format] == file_type.content_type
    assert file_type.kind in RESULT_KINDS.values()


@pytest.mark.parametrize("head", [b"", b"<html>", b"GIF89a", b"RIFF\0\0\0\0WAVE", b"\x89PNG", b"\xff\xd8"])
def test_what_is_none_of_them(head: bytes) -> None:
    assert find_type(head) is None


def test_no_name_is_used_twice() -> None:
    assert EXTENSIONS == ("png", "jpg", "webp")
    assert len({file_type.content_type for file_type in FILE_TYPES}) == len(FILE_TYPES)


def test_import_is_light() -> None:
    code = "import sys, airflow_kling.media.kinds; print({'PIL', 'isal', 'pydantic', 'airflow'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "set()"
