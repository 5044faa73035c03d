"""Make the small picture that a sheet's cell shows: JPEG, or PNG when something shines through (Sheets shows both)."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import Final

from PIL import Image, ImageOps

from worker.sniff import Sniffed

LONGEST_PX: Final = 512
MAX_PIXELS: Final = 100_000_000
"""A picture above this is not decoded: 3 bytes a pixel would cost the machine 300 MB."""


@dataclass(frozen=True)
class Thumbnail:
    """Hold a small picture, its MIME type and its extension without a dot."""

    content: bytes
    content_type: str
    extension: str


def thumbnail(content: bytes, sniffed: Sniffed) -> Thumbnail | None:
    """Shrink a picture to 512 px on its longer side; None for what is no picture, is too big or cannot be decoded."""
    if sniffed.kind != "image" or (sniffed.width_px or 0) * (sniffed.height_px or 0) > MAX_PIXELS:
        return None
    try:
        with Image.open(BytesIO(content)) as image:
            return _shrunk(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def _shrunk(image: Image.Image) -> Thumbnail:
    image.draft("RGB", (LONGEST_PX, LONGEST_PX))
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I"):
        # 16 bits a pixel: convert() would clip, not scale.
        upright = upright.point(lambda value: value / 256).convert("L")
    shines = "A" in upright.getbands() or "transparency" in upright.info
    small = upright.convert("RGBA" if shines else "RGB")
    small.thumbnail((LONGEST_PX, LONGEST_PX), Image.Resampling.LANCZOS, reducing_gap=2.0)
    made = BytesIO()
    if shines and small.getextrema()[-1] != (255, 255):
        small.save(made, "PNG")
        return Thumbnail(made.getvalue(), "image/png", "png")
    small.convert("RGB").save(made, "JPEG", quality=85)
    return Thumbnail(made.getvalue(), "image/jpeg", "jpg")
