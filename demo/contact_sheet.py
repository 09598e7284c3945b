"""Draws the references and the results of a run into one picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

_CELL = 300
_GAP = 24
_CAPTION = 34
_PAPER, _INK, _FAINT = "#ffffff", "#22262b", "#6b7280"


def write_contact_sheet(
    file: Path, prompt: str, inputs: Sequence[tuple[str, Path]], outputs: Sequence[tuple[str, Path]]
) -> None:
    """Draw two rows, the references above the results, and save them as PNG."""
    columns = max(len(inputs), len(outputs))
    row = _CAPTION + _CELL + _CAPTION
    sheet = Image.new("RGB", (columns * (_CELL + _GAP) + _GAP, _GAP + _CAPTION + 2 * (row + _GAP)), _PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((_GAP, _GAP), prompt, font=ImageFont.load_default(18), fill=_INK)
    for number, (title, images) in enumerate((("References", inputs), ("Archived images", outputs))):
        top = _GAP + _CAPTION + number * (row + _GAP)
        draw.text((_GAP, top), title, font=ImageFont.load_default(20), fill=_INK)
        for column, (caption, path) in enumerate(images):
            _place(sheet, path, (_GAP + column * (_CELL + _GAP), top + _CAPTION), caption)
    sheet.save(file)


def _place(sheet: Image.Image, path: Path, corner: tuple[int, int], caption: str) -> None:
    with Image.open(path) as opened:
        picture = ImageOps.contain(opened.convert("RGB"), (_CELL, _CELL), Image.Resampling.LANCZOS)
    x, y = corner
    sheet.paste(picture, (x + (_CELL - picture.width) // 2, y + (_CELL - picture.height) // 2))
    ImageDraw.Draw(sheet).text((x, y + _CELL + 8), caption, font=ImageFont.load_default(15), fill=_FAINT)
