"""Draws videos: a picture that moves, with the prompt at its lower edge."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from PIL import Image, ImageDraw, ImageOps

from airflow_kling.emulator.drawing import Order, Size, compose, font, wrap
from airflow_kling.emulator.mp4 import Frame, encode
from airflow_kling.emulator.pictures import fit, references, shape, title, words

LONG_SIDE = 512
"""Pixels, at most: a video is drawn in less than a second of CPU."""
_ZOOM = 1.2
"""How many times larger than the video its picture is."""

Seconds = Callable[[Any], int]


def from_text(order: Order, *, seconds: Seconds) -> bytes:
    """Film the prompt, in the asked ratio."""
    order = _smaller(order)
    size = _even(shape(order, []))
    still = title(order, _larger(size), stamped=False)
    return encode(_moving(order, size, still, text=""), seconds(order.fields), sound=_sound(order))


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
    return ImageOps.fit(picture.convert("RGB"), size, Image.Resampling.LANCZOS)


def _moving(
    order: Order, size: Size, still: Image.Image, end: Image.Image | None = None, text: str | None = None
) -> Frame:
    """A slow zoom into a picture while the camera moves to the right; with ``end`` it turns into that.

    :param text: for the strip at the lower edge, in place of the prompt
    """
    note = _note(order, size, words(order) if text is None else text)

    def frame(moment: float) -> Image.Image:
        source = Image.blend(still, end, min(1.0, max(0.0, moment * 3 - 1))) if end else still
        # From all of the picture to a part as large as the video.
        wide, high = (part - (part - goal) * moment for part, goal in zip(still.size, size, strict=True))
        left, top = (still.width - wide) * moment, (still.height - high) / 2
        picture = source.resize(size, Image.Resampling.BILINEAR, (left, top, left + wide, top + high))
        picture.paste(note, (0, size[1] - note.height))
        done = round(size[0] * moment)
        picture.paste((255, 255, 255), (0, size[1] - max(2, size[1] // 100), max(1, done), size[1]))
        return picture

    return frame


def _note(order: Order, size: Size, text: str) -> Image.Image:
    """A strip with a text for the lower edge, which stays in its place."""
    letters = font(max(6, round(min(size) * 0.045)))
    lines = wrap(text, letters, round(size[0] * 0.94), 2) if text else []
    small = font(max(6, round(letters.size * 0.7)))
    high = min(size[1], round(letters.size * 1.3 * len(lines) + small.size * 2.2))
    strip = Image.new("RGB", (size[0], high), (10, 10, 20))  # nothing through it: the picture may have a caption too
    pen, margin = ImageDraw.Draw(strip), round(size[0] * 0.03)
    for number, line in enumerate(lines):
        pen.text((margin, letters.size * (0.2 + 1.3 * number)), line, (255, 255, 255), letters)
    mark = f"{'KLING AI  ·  ' if order.watermark else ''}Kling emulator  ·  task {order.seed}"
    pen.text((margin, high - small.size * 0.9), mark, (190, 196, 220), small, "ls")
    return strip
