"""Smaller forms of an image, as WebP."""

from __future__ import annotations

import io
from typing import BinaryIO, Literal

from PIL import Image, ImageOps

#: Longest side in pixels: of a card on a screen with two pixels a point, and of a whole screen.
SIDES = {"thumb": 480, "large": 1600}
Size = Literal["thumb", "large"]
#: As large as Kling's largest images; decoding one takes 4 bytes a pixel, 64 MiB.
MAX_PIXELS = 4096 * 4096
#: Part of a cached rendition's name: another number makes all of them anew.
VERSION = 1


def render(file: BinaryIO, size: Size) -> bytes:
    """Scale a verified image down; one that is small enough keeps its size.

    A JPEG is decoded at a fraction of its size where that is enough.
    """
    side = SIDES[size]
    with Image.open(file, formats=["PNG", "JPEG", "WEBP"]) as image:
        image.draft("RGB", (side, side))
        picture = ImageOps.exif_transpose(image)
        picture = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    picture.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=2.0)
    out = io.BytesIO()
    # Of the metadata only the colour profile is kept: where a photograph was taken is nobody's business here.
    picture.save(out, "WEBP", quality=82, method=3, icc_profile=picture.info.get("icc_profile") or b"")
    return out.getvalue()
