"""Draws the references and the results of a run into one picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import av
from PIL import Image, ImageDraw, ImageFont, ImageOps

_CELL = 300
_GAP = 24
_CAPTION = 34
_ROW = _CAPTION + _CELL + _CAPTION
_PAPER, _INK, _FAINT = "#ffffff", "#22262b", "#6b7280"

#: Pictures with a line below each of them.
Captioned = Sequence[tuple[str, Image.Image]]


def write_contact_sheet(file: Path, prompt: str, rows: Sequence[tuple[str, Captioned]]) -> None:
    """Draw rows of pictures, each with its title, and save them as PNG."""
    columns = max(len(pictures) for _, pictures in rows)
    height = _GAP + _CAPTION + len(rows) * (_ROW + _GAP)
    sheet = Image.new("RGB", (columns * (_CELL + _GAP) + _GAP, height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((_GAP, _GAP), prompt, font=ImageFont.load_default(18), fill=_INK)
    for number, (title, pictures) in enumerate(rows):
        top = _GAP + _CAPTION + number * (_ROW + _GAP)
        draw.text((_GAP, top), title, font=ImageFont.load_default(20), fill=_INK)
        for column, (caption, picture) in enumerate(pictures):
            _place(sheet, picture, (_GAP + column * (_CELL + _GAP), top + _CAPTION), caption)
    sheet.save(file)


def read_picture(path: Path) -> Image.Image:
    """Read an image."""
    with Image.open(path) as opened:
        return opened.convert("RGB")


def read_frames(path: Path, moments: Sequence[float]) -> Captioned:
    """Read the frames of a video that are shown at these seconds, each with its time."""
    with av.open(str(path)) as container:
        return [(f"{moment:.1f} s", _frame_at(container, moment)) for moment in moments]


def _frame_at(container: av.container.InputContainer, moment: float) -> Image.Image:
    container.seek(int(moment * av.time_base))  # to the last frame before it that can be decoded alone
    for frame in container.decode(video=0):
        found = frame
        if frame.time is not None and frame.time >= moment:
            break
    picture: Image.Image = found.to_image()  # type: ignore[no-untyped-call]
    return picture


def _place(sheet: Image.Image, picture: Image.Image, corner: tuple[int, int], caption: str) -> None:
    fitted = ImageOps.contain(picture, (_CELL, _CELL), Image.Resampling.LANCZOS)
    x, y = corner
    sheet.paste(fitted, (x + (_CELL - fitted.width) // 2, y + (_CELL - fitted.height) // 2))
    ImageDraw.Draw(sheet).text((x, y + _CELL + 8), caption, font=ImageFont.load_default(15), fill=_FAINT)
