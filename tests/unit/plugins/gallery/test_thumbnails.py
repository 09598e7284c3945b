"""Smaller forms of images."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from airflow_kling.plugins.gallery.thumbnails import _eight_bits, render


def file_of(image: Image.Image, kind: str, **options: object) -> io.BytesIO:
    out = io.BytesIO()
    image.save(out, kind, **options)
    out.seek(0)
    return out


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_longest_side(kind: str) -> None:
    with Image.open(io.BytesIO(render(file_of(Image.new("RGB", (2000, 1000), "teal"), kind), "thumb"))) as image:
        assert (image.format, image.size, image.mode) == ("WEBP", (480, 240), "RGB")
        red, green, blue = image.getpixel((240, 120))  # type: ignore[misc]
        assert (red < 12, 110 < green < 145, 110 < blue < 145) == (True, True, True)


def test_small_image_is_not_made_larger() -> None:
    with Image.open(io.BytesIO(render(file_of(Image.new("RGB", (90, 60)), "PNG"), "large"))) as image:
        assert image.size == (90, 60)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "1", "I;16", "CMYK", "L"])
def test_every_mode_that_a_file_can_have(mode: str) -> None:
    image = Image.new(mode, (800, 800))
    content = render(file_of(image, "JPEG" if mode == "CMYK" else "PNG"), "thumb")
    with Image.open(io.BytesIO(content)) as made:
        assert made.size == (480, 480)
        assert made.mode == ("RGBA" if mode in ("RGBA", "LA") else "RGB")


def test_turned_as_the_camera_says_and_nothing_else_is_kept_of_it() -> None:
    image = Image.new("RGB", (1000, 500))
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "Camera"
    content = render(file_of(image, "JPEG", exif=exif), "thumb")
    with Image.open(io.BytesIO(content)) as made:
        assert made.size == (240, 480)
        assert not made.getexif()


@pytest.mark.parametrize("level", [0, 1000, 32768, 65535])
def test_grey_of_sixteen_bits_keeps_its_level(level: int) -> None:
    grey = Image.new("I;16", (64, 64), level)
    with Image.open(io.BytesIO(render(file_of(grey, "PNG"), "thumb"))) as made:
        assert abs(made.getpixel((9, 9))[0] - level / 257) < 8  # type: ignore[index]


@pytest.mark.parametrize(("mode", "values"), [("I", (0, 65535)), ("F", (-1.0, 3.5)), ("I;16", (0, 65535))])
def test_modes_of_more_than_eight_bits(mode: str, values: tuple[float, float]) -> None:
    image = Image.new(mode, (2, 1))
    for position, value in enumerate(values):
        image.putpixel((position, 0), value)
    scaled = _eight_bits(image)
    assert (scaled.mode, scaled.getpixel((0, 0)), scaled.getpixel((1, 0))) == ("L", 0, 255)


def test_one_level_alone() -> None:
    assert _eight_bits(Image.new("F", (2, 2), 7.0)).mode == "L"
