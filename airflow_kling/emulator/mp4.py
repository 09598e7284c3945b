"""Writes and reads MP4 files by PyAV, which is imported when the first video is drawn or read."""

from __future__ import annotations

import array
import io
import math
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from PIL import Image

FRAMES_PER_SECOND = 12
_SAMPLES_PER_SECOND = 24_000
Frame = Callable[[float], Image.Image]
"""The picture at a moment of a video, from 0 to 1."""
MAX_VIDEO_BYTES = 200 * 1024 * 1024
"""[C]"""


@dataclass(frozen=True)
class VideoFacts:
    """What limits are about.

    :param width: pixels
    :param height: pixels
    :param rate: frames per second
    """

    seconds: float
    width: int
    height: int
    rate: float


def read_video(data: bytes) -> tuple[Image.Image, VideoFacts]:
    """The first frame and the facts of an MP4 or MOV file.

    :raises ValueError: another file
    """
    av = pyav()
    try:
        with av.open(io.BytesIO(data), format="mov") as container:
            stream = container.streams.video[0]
            frame = next(container.decode(stream)).to_image()
            seconds = container.duration / av.time_base
            return frame, VideoFacts(seconds, frame.width, frame.height, float(stream.average_rate or 0))
    except (av.FFmpegError, IndexError, StopIteration, TypeError) as error:
        raise ValueError("File is not a valid video, only MP4 and MOV are supported") from error


def pyav() -> Any:
    """The module ``av``.

    :raises RuntimeError: it is not installed
    """
    try:
        import av
    except ImportError as error:
        raise RuntimeError("The emulator needs PyAV: pip install 'airflow-provider-kling[emulator]'") from error
    return av


def encode(frame: Frame, seconds: int, *, sound: bool) -> bytes:
    """A video of these seconds as MP4: H.264, yuv420p, the index in front, a quiet tone if there is sound."""
    av = pyav()
    count = seconds * FRAMES_PER_SECOND
    with tempfile.TemporaryDirectory(prefix="kling-emulator-") as folder:
        # A file: moving the index to the front reads back what was written.
        file = Path(folder) / "video.mp4"
        with av.open(str(file), "w", options={"movflags": "+faststart", "fflags": "+bitexact"}) as container:
            first = frame(0.0)
            stream: Any = container.add_stream("libx264", rate=FRAMES_PER_SECOND)
            stream.width, stream.height, stream.pix_fmt = first.width, first.height, "yuv420p"
            stream.options = {"preset": "ultrafast", "crf": "27", "threads": "1"}
            tone: Any = _tone_stream(container) if sound else None
            for number in range(count):
                picture: Any = av.VideoFrame.from_image(frame(number / max(1, count - 1)))
                picture.pts, picture.time_base = number, Fraction(1, FRAMES_PER_SECOND)
                container.mux(stream.encode(picture))
            container.mux(stream.encode())
            if tone is not None:
                for part in _tone(av, seconds):
                    container.mux(tone.encode(part))
                container.mux(tone.encode())
        return file.read_bytes()


def _tone_stream(container: Any) -> Any:
    stream = container.add_stream("aac", rate=_SAMPLES_PER_SECOND)
    stream.layout, stream.bit_rate = "mono", 32_000
    return stream


def _tone(av: Any, seconds: int) -> Iterator[Any]:
    """A quiet sine of 220 Hz."""
    # One second that repeats without a step: 220 whole waves.
    turn = 2 * math.pi * 220 / _SAMPLES_PER_SECOND
    second = array.array("f", (0.02 * math.sin(turn * at) for at in range(_SAMPLES_PER_SECOND)))
    for number in range(seconds):
        frame = av.AudioFrame(format="fltp", layout="mono", samples=_SAMPLES_PER_SECOND)
        frame.planes[0].update(second.tobytes())
        frame.sample_rate, frame.pts = _SAMPLES_PER_SECOND, number * _SAMPLES_PER_SECOND
        frame.time_base = Fraction(1, _SAMPLES_PER_SECOND)
        yield frame
