"""Checks an archive: it has the bytes that Kling serves, as the manifest lists them, and no other file."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import httpx
from PIL import Image

from deploy.local.paths import local_path


def check_archive(summary: dict[str, Any], finished: dict[str, Any], destination: Path) -> dict[str, Any]:
    """Compare an archive, byte by byte, with what the API serves; returns its manifest.

    :param finished: what the task that waited returns.
    """
    assert summary["kling_task_id"] == finished["kling_task_id"]
    urls = [image["url"] for image in finished["images"]]
    served = [httpx.get(url, trust_env=False).raise_for_status().content for url in urls]
    return check_files(summary, served, destination)


def check_files(summary: dict[str, Any], served: list[bytes], destination: Path) -> dict[str, Any]:
    """Compare an archive with the bytes that the API serves, by index; returns its manifest."""
    folder = destination / summary["kling_task_id"]
    assert set(summary) == {"manifest", "kling_task_id", "route", "images"}
    assert [image["index"] for image in summary["images"]] == list(range(len(served)))
    for image, content in zip(summary["images"], served, strict=True):
        _check_image(image, content, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert local_path(summary["manifest"]) == folder / "manifest.json"
    assert [image["sha256"] for image in manifest["images"]] == [image["sha256"] for image in summary["images"]]
    archived = {local_path(image["uri"]).name for image in summary["images"]}
    assert {file.name for file in folder.iterdir()} == archived | {"manifest.json"}
    return manifest


def _check_image(image: dict[str, Any], served: bytes, folder: Path) -> None:
    assert set(image) == {"index", "uri", "sha256", "bytes", "width", "height", "content_type"}
    path = local_path(image["uri"])
    assert path == folder / f"{image['index']}.png"
    assert path.read_bytes() == served
    assert image["sha256"] == hashlib.sha256(served).hexdigest()
    assert image["bytes"] == len(served)
    assert image["content_type"] == "image/png"
    assert Image.open(io.BytesIO(served)).size == (image["width"], image["height"])
