"""Draws the pictures of the routes that are no collage: from a prompt, expanded, tried on."""

from __future__ import annotations

import colorsys
import random
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps

from airflow_kling.emulator.drawing import Colour, Order, Size, caption, compose, font, result_size, studio, wrap
from airflow_kling.emulator.image_rules import SIDES

WHITE = (255, 255, 255)


def from_prompt(order: Order, *, subjects: Sequence[str]) -> Image.Image:
    """Draw the prompt as a picture or, with references, a collage of them."""
    found = references(order, subjects)
    size = shape(order, found)
    if not found:
        return title(order, size)
    canvas = compose(order, found, size)
    caption(canvas, order)
    return canvas


def references(order: Order, fields: Sequence[str]) -> list[Image.Image | None]:
    """The pictures of these fields, with a card for each element, which the emulator knows by its id only."""
    found = [picture for field in fields for picture in order.pictures.get(field, ())]
    elements = (part["element_id"] for part in order.fields.get("element_list") or ())
    return found + [_element(number) for number in elements]


def shape(order: Order, found: Sequence[Image.Image | None]) -> Size:
    """Width and height: as asked, or those of the first picture for ``auto`` and where nothing was asked."""
    asked = order.fields.get("aspect_ratio")
    if asked not in (None, "", "auto"):
        return result_size(str(asked), order.long_side)
    first = next((picture for picture in found if picture), None)
    return fit(first.size, order.long_side) if first else result_size("1:1", order.long_side)


def fit(size: Size, long_side: int) -> Size:
    """A size scaled so that its longer side has these pixels."""
    scale = long_side / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def title(order: Order, size: Size, *, stamped: bool = True) -> Image.Image:
    """Write the prompt in large letters on coloured light.

    :param stamped: write small what the picture is, and its number
    """
    chance = random.Random(f"{order.seed}/{order.index}")
    canvas = studio([_vivid(chance), _vivid(chance)], size, chance)
    letters = font(max(8, round(min(size) * 0.09)))
    lines = wrap(words(order), letters, round(size[0] * 0.86), 6)
    line = letters.size * 1.3
    y = (size[1] - line * (len(lines) - 1)) / 2
    pen = ImageDraw.Draw(canvas)
    for text in lines:
        pen.text((size[0] / 2, y), text, WHITE, letters, "mm", stroke_width=1, stroke_fill=(0, 0, 0))
        y += line
    if stamped:
        _stamp(pen, order, size)
    return canvas


def _vivid(chance: random.Random) -> Colour:
    red, green, blue = colorsys.hls_to_rgb(chance.random(), 0.45, 0.85)
    return round(red * 255), round(green * 255), round(blue * 255)


def words(order: Order) -> str:
    """The prompt or, without one, the prompts of the shots."""
    shots = order.fields.get("multi_prompt") or ()
    return order.fields.get("prompt") or "  ·  ".join(str(shot["prompt"]) for shot in shots) or "(no prompt)"


def expansion(order: Order) -> Image.Image:
    """Draw the picture with what was added around it: the edge of the original stays visible."""
    source = (order.picture("image") or _element(0)).convert("RGB")
    up, down, left, right = (float(order.fields[name]) for name in SIDES)
    whole = (source.width * (1 + left + right), source.height * (1 + up + down))
    scale = order.long_side / max(whole)
    size = (max(1, round(whole[0] * scale)), max(1, round(whole[1] * scale)))
    inner = source.resize((max(1, round(source.width * scale)), max(1, round(source.height * scale))))
    corner = (round(left * source.width * scale), round(up * source.height * scale))
    # The surroundings are the picture itself, stretched, darker and out of focus, in another tint for each result.
    canvas = source.resize(size).filter(ImageFilter.GaussianBlur(max(size) * 0.04))
    tint = Image.new("RGB", size, f"hsl({random.Random(f'{order.seed}/{order.index}').randrange(360)}, 60%, 55%)")
    canvas = ImageEnhance.Brightness(Image.blend(canvas, tint, 0.25)).enhance(0.6)
    canvas.paste(inner, corner)
    pen, pad = ImageDraw.Draw(canvas), max(1, round(max(size) * 0.004))
    box = (*corner, corner[0] + inner.width - 1, corner[1] + inner.height - 1)
    pen.rectangle(box, outline=WHITE, width=pad)
    _stamp(pen, order, size)
    return canvas


def try_on(order: Order) -> Image.Image:
    """Paste the garment on the person, where the upper part of a body is."""
    person = (order.picture("human_image") or _element(1)).convert("RGB")
    garment = order.picture("cloth_image") or _element(2)
    canvas = person.resize(fit(person.size, order.long_side), Image.Resampling.LANCZOS)
    room = (round(canvas.width * 0.6), round(canvas.height * 0.42))
    cut = ImageOps.contain(_cut_out(garment.convert("RGBA")), room, Image.Resampling.LANCZOS)
    corner = ((canvas.width - cut.width) // 2, round(canvas.height * 0.25))
    shadow = cut.getchannel("A").filter(ImageFilter.GaussianBlur(max(2, max(canvas.size) * 0.01)))
    canvas.paste((20, 20, 26), (corner[0], corner[1] + round(canvas.height * 0.01)), shadow.point(_half))
    canvas.paste(cut, corner, cut)
    _stamp(ImageDraw.Draw(canvas), order, canvas.size)
    return canvas


_half = [value // 2 for value in range(256)]


def _cut_out(garment: Image.Image) -> Image.Image:
    """A garment without the white around it, as product photos have it."""
    grey = garment.convert("L")
    mask = grey.point([0 if value > 244 else 255 for value in range(256)]).filter(ImageFilter.MedianFilter(3))
    # A white shirt on white would be gone: then all of it stays.
    if sum(mask.histogram()[255:]) > garment.width * garment.height * 0.05:
        alpha = Image.new("L", garment.size, 0)
        alpha.paste(garment.getchannel("A"), mask=mask)
        garment.putalpha(alpha)
        return garment.crop(alpha.getbbox())
    return garment


def _element(number: int) -> Image.Image:
    """A card for something that has no picture here."""
    card = Image.new("RGB", (400, 400), f"hsl({number % 360}, 45%, 60%)")
    pen = ImageDraw.Draw(card)
    pen.ellipse((60, 40, 340, 320), fill=(245, 245, 240))
    pen.text((200, 180), "element", (40, 40, 60), font(48), "mm")
    pen.text((200, 360), str(number), WHITE, font(28), "mm")
    return card


def _stamp(pen: ImageDraw.ImageDraw, order: Order, size: Size) -> None:
    """Write small what the picture is, and its number, each on a dark label."""
    letters, margin = font(max(6, round(min(size) * 0.026))), round(min(size) * 0.03)
    _label(pen, f"Kling emulator  ·  task {order.seed}", (margin, size[1] - margin), "ls", letters)
    _label(pen, f"{order.index + 1} / {order.count}", (size[0] - margin, margin), "rt", letters)
    if order.watermark:
        _label(pen, "KLING AI", (margin, margin), "lt", font(round(letters.size * 2)))


def _label(
    pen: ImageDraw.ImageDraw, text: str, at: tuple[int, int], anchor: str, letters: ImageFont.FreeTypeFont
) -> None:
    left, top, right, bottom = pen.textbbox(at, text, letters, anchor)
    pad = letters.size * 0.4
    pen.rounded_rectangle((left - pad, top - pad, right + pad, bottom + pad), radius=pad, fill=(16, 18, 28))
    pen.text(at, text, WHITE, letters, anchor)
