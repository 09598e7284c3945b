"""Checks reference images and keeps small copies of them to draw with.

Some faults of an image refuse the request at once, others make the task fail later.
"""

from __future__ import annotations

import hashlib
import io
import threading
from collections import OrderedDict
from dataclasses import dataclass

from PIL import Image

from airflow_kling.emulator.errors import BAD_PIXELS
from airflow_kling.emulator.mp4 import MAX_VIDEO_BYTES, VideoFacts, read_video

# The limits of Kling's documentation [C].
MAX_BYTES = 10 * 1024 * 1024
MIN_SIDE = 300
"""Pixels."""
MAX_STRETCH = 2.5
"""The longer side over the shorter one."""
# A limit of ours: a small file can hold a picture that fills the memory.
MAX_PIXELS = 100_000_000
_KEPT_SIDE = 768
_KEPT_COUNT = 512


_Known = tuple[Image.Image, tuple[int, int]]
"""A small copy, and the width and the height of the original."""


class NotAnImage(ValueError):
    """Bytes that Kling does not take for a reference image, or for a video."""


@dataclass(frozen=True)
class Reference:
    """A reference image of a request, or a video.

    :param url: where to fetch it; None for an inline one
    :param sha256: hash of an inline image's bytes, its key in the :class:`ReferenceStore`
    :param size: bytes of an inline image
    :param problem: why the task will fail, for an image that is accepted first
    :param stretch: how many times longer than the shorter side the longer one may be; None for no limit
    :param kind: ``image`` or ``video``
    :param video: what a video is like, once it has been fetched
    """

    url: str | None = None
    sha256: str | None = None
    size: int = 0
    problem: str | None = None
    stretch: float | None = MAX_STRETCH
    kind: str = "image"
    video: VideoFacts | None = None

    @property
    def most_bytes(self) -> int:
        """How large its file may be."""
        return MAX_VIDEO_BYTES if self.kind == "video" else MAX_BYTES


def size_problem(width: int, height: int, stretch: float | None = MAX_STRETCH) -> str | None:
    """Why Kling fails a task with a reference of this size in pixels, None for a good one."""
    short, long = sorted((width, height))
    return BAD_PIXELS if short < MIN_SIDE or (stretch is not None and long > stretch * short) else None


class ReferenceStore:
    """Scaled-down copies of the last reference images seen, by the hash of their bytes.

    Bounded in number and in size, so that ten thousand tasks with the same pictures hold each picture once.
    """

    def __init__(self, kept: int = _KEPT_COUNT) -> None:
        self._kept = kept
        self._images: OrderedDict[str, _Known] = OrderedDict()
        self._lock = threading.Lock()

    def admit(self, data: bytes, stretch: float | None = MAX_STRETCH) -> Reference:
        """Check the bytes of an image and keep a copy to draw with.

        :param stretch: how many times longer than the shorter side the longer one may be; None for no limit
        :raises NotAnImage: too many bytes, or neither JPEG nor PNG
        """
        if len(data) > MAX_BYTES:
            raise NotAnImage("File size exceeds the limit of 10MB")
        key = hashlib.sha256(data).hexdigest()
        with self._lock:
            known = self._images.get(key)
            if known is not None:
                self._images.move_to_end(key)
        if known is None:
            known = _decode(data)
            self._keep(key, known)
        return Reference(sha256=key, size=len(data), problem=size_problem(*known[1], stretch), stretch=stretch)

    def admit_video(self, data: bytes) -> Reference:
        """Read a video and keep its first frame to draw with.

        :raises NotAnImage: neither MP4 nor MOV, or PyAV is not installed
        """
        try:
            frame, facts = read_video(data)
        except (ValueError, RuntimeError) as error:
            raise NotAnImage(str(error)) from error
        key, size = hashlib.sha256(data).hexdigest(), frame.size
        frame.thumbnail((_KEPT_SIDE, _KEPT_SIDE))
        self._keep(key, (frame, size))
        return Reference(sha256=key, size=len(data), kind="video", video=facts)

    def _keep(self, key: str, known: _Known) -> None:
        with self._lock:
            self._images[key] = known
            while len(self._images) > self._kept:
                self._images.popitem(last=False)

    def image(self, key: str | None) -> Image.Image | None:
        """The kept copy; None if newer images have taken its place."""
        with self._lock:
            known = self._images.get(key or "")
        return known[0] if known else None


def _decode(data: bytes) -> _Known:
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG", "PNG")) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise NotAnImage("Image has too many pixels")
            image.load()
            transparent = image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info
            small = image.convert("RGBA" if transparent else "RGB")
    except NotAnImage:
        raise
    except Exception as error:  # Pillow raises many kinds for a damaged file; all mean the same here
        raise NotAnImage("File is not a valid image, only JPEG and PNG are supported") from error
    small.thumbnail((_KEPT_SIDE, _KEPT_SIDE))
    return small, (width, height)
