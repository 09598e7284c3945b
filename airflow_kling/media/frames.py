"""Decodes the first and the last frame of a video, and draws its poster, with PyAV (the extra ``video``).

PyAV brings FFmpeg along. It gives up the interpreter's lock while it decodes, takes no thread of its own here, and
writes no log: its default is a callback of C that drops every line. So it runs in any thread. Its memory is that of
some frames: the size of a frame is limited before, and one video is decoded at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any, BinaryIO, Final

from airflow_kling.media.decode import one_at_a_time
from airflow_kling.media.errors import BrokenVideo

#: Codecs that are decoded, by the name that the file gives them. Of another one the structure is the proof.
DECODED: Final = frozenset({"avc1", "avc3", "hvc1", "hev1", "av01", "vp09"})
#: Pixels of a frame that is decoded, a little more than 4K: a decoder keeps some 8 frames of 1.5 bytes a pixel.
MAX_FRAME: Final = 4096 * 2304
#: Pixels that are decoded on the way to the last frame; some 10 seconds.
_MAX_WORK: Final = 2_000_000_000
#: Pixels of the poster's long side.
POSTER_SIDE: Final = 1280
_QUALITY = 85  # of the poster


@dataclass(frozen=True)
class Picture:
    """A drawn poster.

    :param width: pixels.
    :param height: pixels.
    """

    jpeg: bytes
    width: int
    height: int


def is_available() -> bool:
    """Tell whether PyAV is installed, and works."""
    try:
        import av  # noqa: F401
    except ImportError:
        return False
    return True


def verify_frames(file: BinaryIO, codec: str, *, pixels: int) -> None:
    """Decode the first and the last frame, where PyAV is there and this is cheap; nothing happens elsewhere.

    :param file: a whole MP4.
    :param codec: of its pictures, as the file names it.
    :param pixels: of one frame, as the file says.
    :raises BrokenVideo: one of them cannot be decoded.
    """
    if codec not in DECODED or pixels > MAX_FRAME or not is_available():
        return
    try:
        with _video(file) as (container, stream):
            if next(container.decode(stream), None) is None:
                raise BrokenVideo("it has no frame")
            container.seek((stream.start_time or 0) + (stream.duration or 0), stream=stream, backward=True)
            if not _reaches_the_end(container.decode(stream)):
                raise BrokenVideo("its last frame cannot be decoded")
    except BrokenVideo:
        raise
    except Exception as error:  # PyAV has an error for each of FFmpeg's, and some of its own
        raise BrokenVideo(f"its frames cannot be decoded ({error})") from error


def draw_poster(file: BinaryIO) -> Picture:
    """Draw the first frame, scaled down to :data:`POSTER_SIDE` pixels at most.

    :raises Exception: PyAV, FFmpeg or Pillow cannot; each has errors of its own.
    """
    with _video(file) as (container, stream):
        frame = next(container.decode(stream))
        scale = min(1.0, POSTER_SIDE / max(frame.width, frame.height))
        width, height = (max(1, round(side * scale)) for side in (frame.width, frame.height))
        jpeg = BytesIO()
        frame.to_image(width=width, height=height).save(jpeg, "JPEG", quality=_QUALITY)
    return Picture(jpeg.getvalue(), width, height)


@contextmanager
def _video(file: BinaryIO) -> Iterator[tuple[Any, Any]]:
    """Open a file and its first video stream, for a decoder in this thread."""
    import av

    file.seek(0)
    with one_at_a_time, av.open(file, format="mp4") as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        stream.codec_context.thread_count = 1
        # The stream has a size of its own, which the file may not say; its sides are multiples of up to 64.
        stream.codec_context.options = {"max_pixels": str(2 * MAX_FRAME)}
        yield container, stream


def _reaches_the_end(frames: Iterator[Any]) -> bool:
    """Decode to the last frame, unless it is too far away; tell whether there was any."""
    last, work = None, 0
    for last in frames:
        work += last.width * last.height
        if work > _MAX_WORK:
            return True
    return last is not None and not last.is_corrupt
