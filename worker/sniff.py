"""
Tell from a file's bytes what it is. Names lie (a custom node may call anything .png); bytes decide type and extension.

SVG and HTML run scripts in a browser: they are kept as plain bytes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Final, Literal

from PIL import Image

Kind = Literal["image", "video", "audio", "text", "latent", "3d", "file"]

# ComfyUI makes pictures of up to 16384 x 16384; Pillow refuses above twice this.
Image.MAX_IMAGE_PIXELS = 16384 * 16384


@dataclass(frozen=True)
class Sniffed:
    """Say what a file is: MIME type, extension without a dot, kind, and the size of a picture."""

    content_type: str
    extension: str
    kind: Kind
    width_px: int | None = None
    height_px: int | None = None


UNKNOWN: Final = Sniffed("application/octet-stream", "bin", "file")
_PICTURES: Final[dict[str, Sniffed]] = {
    "PNG": Sniffed("image/png", "png", "image"),
    "JPEG": Sniffed("image/jpeg", "jpg", "image"),
    "WEBP": Sniffed("image/webp", "webp", "image"),
    "GIF": Sniffed("image/gif", "gif", "image"),
    "BMP": Sniffed("image/bmp", "bmp", "image"),
    "TIFF": Sniffed("image/tiff", "tiff", "image"),
    "AVIF": Sniffed("image/avif", "avif", "image"),
}
_LONGEST_HEADER: Final = 100_000_000


def sniff(content: bytes) -> Sniffed:
    """Say what *content* is; what nobody knows is `application/octet-stream`."""
    return _by_magic(content) or _picture(content) or _text(content) or UNKNOWN


def _picture(content: bytes) -> Sniffed | None:
    try:
        with Image.open(BytesIO(content), formats=list(_PICTURES)) as image:
            known = _PICTURES.get(image.format or "")
            return replace(known, width_px=image.width, height_px=image.height) if known else None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def _by_magic(content: bytes) -> Sniffed | None:
    """Know what Pillow does not: video, sound, 3D, latents."""
    head = content[:64]
    if head[4:8] == b"ftyp":
        brand = head[8:12]
        if brand in (b"avif", b"avis"):
            return None
        if brand == b"M4A ":
            return Sniffed("audio/mp4", "m4a", "audio")
        if brand == b"qt  ":
            return Sniffed("video/quicktime", "mov", "video")
        return Sniffed("video/mp4", "mp4", "video")
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        if b"webm" in head:
            return Sniffed("video/webm", "webm", "video")
        return Sniffed("video/x-matroska", "mkv", "video")
    if head.startswith(b"RIFF") and head[8:12] == b"WAVE":
        return Sniffed("audio/wav", "wav", "audio")
    if head.startswith(b"fLaC"):
        return Sniffed("audio/flac", "flac", "audio")
    if head.startswith(b"OggS"):
        return Sniffed("audio/ogg", "ogg", "audio")
    # An ID3 tag, or a frame of MPEG layer III.
    if head.startswith(b"ID3") or (len(head) > 1 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2):
        return Sniffed("audio/mpeg", "mp3", "audio")
    if head.startswith(b"glTF"):
        return Sniffed("model/gltf-binary", "glb", "3d")
    return _safetensors(content)


def _safetensors(content: bytes) -> Sniffed | None:
    """Know safetensors: 8 bytes little-endian length, then that much JSON. ComfyUI's .latent is one of them."""
    length = int.from_bytes(content[:8], "little")
    if not 2 <= length <= min(_LONGEST_HEADER, len(content) - 8) or content[8:9] != b"{":
        return None
    if b'"latent_tensor"' in content[8 : 8 + length]:
        return Sniffed("application/octet-stream", "latent", "latent")
    return Sniffed("application/octet-stream", "safetensors", "file")


def _text(content: bytes) -> Sniffed | None:
    if b"\0" in content[:4096]:
        return None
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return None
    if re.search(r"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]", text) or text.lstrip("\ufeff \t\r\n").startswith("<"):
        return None
    return Sniffed("text/plain; charset=utf-8", "txt", "text")
