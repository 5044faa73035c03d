"""
Tell from a file's bytes what it is. Names lie (a custom node may call anything .png); bytes decide type and extension.

- SVG and HTML run scripts in a browser: they are kept as plain bytes.
- A name may only choose among harmless relatives: a 3D format without a mark of its own, or a kind of plain text.
- A file that breaks off keeps its type, without a size, and so does one that is made to cost us minutes. Only the head
  of a large file is read.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from io import BytesIO
from typing import BinaryIO, Final

from PIL import Image

from worker.frames import measure
from worker.marks import Kind, by_mark, by_name, by_text
from worker.modest import is_modest

# ComfyUI makes pictures of up to 16384 x 16384; Pillow refuses above twice this.
Image.MAX_IMAGE_PIXELS = 16384 * 16384


@dataclass(frozen=True)
class Sniffed:
    """
    Say what a file is: MIME type, extension without a dot, kind; size of a picture or a video, duration.

    *frames* counts the frames of an animated picture.
    """

    content_type: str
    extension: str
    kind: Kind
    width_px: int | None = None
    height_px: int | None = None
    duration_s: float | None = None
    frames: int | None = None

    @property
    def is_animated(self) -> bool:
        """Say whether a picture moves."""
        return (self.frames or 0) > 1


UNKNOWN: Final = Sniffed("application/octet-stream", "bin", "file")
HEAD_BYTES: Final = 1_000_000
"""How much of a file is looked at to tell a text."""
_PICTURES: Final = {
    "PNG": "png",
    "JPEG": "jpg",
    "WEBP": "webp",
    "GIF": "gif",
    "BMP": "bmp",
    "TIFF": "tiff",
    "AVIF": "avif",
}
_MOVING: Final = frozenset({"png", "webp", "gif", "avif"})
"""Formats whose further frames are an animation (those of a TIFF are pages)."""


def sniff(content: bytes | BinaryIO, name: str = "") -> Sniffed:
    """Say what *content* is; what nobody knows is `application/octet-stream`. *name* is the one that was reported."""
    file = BytesIO(content) if isinstance(content, bytes) else content
    file.seek(0)
    head = file.read(HEAD_BYTES)
    size_bytes = file.seek(0, 2)
    found = by_mark(head, size_bytes) or by_text(head, size_bytes, name) or by_name(name, head, size_bytes)
    if found is None:
        return UNKNOWN
    sniffed = Sniffed(*found)
    if sniffed.kind == "image":
        return _measured_picture(sniffed, file)
    if sniffed.kind in ("video", "audio"):
        return _measured_reel(sniffed, file)
    return sniffed


def _measured_picture(sniffed: Sniffed, file: BinaryIO) -> Sniffed:
    if not is_modest(file, sniffed.extension):
        return sniffed
    file.seek(0)
    try:
        with Image.open(file, formats=list(_PICTURES)) as image:
            if _PICTURES.get(image.format or "") != sniffed.extension:
                return sniffed
            sniffed = replace(sniffed, width_px=image.width, height_px=image.height)
            frames = getattr(image, "n_frames", 1) if sniffed.extension in _MOVING else 1
            return replace(sniffed, frames=frames) if frames > 1 else sniffed
    except Exception:
        # A decoder may raise anything on bytes that were made to hurt it; the type stands without a size.
        return sniffed


def _measured_reel(sniffed: Sniffed, file: BinaryIO) -> Sniffed:
    """Add size and duration, and tell a sound in a video's container from a video."""
    reel = measure(file, sniffed.extension)
    if reel is None:
        return sniffed
    if not reel.has_video and sniffed.extension in _SOUND_ONLY:
        sniffed = Sniffed(*_SOUND_ONLY[sniffed.extension])
    elif reel.has_video and sniffed.extension in _WITH_PICTURES:
        sniffed = Sniffed(*_WITH_PICTURES[sniffed.extension])
    return replace(sniffed, width_px=reel.width_px, height_px=reel.height_px, duration_s=reel.duration_s)


_SOUND_ONLY: Final[dict[str, tuple[str, str, Kind]]] = {
    "mp4": ("audio/mp4", "m4a", "audio"),
    "mov": ("audio/mp4", "m4a", "audio"),
    "webm": ("audio/webm", "webm", "audio"),
    "mkv": ("audio/x-matroska", "mka", "audio"),
}
_WITH_PICTURES: Final[dict[str, tuple[str, str, Kind]]] = {
    "m4a": ("video/mp4", "mp4", "video"),
    "ogg": ("video/ogg", "ogv", "video"),
    "opus": ("video/ogg", "ogv", "video"),
}
