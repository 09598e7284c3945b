"""Scales an image down to a thumbnail, as WebP."""

from __future__ import annotations

import io
from typing import BinaryIO, Literal

from PIL import Image, ImageOps

#: Longest side in pixels: for a card on a screen of high density, and for a whole screen.
SIDES = {"thumb": 480, "large": 1600}
Size = Literal["thumb", "large"]
#: As large as Kling's largest images; decoding one takes 4 bytes a pixel, 64 MiB.
MAX_PIXELS = 4096 * 4096
#: Part of a cached thumbnail's name: raise it when :func:`render` makes them differently.
VERSION = 2


def render(file: BinaryIO, size: Size) -> bytes:
    """Return a verified image, scaled down to :data:`SIDES` where it is larger.

    :param file: at its start.
    """
    side = SIDES[size]
    with Image.open(file, formats=["PNG", "JPEG", "WEBP"]) as image:
        # Decode a JPEG at a fraction of its size where that is enough: it takes less memory and time.
        image.draft("RGB", (side, side))
        picture = _eight_bits(ImageOps.exif_transpose(image))
        picture = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    picture.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=2.0)
    out = io.BytesIO()
    # Keep the colour profile and no other metadata, which may say where a photograph was taken.
    picture.save(out, "WEBP", quality=82, method=3, icc_profile=picture.info.get("icc_profile") or b"")
    return out.getvalue()


def _eight_bits(image: Image.Image) -> Image.Image:
    """Return a grey image of 16 or 32 bits a pixel with 8; others as they are. Pillow alone would cut off above 255."""
    if image.mode == "F":
        low, high = (float(value) for value in image.getextrema())  # type: ignore[arg-type]
        factor, offset = 255 / ((high - low) or 1), low
    elif image.mode == "I" or image.mode.startswith("I;16"):
        image = image.convert("I")
        factor, offset = 1 / 256, 0.0  # these modes come from files of 16 bits
    else:
        return image
    scaled = image.point(lambda value: value * factor - offset * factor).convert("L")
    scaled.info.pop("transparency", None)  # a grey value among 65,536, which has no counterpart among 256
    return scaled
