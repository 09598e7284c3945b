"""What results show."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from airflow_kling.emulator.drawing import Order, collage, result_size
from tests.unit.emulator.calls import download, result_urls


def order(**changes):
    plain = {"fields": {"prompt": "x"}, "pictures": {}, "index": 0, "count": 2, "seed": "1", "long_side": 64}
    return Order(**{**plain, **changes})


def test_results_show_the_subjects(emulator, http):
    url = result_urls(emulator, http)[0]
    with Image.open(io.BytesIO(download(url).content)) as image:
        colours = [pixel for _, pixel in image.convert("RGB").getcolors(160 * 90)]
    assert any(red > 200 and green < 40 and blue < 40 for red, green, blue in colours)
    assert any(red < 30 and 90 < green < 150 and 90 < blue < 150 for red, green, blue in colours)


@pytest.mark.parametrize(("aspect_ratio", "size"), [("16:9", (64, 36)), ("9:16", (36, 64)), ("1:1", (64, 64))])
def test_sizes(aspect_ratio, size):
    assert result_size(aspect_ratio, 64) == size


def test_the_same_order_gives_the_same_picture():
    assert collage(order()).tobytes() == collage(order()).tobytes()
    assert collage(order()).tobytes() != collage(order(index=1)).tobytes()


@pytest.mark.parametrize("pictures", [{}, {"a": [None]}, {"a": [None, Image.new("RGB", (300, 300))], "b": []}])
def test_missing_pictures_are_replaced(pictures):
    assert collage(order(pictures=pictures), subjects=("a", "b"), scene="c").size == (64, 64)
