"""Draws docs/images/routes, what the emulator makes of sample references: `python -m tests.docs.route_pictures`."""

from __future__ import annotations

import base64
import io
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
from PIL import Image, ImageDraw, ImageOps

from airflow_kling.emulator import Duration, EmulatorConfig, serve
from airflow_kling.hooks.kling import KlingHook
from demo.contact_sheet import read_frames
from deploy.local.samples import draw_samples, draw_try_on_samples
from tests.docs.blocks import CHECKOUT

PICTURES = CHECKOUT / "docs" / "images" / "routes"
HEIGHT, GAP, ARROW = 220, 12, 56
PAPER, INK = "#ffffff", "#8d8880"

#: What is asked; ``@mug`` is the sample of this name.
EXAMPLES: Mapping[str, Mapping[str, Any]] = {
    "multi-image-to-image": {
        "subject_images": ["@mug", "@plant"],
        "scene_image": "@scene",
        "prompt": "A quiet breakfast table, soft morning light",
        "aspect_ratio": "4:3",
    },
    "image-generation": {
        "model_name": "kling-v2-1",
        "image": "@mug",
        "prompt": "The mug on a wooden table in the garden",
        "aspect_ratio": "3:4",
        "n": 2,
    },
    "omni-image": {
        "model_name": "kling-v3-omni",
        "image_list": ["@lamp", "@scene"],
        "prompt": "Three evenings in the room of <<<image_2>>> with the lamp of <<<image_1>>>",
        "result_type": "series",
        "series_amount": 3,
        "aspect_ratio": "3:4",
    },
    "image-expansion": {
        "image": "@mug",
        "up_expansion_ratio": 0,
        "down_expansion_ratio": 0,
        "left_expansion_ratio": 0.5,
        "right_expansion_ratio": 0.5,
        "prompt": "The same table, out of focus",
    },
    "virtual-try-on": {"human_image": "@person", "cloth_image": "@shirt"},
    "text-to-video": {"prompt": "A quiet harbour in the morning, the camera moves slowly to the left", "duration": "5"},
    "image-to-video": {"image": "@scene", "prompt": "The sun wanders through the room", "duration": "5"},
    "omni-video": {
        "image_list": ["@lamp", "@plant"],
        "prompt": "The lamp of <<<image_1>>> goes on beside the plant of <<<image_2>>>",
        "aspect_ratio": "1:1",
        "duration": "5",
    },
}


def main() -> None:
    """Write a picture for each route."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name, serve(EmulatorConfig(duration=Duration(0.0), image_size=640)) as kling:
        extra = {"allow_private_hosts": True, "gateway": "official"}
        connection = {"conn_type": "kling", "host": kling.url, "password": kling.api_key, "extra": extra}
        os.environ["AIRFLOW_CONN_KLING_DEFAULT"] = json.dumps(connection)
        samples = draw_samples(Path(name)) | draw_try_on_samples(Path(name))
        for route, example in EXAMPLES.items():
            used: list[Image.Image] = []
            fields = {key: _with_samples(value, samples, used) for key, value in example.items()}
            task = KlingHook().submit(fields, route=route)
            kling.advance(1)
            finished = KlingHook().get_task(task.kling_task_id, route=route).to_xcom()
            strip = _strip(used, list(_results(finished, Path(name))))
            strip.save(PICTURES / f"{route}.jpg", quality=85, optimize=True)
            print(f"{PICTURES / f'{route}.jpg'}  {(PICTURES / f'{route}.jpg').stat().st_size:,} bytes")


def _with_samples(value: Any, samples: Mapping[str, Path], used: list[Image.Image]) -> Any:
    if isinstance(value, list):
        return [_with_samples(one, samples, used) for one in value]
    if isinstance(value, str) and value.startswith("@"):
        content = samples[value[1:]].read_bytes()
        used.append(Image.open(io.BytesIO(content)))
        return base64.b64encode(content).decode()
    return value


def _results(finished: Mapping[str, Any], folder: Path) -> Iterator[Image.Image]:
    for image in finished["images"]:
        yield Image.open(io.BytesIO(_download(image["url"])))
    for video in finished.get("videos", ()):
        file = folder / "video.mp4"
        file.write_bytes(_download(video["url"]))
        seconds = float(video["duration"])
        yield from (frame for _, frame in read_frames(file, [0, seconds / 2, seconds * 0.95]))


def _download(url: str) -> bytes:
    return httpx.get(url, trust_env=False).raise_for_status().content


def _strip(references: list[Image.Image], results: list[Image.Image]) -> Image.Image:
    """Put the references side by side, then an arrow, then the results."""
    left, right = ([_fitted(image) for image in images] for images in (references, results))
    width = sum(image.width + GAP for image in (*left, *right)) + (ARROW if left else 0) + GAP
    strip = Image.new("RGB", (width, HEIGHT + 2 * GAP), PAPER)
    x = GAP
    for image in left:
        strip.paste(image, (x, GAP))
        x += image.width + GAP
    if left:
        middle, draw = GAP + HEIGHT // 2, ImageDraw.Draw(strip)
        draw.line((x, middle, x + ARROW - GAP - 10, middle), fill=INK, width=4)
        draw.polygon(
            [(x + ARROW - GAP, middle), (x + ARROW - GAP - 14, middle - 9), (x + ARROW - GAP - 14, middle + 9)],
            fill=INK,
        )
        x += ARROW
    for image in right:
        strip.paste(image, (x, GAP))
        x += image.width + GAP
    return strip


def _fitted(image: Image.Image) -> Image.Image:
    return ImageOps.contain(image.convert("RGB"), (HEIGHT * 3, HEIGHT), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    main()
