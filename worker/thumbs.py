"""
Make the small picture that a sheet's cell shows: JPEG, or PNG when something shines through (Sheets shows both).

A picture is shrunk, of an animation the first frame; a video gives a frame, a sound its loudness over time. Anything
else, and what cannot be decoded, has none.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import BinaryIO, Final

from PIL import Image, ImageOps

from worker.frames import poster, waveform
from worker.sniff import Sniffed

LONGEST_PX: Final = 512
MAX_PIXELS: Final = 100_000_000
"""A picture above this is not decoded: 3 bytes a pixel would cost the machine 300 MB."""
SMALL_BYTES: Final = 64 * 1024
"""A picture up to this, and up to 512 px, is its own thumbnail."""

_REDUCIBLE: Final = frozenset({"L", "LA", "RGB", "RGBA", "CMYK"})


@dataclass(frozen=True)
class Thumbnail:
    """Hold a small picture, its MIME type and its extension without a dot."""

    content: bytes | None
    """None: the picture itself is small enough."""
    content_type: str
    extension: str


def thumbnail(content: bytes | BinaryIO, sniffed: Sniffed) -> Thumbnail | None:
    """
    Show a file in 512 px on its longer side; None for what cannot be shown, is too big or cannot be decoded.

    Takes a few seconds at most, whatever the file.
    """
    file = BytesIO(content) if isinstance(content, bytes) else content
    if sniffed.kind == "video":
        frame = poster(file, sniffed.extension, LONGEST_PX)
        return _jpeg(frame) if frame else None
    if sniffed.kind == "audio":
        drawn = waveform(file, sniffed.extension)
        return _png(drawn.quantize(16)) if drawn else None
    if sniffed.kind != "image" or not 0 < (sniffed.width_px or 0) * (sniffed.height_px or 0) <= MAX_PIXELS:
        return None
    size_bytes = file.seek(0, 2)
    file.seek(0)
    try:
        with Image.open(file) as image:
            if _is_small(sniffed, size_bytes):
                # It must be whole: a cell would show half a picture, or none.
                image.load()
                return Thumbnail(None, sniffed.content_type, sniffed.extension)
            return _shrunk(image)
    except Exception:
        # A decoder may raise anything on bytes that were made to hurt it; a missing thumbnail harms nobody.
        return None


def _is_small(sniffed: Sniffed, size_bytes: int) -> bool:
    longest_px = max(sniffed.width_px or 0, sniffed.height_px or 0)
    is_shown = sniffed.extension in ("png", "jpg") and not sniffed.is_animated
    return is_shown and longest_px <= LONGEST_PX and size_bytes <= SMALL_BYTES


def _shrunk(image: Image.Image) -> Thumbnail:
    image.draft("RGB", (LONGEST_PX, LONGEST_PX))
    ImageOps.exif_transpose(image, in_place=True)
    shines = "A" in image.getbands() or "transparency" in image.info
    if image.mode.startswith("I"):
        # 16 bits a pixel: convert() would clip, not scale.
        small = image.point(lambda value: value / 256).convert("L")
    else:
        # A box of whole pixels first: nearly as good as LANCZOS over all of them, in a fraction of the time.
        factor = max(image.size) // LONGEST_PX
        small = image.reduce(factor) if factor > 1 and image.mode in _REDUCIBLE else image
        small = small.convert("RGBA" if shines else "RGB")
    small.thumbnail((LONGEST_PX, LONGEST_PX), Image.Resampling.LANCZOS, reducing_gap=1.0)
    if shines and small.getextrema()[-1] != (255, 255):
        return _png(small)
    return _jpeg(small.convert("RGB"))


def _jpeg(image: Image.Image) -> Thumbnail:
    made = BytesIO()
    image.save(made, "JPEG", quality=85)
    return Thumbnail(made.getvalue(), "image/jpeg", "jpg")


def _png(image: Image.Image) -> Thumbnail:
    made = BytesIO()
    image.save(made, "PNG")
    return Thumbnail(made.getvalue(), "image/png", "png")
