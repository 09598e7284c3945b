"""Requests to an emulator, for its tests."""

from __future__ import annotations

import base64
import functools
import io

import httpx
from PIL import Image

PATHS = {
    "cometapi": "/kling/v1/images/generations",
    "cometapi-v2": "/kling/v1/images/multi-image2image",
    "official": "/v1/images/multi-image2image",
}


@functools.cache
def picture(width: int = 320, height: int = 320, colour: str = "red", kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(out, kind)
    return out.getvalue()


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def body(**changes):
    subjects = [{"subject_image": b64(picture())}, {"subject_image": b64(picture(colour="teal", kind="JPEG"))}]
    return {"subject_image_list": subjects, "prompt": "two friends", **changes}


def client(emulator, key=None):
    headers = {"Authorization": f"Bearer {key or emulator.api_key}"}
    return httpx.Client(base_url=emulator.url, headers=headers, trust_env=False)


def create(http, gateway="cometapi", **changes):
    answer = http.post(PATHS[gateway], json=body(**changes))
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]["task_id"]


def query(http, task_id, gateway="cometapi"):
    answer = http.get(f"{PATHS[gateway]}/{task_id}")
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def result_urls(emulator, http, **changes):
    """The URLs of a new task's images."""
    task_id = create(http, **changes)
    emulator.advance(30)
    return [image["url"] for image in query(http, task_id)["task_result"]["images"]]


def download(url, **settings):
    return httpx.get(url, trust_env=False, **{"timeout": 60, **settings})
