"""Makes the files of results when they are first downloaded, and keeps the last ones."""

from __future__ import annotations

import asyncio
import io
import threading
from collections import OrderedDict

from PIL import Image

from airflow_kling.emulator.drawing import Order
from airflow_kling.emulator.endpoints import ResultList
from airflow_kling.emulator.fields import references_in
from airflow_kling.emulator.references import Reference, ReferenceStore
from airflow_kling.emulator.tasks import Task

_KEPT_BYTES = 64 * 1024 * 1024
_Key = tuple[str, str, int, bool]


class ResultFiles:
    """Draws and keeps results.

    :param references: holds the reference images
    :param long_side: pixels
    :param image_format: ``png``, ``jpeg`` or ``webp``
    """

    def __init__(self, references: ReferenceStore, long_side: int, image_format: str) -> None:
        self._references = references
        self._long_side = long_side
        self._image_format = image_format
        self._kept: OrderedDict[_Key, bytes] = OrderedDict()
        self._kept_bytes = 0
        self._lock = threading.Lock()

    def media_type(self, results: ResultList) -> str:
        """The content type of the list's files."""
        return results.media_type or f"image/{self._image_format}"

    def suffix(self, results: ResultList) -> str:
        """The file name extension of the list's files."""
        return self.media_type(results).partition("/")[2]

    async def file(self, task: Task, results: ResultList, index: int, *, watermark: bool) -> bytes:
        """The bytes of a result, the same ones each time."""
        key = (task.task_id, results.name, index, watermark)
        with self._lock:
            known = self._kept.get(key)
        if known is None:
            # In a thread: drawing takes long, and other requests are served meanwhile.
            known = await asyncio.to_thread(self._draw, task, results, index, watermark)
            self._keep(key, known)
        return known

    def _keep(self, key: _Key, data: bytes) -> None:
        with self._lock:
            # Two downloads at the same time may have drawn the same file.
            self._kept_bytes += len(data) - len(self._kept.get(key, b""))
            self._kept[key] = data
            while self._kept_bytes > _KEPT_BYTES and len(self._kept) > 1:
                self._kept_bytes -= len(self._kept.popitem(last=False)[1])

    def _draw(self, task: Task, results: ResultList, index: int, watermark: bool) -> bytes:
        fields = task.fields
        order = Order(
            fields=fields,
            pictures={
                name: [self._picture(task, reference) for reference in references_in(value)]
                for name, value in fields.items()
            },
            index=index,
            count=results.count(fields),
            seed=task.task_id,
            long_side=self._long_side,
            watermark=watermark,
        )
        drawn = results.draw(order)
        return encode(drawn, self._image_format) if isinstance(drawn, Image.Image) else drawn

    def _picture(self, task: Task, reference: Reference) -> Image.Image | None:
        return self._references.image(task.pictures.get(reference.url) if reference.url else reference.sha256)


def encode(image: Image.Image, image_format: str) -> bytes:
    """An image as the bytes of a ``png``, ``jpeg`` or ``webp`` file."""
    out = io.BytesIO()
    if image_format == "png":
        # Level 1: a third larger than the best, several times faster to make.
        image.save(out, "PNG", compress_level=1)
    else:
        image.save(out, image_format.upper(), quality=90)
    return out.getvalue()
