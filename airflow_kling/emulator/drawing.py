"""Draws results: the subjects on the scene, tinted by the style, with the prompt as caption."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image, ImageChops, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps, ImageStat

Size = tuple[int, int]
Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Order:
    """What to draw.

    :param fields: the checked fields of the request
    :param pictures: the reference images of each field; None for one that is no longer kept
    :param index: which one of the ``count`` results, from 0
    :param seed: text from which every random number is drawn
    :param long_side: pixels of the result
    """

    fields: Mapping[str, Any]
    pictures: Mapping[str, Sequence[Image.Image | None]]
    index: int
    count: int
    seed: str
    long_side: int
    watermark: bool = False

    def picture(self, field: str) -> Image.Image | None:
        """The image of a field, None without one."""
        return next(iter(self.pictures.get(field, ())), None)


def result_size(aspect_ratio: str, long_side: int) -> Size:
    """Width and height in pixels, e.g. 1024 x 576 for ``16:9``."""
    width, height = (int(part) for part in aspect_ratio.split(":"))
    scale = long_side / max(width, height)
    return round(width * scale), round(height * scale)


def collage(order: Order, *, subjects: Sequence[str] = (), scene: str = "", style: str = "") -> Image.Image:
    """Draw a collage, the same one for the same order.

    :param subjects: the fields whose images are put side by side
    :param scene: the field whose image is the background
    :param style: the field whose image gives the colours
    """
    size = result_size(order.fields.get("aspect_ratio") or "1:1", order.long_side)
    found = [image for field in subjects for image in order.pictures.get(field, ())]
    canvas = compose(order, found, size, scene=order.picture(scene), style=order.picture(style))
    caption(canvas, order)
    return canvas


def compose(
    order: Order,
    subjects: Sequence[Image.Image | None],
    size: Size,
    *,
    scene: Image.Image | None = None,
    style: Image.Image | None = None,
) -> Image.Image:
    """Put subjects side by side on a scene, tinted by a style."""
    chance = random.Random(f"{order.seed}/{order.index}")
    # A request without pictures has one subject all the same.
    cards = [image or _substitute(order.seed, position) for position, image in enumerate(subjects or [None])]
    # Each result has another subject in front.
    turn = order.index % len(cards)
    canvas = _background(order, scene, cards, size, chance)
    _place(canvas, cards[turn:] + cards[:turn], chance)
    return _vignette(_tint(canvas, style))


def _substitute(seed: str, position: int) -> Image.Image:
    hue = random.Random(f"{seed}#{position}").randrange(360)
    return Image.new("RGB", (400, 500), f"hsl({hue}, 45%, 60%)")


def _mean(image: Image.Image) -> Colour:
    red, green, blue = ImageStat.Stat(image.convert("RGB").resize((32, 32))).mean[:3]
    return int(red), int(green), int(blue)


def _mix(first: Colour, second: Colour, share: float) -> Colour:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def _background(
    order: Order, scene: Image.Image | None, subjects: list[Image.Image], size: Size, chance: random.Random
) -> Image.Image:
    if scene is None:
        return studio([_mean(image) for image in subjects], size, chance)
    # A different crop for each result, as if the camera had moved.
    centre = ((order.index + 1) / (order.count + 1), chance.uniform(0.35, 0.65))
    zoom = chance.uniform(1.02, 1.18)
    wide = ImageOps.fit(scene.convert("RGB"), (round(size[0] * zoom), round(size[1] * zoom)), centering=centre)
    left = round((wide.width - size[0]) * centre[0])
    top = round((wide.height - size[1]) * centre[1])
    canvas = wide.crop((left, top, left + size[0], top + size[1]))
    if order.index % 2:
        canvas = ImageOps.mirror(canvas)
    # Slightly out of focus: it sets the subjects off.
    return canvas.filter(ImageFilter.GaussianBlur(max(size) * 0.003))


def studio(colours: list[Colour], size: Size, chance: random.Random) -> Image.Image:
    """A backdrop in the subjects' colours with soft lights."""
    light = _mix(chance.choice(colours), (255, 255, 255), 0.55)
    dark = _mix(chance.choice(colours), (22, 24, 46), 0.6)
    ramp = Image.linear_gradient("L").rotate(chance.choice((0, 180)))
    canvas = Image.composite(Image.new("RGB", (256, 256), light), Image.new("RGB", (256, 256), dark), ramp)
    lights = Image.new("L", (256, 256), 0)
    pen = ImageDraw.Draw(lights)
    for _ in range(14):
        x, y, radius = chance.uniform(0, 256), chance.uniform(0, 256), chance.uniform(8, 44)
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=chance.randrange(25, 80))
    glow = _mix(chance.choice(colours), (255, 244, 214), 0.7)
    canvas.paste(Image.new("RGB", (256, 256), glow), (0, 0), lights.filter(ImageFilter.GaussianBlur(3)))
    return canvas.resize(size, Image.Resampling.BICUBIC)


def _place(canvas: Image.Image, subjects: list[Image.Image], chance: random.Random) -> None:
    """Put the subjects side by side, overlapping a little, the first one largest and in front."""
    spots = _spots(len(subjects), canvas.size)
    for rank, (x, y, wide, high) in enumerate(spots):
        scale = 0.8 + 0.2 * (rank + 1) / len(spots)
        card = _card(subjects[len(spots) - 1 - rank], (wide * scale, high * scale), chance.uniform(-6, 6))
        left = round(x + chance.uniform(-0.04, 0.04) * wide - card.width / 2)
        top = round(y + chance.uniform(-0.03, 0.03) * high - card.height / 2)
        _drop_shadow(canvas, card, left, top)
        canvas.paste(card, (left, top), card)


def _spots(count: int, size: Size) -> list[tuple[float, float, float, float]]:
    """Centre, width and height of the room for each picture; those in the middle come last, so they lie on top."""
    width, height = size
    rows = 2 if count > 2 and height > width * 0.9 else 1
    per_row = [count // rows + (row < count % rows) for row in reversed(range(rows))]
    spots = []
    for row, columns in enumerate(per_row):
        slot = width * 0.9 / columns
        y = height * (0.05 + 0.76 * (row + 0.5) / rows)
        for column in range(columns):
            x = width * 0.05 + slot * (column + 0.5)
            room = min(slot * 1.22, width * 0.62)
            spots.append((abs(x - width / 2), x, y, room, height * 0.7 / rows**0.85))
    return [spot[1:] for spot in sorted(spots, reverse=True)]


def _card(subject: Image.Image, room: tuple[float, float], angle: float) -> Image.Image:
    """A subject as it is pasted: cut-outs as they are, photographs as prints with a white edge and round corners."""
    target = (max(8, round(room[0])), max(8, round(room[1])))
    picture = ImageOps.contain(subject.convert("RGBA"), target, Image.Resampling.LANCZOS)
    if subject.mode != "RGBA":
        edge = max(2, round(max(picture.size) * 0.02))
        picture = ImageOps.expand(picture, edge, (250, 249, 246, 255))
        mask = Image.new("L", (picture.width * 2, picture.height * 2), 0)
        ImageDraw.Draw(mask).rounded_rectangle((0, 0, mask.width - 1, mask.height - 1), radius=edge * 4, fill=255)
        picture.putalpha(mask.resize(picture.size, Image.Resampling.LANCZOS))
    return picture.rotate(angle, Image.Resampling.BICUBIC, expand=True)


def _drop_shadow(canvas: Image.Image, card: Image.Image, x: int, y: int) -> None:
    blur = max(2, round(max(canvas.size) * 0.012))
    shadow = ImageOps.expand(card.getchannel("A"), blur * 2, 0).filter(ImageFilter.GaussianBlur(blur))
    shadow = shadow.point([round(value * 0.55) for value in range(256)])
    canvas.paste(Image.new("RGB", shadow.size, (8, 8, 18)), (x - blur * 2, y - blur), shadow)


def _tint(canvas: Image.Image, style: Image.Image | None) -> Image.Image:
    """Lend the picture the colours and a hint of the texture of the style image."""
    if style is None:
        return canvas
    sheet = ImageOps.fit(style.convert("RGB"), canvas.size)
    colours = sheet.filter(ImageFilter.GaussianBlur(max(canvas.size) * 0.06))
    tinted = Image.blend(canvas, ImageChops.soft_light(canvas, colours), 0.8)
    texture = sheet.filter(ImageFilter.GaussianBlur(max(canvas.size) * 0.004))
    tinted = Image.blend(tinted, ImageChops.overlay(tinted, texture), 0.12)
    return ImageEnhance.Color(Image.blend(tinted, Image.new("RGB", canvas.size, _mean(style)), 0.1)).enhance(1.15)


def _vignette(canvas: Image.Image) -> Image.Image:
    falloff = Image.radial_gradient("L").point([min(255, max(0, (value - 120) * 2 // 3)) for value in range(256)])
    dark = Image.new("RGB", canvas.size, (6, 6, 16))
    return Image.composite(dark, canvas, falloff.resize(canvas.size))


def caption(canvas: Image.Image, order: Order) -> None:
    """Write the prompt on a dark bar at the bottom, and the result's number at the top right."""
    width, height = canvas.size
    margin = round(min(width, height) * 0.04)
    text_size = max(7, round(min(width, height) * 0.038))
    letters = font(text_size)
    lines = wrap(order.fields.get("prompt") or "(no prompt)", letters, width - 2 * margin, 3)
    line = round(text_size * 1.3)
    note = font(max(6, round(text_size * 0.62)))
    bar = margin * 3 + line * len(lines) + round(text_size * 0.9)
    shade = Image.new("L", (1, bar))
    shade.putdata([min(205, 520 * y // bar) for y in range(bar)])
    canvas.paste(Image.new("RGB", (width, bar), (10, 10, 20)), (0, height - bar), shade.resize((width, bar)))
    pen = ImageDraw.Draw(canvas)
    y = height - bar + 2 * margin
    for text in lines:
        pen.text((margin, y), text, font=letters, fill=(255, 255, 255))
        y += line
    pen.text((margin, y), f"Kling emulator  ·  task {order.seed}", font=note, fill=(176, 182, 206))
    _badge(pen, f"{order.index + 1} / {order.count}", width - margin, margin, letters)
    if order.watermark:
        pen.text(
            (margin, margin), "KLING AI", font=letters, fill=(255, 255, 255), stroke_width=1, stroke_fill=(0, 0, 0)
        )


def _badge(pen: ImageDraw.ImageDraw, text: str, right: int, top: int, font: ImageFont.FreeTypeFont) -> None:
    pad = font.size * 0.5
    wide, high = pen.textlength(text, font=font) + 2 * pad, font.size + 1.2 * pad
    pen.rounded_rectangle((right - wide, top, right, top + high), radius=high / 2, fill=(255, 255, 255))
    pen.text((right - wide / 2, top + high / 2), text, font=font, fill=(20, 20, 36), anchor="mm")


def font(size: int) -> ImageFont.FreeTypeFont:
    """Letters of this height in pixels."""
    # Any font of the machine may be missing, the one inside Pillow is not; it knows Latin letters only.
    try:
        return ImageFont.truetype("DejaVuSans.ttf", size)
    except OSError:
        font = ImageFont.load_default(size)
        if not isinstance(font, ImageFont.FreeTypeFont):
            raise
        return font


def wrap(text: str, font: ImageFont.FreeTypeFont, width: int, most: int) -> list[str]:
    """Break a text into at most so many lines of this width in pixels."""
    lines = [""]
    # Three lines hold no more than this.
    for word in text[:600].split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width or not lines[-1]:
            lines[-1] = longer
        elif len(lines) < most:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} ..."
            break
    return [_shorten(line, font, width) for line in lines]


def _shorten(line: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    while len(line) > 4 and font.getlength(line) > width:
        line = f"{line[:-4].rstrip()}..."
    return line
