"""Result images as files: drawn when first downloaded, the last ones kept."""

from __future__ import annotations

import asyncio
import io
import threading
from collections import OrderedDict

from PIL import Image

from airflow_kling.emulator.drawing import Brief, compose
from airflow_kling.emulator.references import Reference, ReferenceStore
from airflow_kling.emulator.tasks import Task

_KEPT_BYTES = 64 * 1024 * 1024


class ResultImages:
    """Draws and keeps result images.

    :param references: where the pictures are
    :param long_side: pixels
    :param image_format: ``png``, ``jpeg`` or ``webp``
    """

    def __init__(self, references: ReferenceStore, long_side: int, image_format: str) -> None:
        self._references = references
        self._long_side = long_side
        self.image_format = image_format
        self._kept: OrderedDict[tuple[str, int, bool], bytes] = OrderedDict()
        self._kept_bytes = 0
        self._lock = threading.Lock()

    async def file(self, task: Task, index: int, *, watermark: bool) -> bytes:
        """The bytes of a result image: the same ones each time."""
        key = (task.task_id, index, watermark)
        with self._lock:
            known = self._kept.get(key)
        if known is None:
            known = await asyncio.to_thread(self._draw, task, index, watermark)
            self._keep(key, known)
        return known

    def _keep(self, key: tuple[str, int, bool], data: bytes) -> None:
        with self._lock:
            self._kept_bytes += len(data) - len(self._kept.get(key, b""))
            self._kept[key] = data
            while self._kept_bytes > _KEPT_BYTES and len(self._kept) > 1:
                self._kept_bytes -= len(self._kept.popitem(last=False)[1])

    def _draw(self, task: Task, index: int, watermark: bool) -> bytes:
        creation = task.creation
        brief = Brief(
            subjects=tuple(self._picture(task, reference) for reference in creation.subjects),
            scene=self._picture(task, creation.scene),
            style=self._picture(task, creation.style),
            prompt=creation.prompt,
            aspect_ratio=creation.aspect_ratio,
            index=index,
            count=creation.n,
            seed=task.task_id,
            watermark=watermark,
        )
        return encode(compose(brief, self._long_side), self.image_format)

    def _picture(self, task: Task, reference: Reference | None) -> Image.Image | None:
        if reference is None:
            return None
        key = task.pictures.get(reference.url) if reference.url else reference.sha256
        return self._references.image(key)


def encode(image: Image.Image, image_format: str) -> bytes:
    """An image as the bytes of a ``png``, ``jpeg`` or ``webp`` file."""
    out = io.BytesIO()
    if image_format == "png":
        # Level 1: a third larger than the best, several times faster to make.
        image.save(out, "PNG", compress_level=1)
    else:
        image.save(out, image_format.upper(), quality=90)
    return out.getvalue()
