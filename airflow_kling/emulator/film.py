"""Draws videos: a picture that moves, as MP4 (H.264) by PyAV, which is imported when a video is drawn."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from airflow_kling.emulator.drawing import Order, Size, compose, font, wrap
from airflow_kling.emulator.pictures import fit, references, shape, title, words

FRAMES_PER_SECOND = 12
LONG_SIDE = 512
"""Pixels, at most: a video is drawn in less than a second of CPU."""
_ZOOM = 1.2
"""How many times larger than the video its picture is."""
_SAMPLES_PER_SECOND = 24_000

Seconds = Callable[[Any], int]


def from_text(order: Order, *, seconds: Seconds) -> bytes:
    """Film the prompt, in the asked ratio."""
    order = _smaller(order)
    size = _even(shape(order, []))
    return encode(_moving(order, size, title(order, _larger(size))), seconds(order.fields), sound=_sound(order))


def from_pictures(order: Order, *, seconds: Seconds) -> bytes:
    """Film the picture, in its ratio; it turns into the last one where there is one."""
    first, last = order.picture("image"), order.picture("image_tail")
    return _film(_smaller(order), first, last, seconds)


def from_references(order: Order, *, seconds: Seconds) -> bytes:
    """Film the first frame or, without one, a collage of the references, or the prompt."""
    order = _smaller(order)
    given = dict(zip(_types(order), order.pictures.get("image_list", ()), strict=False))
    if "first_frame" in given:
        return _film(order, given["first_frame"], given.get("end_frame"), seconds)
    found = references(order, ("image_list", "element_list", "video_list"))
    if not found:
        return from_text(order, seconds=seconds)
    size = _even(shape(order, found))
    still = compose(order, found, _larger(size))
    return encode(_moving(order, size, still), seconds(order.fields), sound=_sound(order))


def _types(order: Order) -> list[str | None]:
    return [image["type"] for image in order.fields["image_list"]]


def _film(order: Order, first: Image.Image | None, last: Image.Image | None, seconds: Seconds) -> bytes:
    if first is None:
        return from_text(order, seconds=seconds)
    size = _even(shape(order, [first]) if order.fields.get("aspect_ratio") else fit(first.size, order.long_side))
    still, end = _cover(first, _larger(size)), _cover(last, _larger(size)) if last else None
    return encode(_moving(order, size, still, end), seconds(order.fields), sound=_sound(order))


def _smaller(order: Order) -> Order:
    return replace(order, long_side=min(order.long_side, LONG_SIDE))


def _even(size: Size) -> Size:
    # H.264 with colours of half the resolution has even sides.
    return max(2, size[0] // 2 * 2), max(2, size[1] // 2 * 2)


def _larger(size: Size) -> Size:
    return round(size[0] * _ZOOM), round(size[1] * _ZOOM)


def _sound(order: Order) -> bool:
    return order.fields.get("sound") == "on"


def _cover(picture: Image.Image, size: Size) -> Image.Image:
    from PIL import ImageOps

    return ImageOps.fit(picture.convert("RGB"), size, Image.Resampling.LANCZOS)


Frame = Callable[[float], Image.Image]
"""The picture at a moment of the video, from 0 to 1."""


def _moving(order: Order, size: Size, still: Image.Image, end: Image.Image | None = None) -> Frame:
    """A slow zoom into a picture while the camera moves to the right; with ``end`` it turns into that."""
    note = _note(order, size)

    def frame(moment: float) -> Image.Image:
        source = Image.blend(still, end, min(1.0, max(0.0, moment * 3 - 1))) if end else still
        # From all of the picture to a part as large as the video.
        wide, high = (part - (part - goal) * moment for part, goal in zip(still.size, size, strict=True))
        left, top = (still.width - wide) * moment, (still.height - high) / 2
        picture = source.resize(size, Image.Resampling.BILINEAR, (left, top, left + wide, top + high))
        picture.paste(note, (0, size[1] - note.height), note)
        done = round(size[0] * moment)
        picture.paste((255, 255, 255), (0, size[1] - max(2, size[1] // 100), max(1, done), size[1]))
        return picture

    return frame


def _note(order: Order, size: Size) -> Image.Image:
    """A strip with the prompt for the lower edge, which stays in its place."""
    letters = font(max(6, round(min(size) * 0.045)))
    lines = wrap(words(order), letters, round(size[0] * 0.94), 2)
    small = font(max(6, round(letters.size * 0.7)))
    high = min(size[1], round(letters.size * 1.3 * len(lines) + small.size * 1.9))
    strip = Image.new("RGBA", (size[0], high), (10, 10, 20, 150))
    pen, margin = ImageDraw.Draw(strip), round(size[0] * 0.03)
    for number, text in enumerate(lines):
        pen.text((margin, letters.size * (0.2 + 1.3 * number)), text, (255, 255, 255), letters)
    mark = "KLING AI  ·  " if order.watermark else ""
    pen.text(
        (margin, high - small.size * 0.6), f"{mark}Kling emulator  ·  task {order.seed}", (190, 196, 220), small, "ls"
    )
    return strip


def encode(frame: Frame, seconds: int, *, sound: bool) -> bytes:
    """A video of these seconds as MP4: H.264, yuv420p, the index in front, a quiet tone if there is sound."""
    try:
        import av
    except ImportError as error:
        raise RuntimeError(
            "The emulator draws videos with PyAV: pip install 'airflow-provider-kling[emulator]'"
        ) from error
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
    import array
    import math

    # One second that repeats without a step: 220 whole waves.
    turn = 2 * math.pi * 220 / _SAMPLES_PER_SECOND
    second = array.array("f", (0.02 * math.sin(turn * at) for at in range(_SAMPLES_PER_SECOND)))
    for number in range(seconds):
        frame = av.AudioFrame(format="fltp", layout="mono", samples=_SAMPLES_PER_SECOND)
        frame.planes[0].update(second.tobytes())
        frame.sample_rate, frame.pts = _SAMPLES_PER_SECOND, number * _SAMPLES_PER_SECOND
        frame.time_base = Fraction(1, _SAMPLES_PER_SECOND)
        yield frame
