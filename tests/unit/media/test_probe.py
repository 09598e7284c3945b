"""What a file is by its content, and errors that name where it came from, without its signature."""

from __future__ import annotations

from io import BytesIO

import pytest
from PIL import Image

from airflow_kling.exceptions import KlingImageError
from airflow_kling.media.probe import MediaInfo, probe

URL = "https://h.example/0.png"


def image(format: str) -> bytes:
    data = BytesIO()
    Image.new("RGB", (6, 4)).save(data, format)
    return data.getvalue()


def refused(data: bytes, *, max_pixels: int = 100) -> KlingImageError:
    with pytest.raises(KlingImageError) as caught:
        probe(BytesIO(data), url=URL, max_pixels=max_pixels)
    assert caught.value.url == "https://h.example/0.png"
    return caught.value


@pytest.mark.parametrize(
    ("format", "content_type", "extension"),
    [("PNG", "image/png", "png"), ("JPEG", "image/jpeg", "jpg"), ("WEBP", "image/webp", "webp")],
)
def test_an_image(format: str, content_type: str, extension: str) -> None:
    file = BytesIO(image(format))
    file.seek(5)  # it is read from its start
    assert probe(file, url=URL, max_pixels=24) == MediaInfo(content_type, extension, 6, 4)


@pytest.mark.parametrize("data", [b"", b"<html>no such image</html>", b"GIF89a" + bytes(20)])
def test_what_is_no_image(data: bytes) -> None:
    error = refused(data)
    assert str(error) == "https://h.example/0.png did not answer with a JPEG, PNG or WebP image."
    assert error.retryable


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_what_is_cut_off_may_be_whole_at_the_next_try(format: str) -> None:
    error = refused(image(format)[:-4])
    assert str(error).startswith("The image from https://h.example/0.png is not whole: ")
    assert error.retryable


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_what_is_too_large_stays_so(format: str) -> None:
    error = refused(image(format), max_pixels=23)
    assert str(error) == "The image from https://h.example/0.png has 6x4 pixels, over the limit of 23."
    assert not error.retryable
