"""Draws sample reference images: three products on white, a room for them, a person and a shirt to try on."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter

SIZE = 640
_SUPERSAMPLING = 2

Draw = ImageDraw.ImageDraw
Box = tuple[int, int, int, int]


def draw_samples(folder: Path) -> dict[str, Path]:
    """Write the sample references and a catalogue of them into ``folder``; returns the images by name."""
    folder.mkdir(parents=True, exist_ok=True)
    samples = {name: folder / f"{name}.png" for name in ("mug", "lamp", "plant", "scene")}
    for name, paint in (("mug", _mug), ("lamp", _lamp), ("plant", _plant)):
        _product(paint).save(samples[name])
    _room().save(samples["scene"])
    _write_catalog(folder / "catalog.csv")
    return samples


def draw_try_on_samples(folder: Path) -> dict[str, Path]:
    """Write a person and a garment into ``folder``; returns the images by name."""
    folder.mkdir(parents=True, exist_ok=True)
    samples = {name: folder / f"{name}.png" for name in ("person", "shirt")}
    _painted((480, 640), "#e9e4dc", _person).save(samples["person"])
    _painted((370, 410), "#ffffff", _shirt).save(samples["shirt"])
    return samples


def _painted(size: tuple[int, int], paper: str, paint: Callable[[Draw], None]) -> Image.Image:
    """Draw at twice the size, and scale down for smooth edges."""
    image = Image.new("RGB", (size[0] * _SUPERSAMPLING, size[1] * _SUPERSAMPLING), paper)
    paint(ImageDraw.Draw(image))
    return image.resize(size, Image.Resampling.LANCZOS)


def _write_catalog(file: Path) -> None:
    rows = [
        ("mug-01", "mug.png|plant.png", "A mug beside a plant on a wooden table, morning light", "scene.png", "4:3"),
        ("lamp-01", "lamp.png|plant.png", "A desk lamp and a plant, evening light", "scene.png", "1:1"),
    ]
    with file.open("w", newline="") as output:
        writer = csv.writer(output)
        writer.writerow(("sku", "subject_images", "prompt", "scene_image", "aspect_ratio"))
        writer.writerows(rows)


def _product(paint: Callable[[Draw], None]) -> Image.Image:
    """Draw a product at twice its size, with a soft shadow, and scale it down for smooth edges."""
    side = SIZE * _SUPERSAMPLING
    image = Image.new("RGB", (side, side), "#fbfaf8")
    shadow = Image.new("L", (side, side), 0)
    ImageDraw.Draw(shadow).ellipse((300, 1010, 980, 1130), fill=110)
    image.paste("#8d8880", mask=shadow.filter(ImageFilter.GaussianBlur(40)))
    paint(ImageDraw.Draw(image))
    return image.resize((SIZE, SIZE), Image.Resampling.LANCZOS)


def _mug(draw: Draw) -> None:
    draw.ellipse((760, 480, 1060, 860), outline="#c4553b", width=62)
    draw.rounded_rectangle((340, 380, 880, 1070), radius=90, fill="#d9644a")
    draw.rounded_rectangle((340, 380, 470, 1070), radius=65, fill="#e37b63")
    draw.ellipse((340, 310, 880, 450), fill="#b5492f")
    draw.ellipse((375, 328, 845, 432), fill="#4b2a1d")
    draw.ellipse((500, 610, 720, 830), fill="#f6e7d8")


def _lamp(draw: Draw) -> None:
    draw.ellipse((380, 980, 900, 1090), fill="#2c3e50")
    draw.line((640, 1020, 460, 640, 720, 400), fill="#34495e", width=36, joint="curve")
    draw.ellipse((425, 605, 495, 675), fill="#e8b04b")
    draw.polygon(((640, 290), (850, 360), (960, 690), (560, 560)), fill="#e8b04b")
    draw.polygon(((640, 290), (720, 317), (690, 602), (560, 560)), fill="#f2c56b")
    draw.ellipse((690, 570, 830, 690), fill="#fff6d5")


def _plant(draw: Draw) -> None:
    leaves: tuple[tuple[Box, str], ...] = (
        ((330, 330, 640, 720), "#3f7d58"),
        ((640, 300, 950, 720), "#4f9a6d"),
        ((470, 170, 700, 700), "#5fb381"),
        ((610, 200, 820, 700), "#478c63"),
    )
    for box, colour in leaves:
        draw.ellipse(box, fill=colour)
        draw.line(((box[0] + box[2]) // 2, box[1] + 50, 640, 760), fill="#2f5f43", width=10)
    draw.polygon(((400, 720), (880, 720), (810, 1080), (470, 1080)), fill="#b98a63")
    draw.rounded_rectangle((370, 680, 910, 780), radius=30, fill="#c99b74")


def _person(draw: Draw) -> None:
    draw.rectangle((0, 1060, 960, 1280), fill="#cfc6b8")
    draw.ellipse((355, 40, 605, 400), fill="#4a3426")
    draw.rounded_rectangle((430, 300, 530, 440), radius=30, fill="#d9a583")
    draw.ellipse((385, 80, 575, 340), fill="#e6b795")
    draw.chord((380, 50, 580, 260), 180, 360, fill="#4a3426")
    draw.ellipse((430, 190, 450, 212), fill="#33251c")
    draw.ellipse((510, 190, 530, 212), fill="#33251c")
    draw.arc((440, 220, 520, 290), 20, 160, fill="#a8553f", width=8)
    for left, right in ((250, 330), (630, 710)):
        draw.rounded_rectangle((left, 430, right, 900), radius=40, fill="#e0b08e")
    draw.rounded_rectangle((300, 400, 660, 900), radius=70, fill="#f4f1ec")
    draw.rectangle((330, 860, 470, 1240), fill="#38465c")
    draw.rectangle((490, 860, 630, 1240), fill="#38465c")
    draw.rectangle((330, 860, 630, 930), fill="#38465c")


def _shirt(draw: Draw) -> None:
    left = ((20, 250), (190, 80), (310, 40))
    sleeve_and_side = ((200, 800), (200, 300), (130, 370))
    right = [(740 - x, y) for x, y in reversed(left)]
    draw.polygon(
        [*left, *right, *((740 - x, y) for x, y in reversed(sleeve_and_side)), *sleeve_and_side], fill="#2f7f8f"
    )
    draw.ellipse((300, 0, 440, 120), fill="#ffffff")
    for top in range(370, 790, 110):
        draw.rectangle((200, top, 540, top + 45), fill="#e8b04b")


def _room() -> Image.Image:
    width, height = 960, 640
    room = Image.new("RGB", (width, height))
    draw = ImageDraw.Draw(room)
    for y in range(height):
        shade = y / height
        draw.line((0, y, width, y), fill=(round(226 - 30 * shade), round(218 - 40 * shade), round(205 - 52 * shade)))
    draw.rectangle((90, 70, 400, 400), fill="#bfdcea", outline="#f7f3ec", width=16)
    draw.line((245, 70, 245, 400), fill="#f7f3ec", width=12)
    draw.line((90, 235, 400, 235), fill="#f7f3ec", width=12)
    draw.rectangle((0, 480, width, height), fill="#9a6b45")
    for y in range(500, height, 28):
        draw.line((0, y, width, y), fill="#8a5d3a", width=3)
    return room
