"""The files of results."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from airflow_kling.emulator import Duration, EmulatorConfig, serve
from tests.unit.emulator.calls import b64, client, create, download, picture, query, result_urls


@pytest.mark.parametrize(
    ("aspect_ratio", "size"),
    [("16:9", (160, 90)), ("9:16", (90, 160)), ("1:1", (160, 160)), ("21:9", (160, 69)), ("2:3", (107, 160))],
)
def test_results_are_different_images_of_the_right_shape(emulator, http, aspect_ratio, size):
    urls = result_urls(emulator, http, n=3, aspect_ratio=aspect_ratio, style_image=b64(picture(colour="gold")))
    answers = [download(url) for url in urls]
    assert {answer.headers["content-type"] for answer in answers} == {"image/png"}
    for answer in answers:
        with Image.open(io.BytesIO(answer.content)) as image:
            image.load()
            assert image.size == size
    assert len({answer.content for answer in answers}) == 3
    assert download(urls[0]).content == answers[0].content


def test_watermarked_copies(emulator, http):
    task_id = create(http, "official", watermark_info={"enabled": True})
    emulator.advance(30)
    image = query(http, task_id, "official")["task_result"]["images"][0]
    assert download(image["url"]).content != download(image["watermark_url"]).content


@pytest.mark.parametrize("kind", ["jpeg", "webp"])
def test_image_formats(kind):
    config = EmulatorConfig(image_format=kind, image_size=64, duration=Duration(0))
    with serve(config) as emulator, client(emulator) as http:
        answer = download(result_urls(emulator, http)[0])
    assert answer.headers["content-type"] == f"image/{kind}"
    with Image.open(io.BytesIO(answer.content)) as image:
        assert image.format == kind.upper()
