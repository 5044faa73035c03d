"""Know file formats by their first bytes, for `worker.sniff`. A mark is MIME type, extension without a dot, kind."""

from __future__ import annotations

import codecs
import json
import re
from typing import Final, Literal

Kind = Literal["image", "video", "audio", "text", "latent", "3d", "file"]
Mark = tuple[str, str, Kind]

PLAIN: Final = "text/plain; charset=utf-8"
BYTES: Final = "application/octet-stream"

_PLAIN_NAMES: Final = frozenset({"csv", "tsv", "md", "srt", "vtt", "yaml", "log", "json", "jsonl"})
_NAMED_3D: Final = frozenset({"splat", "ksplat", "spz"})
"""Gaussian splats have no mark, or only that of gzip."""
_STARTS: Final[tuple[tuple[bytes, Mark], ...]] = (
    (b"\x89PNG\r\n\x1a\n", ("image/png", "png", "image")),
    (b"\xff\xd8\xff", ("image/jpeg", "jpg", "image")),
    (b"GIF87a", ("image/gif", "gif", "image")),
    (b"GIF89a", ("image/gif", "gif", "image")),
    (b"II*\0", ("image/tiff", "tiff", "image")),
    (b"MM\0*", ("image/tiff", "tiff", "image")),
    (b"fLaC", ("audio/flac", "flac", "audio")),
    (b"ID3", ("audio/mpeg", "mp3", "audio")),
    (b"glTF", ("model/gltf-binary", "glb", "3d")),
    (b"ply\n", ("model/ply", "ply", "3d")),
    (b"ply\r\n", ("model/ply", "ply", "3d")),
    (b"Kaydara FBX Binary", (BYTES, "fbx", "3d")),
    (b"PXR-USDC", (BYTES, "usdc", "3d")),
)
_RIFF: Final[dict[bytes, Mark]] = {
    b"WAVE": ("audio/wav", "wav", "audio"),
    b"WEBP": ("image/webp", "webp", "image"),
    b"AVI ": ("video/x-msvideo", "avi", "video"),
}
_BRANDS: Final[dict[bytes, Mark]] = {
    b"avif": ("image/avif", "avif", "image"),
    b"avis": ("image/avif", "avif", "image"),
    b"M4A ": ("audio/mp4", "m4a", "audio"),
    b"qt  ": ("video/quicktime", "mov", "video"),
}
_PHOTOS: Final = frozenset({b"heic", b"heix", b"hevc", b"mif1", b"msf1"})
"""Brands of HEIF pictures, in a video's container; nothing here reads them."""
_LONGEST_HEADER: Final = 100_000_000
_CONTROL: Final = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_NUMBER: Final = r" +-?[\d.]+(?:[eE][-+]?\d+)?"
_OBJ_LINE: Final = re.compile(rf"(v|vt|vn|vp)({_NUMBER}){{2,}}|[fl]( +[\d/-]+)+|(o|g|s|mtllib|usemtl) .+")
_OBJ_PROOF: Final = re.compile(rf"^v({_NUMBER}){{3}}", re.MULTILINE)
_LONGEST_OBJ_LINE: Final = 1000


def by_mark(head: bytes, size_bytes: int) -> Mark | None:
    """Know a format by the mark at its begin. *head* is the file's first part, *size_bytes* the length of the whole."""
    for start, mark in _STARTS:
        if head.startswith(start):
            return mark
    if head[4:8] == b"ftyp":
        return _by_brand(head)
    if head.startswith(b"RIFF"):
        return _RIFF.get(head[8:12])
    if head.startswith(b"FORM") and head[8:12] in (b"AIFF", b"AIFC"):
        return ("audio/aiff", "aiff", "audio")
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return ("video/webm", "webm", "video") if b"webm" in head[:64] else ("video/x-matroska", "mkv", "video")
    if head.startswith(b"OggS"):
        return ("audio/ogg", "opus" if b"OpusHead" in head[:64] else "ogg", "audio")
    if head.startswith(b"BM") and int.from_bytes(head[2:6], "little") == size_bytes:
        return ("image/bmp", "bmp", "image")
    return _by_frame_of_sound(head) or _usdz(head) or _safetensors(head, size_bytes) or _binary_stl(head, size_bytes)


def by_text(head: bytes, size_bytes: int, name: str) -> Mark | None:
    """Know a text by its first part; 3D texts by what they say, plain ones by their name's ending."""
    if b"\0" in head[:4096]:
        return None
    try:
        # The head of a longer text may end within a character.
        text = codecs.getincrementaldecoder("utf-8")().decode(head, size_bytes <= len(head))
    except UnicodeDecodeError:
        return None
    if not text or _CONTROL.search(text) or text.lstrip("\ufeff \t\r\n").startswith("<"):
        return None
    return _text_3d(text, is_whole=size_bytes <= len(head)) or _plain(text, name, is_whole=size_bytes <= len(head))


def by_name(name: str, head: bytes, size_bytes: int) -> Mark | None:
    """Trust the name of a 3D file whose format has no mark."""
    ending = _ending(name)
    if ending not in _NAMED_3D or not head:
        return None
    # A splat is a row of 32-byte points; an spz is a gzip.
    fits = {"splat": size_bytes % 32 == 0, "spz": head.startswith(b"\x1f\x8b")}
    return (BYTES, ending, "3d") if fits.get(ending, True) else None


def _ending(name: str) -> str:
    return name.rpartition(".")[2].lower() if "." in name else ""


def _by_brand(head: bytes) -> Mark | None:
    brand = head[8:12]
    if brand in _PHOTOS:
        # AVIF may name the general brand first and its own among the compatible ones.
        length = min(int.from_bytes(head[:4], "big"), 256)
        return _BRANDS[b"avif"] if b"avif" in head[16:length] else None
    return _BRANDS.get(brand, ("video/mp4", "mp4", "video"))


def _by_frame_of_sound(head: bytes) -> Mark | None:
    """Know MPEG layer III and AAC by the first bits of a frame."""
    if len(head) < 4 or head[0] != 0xFF:
        return None
    if head[1] & 0xE6 == 0xE2:
        return ("audio/mpeg", "mp3", "audio")
    if head[1] & 0xF6 == 0xF0:
        return ("audio/aac", "aac", "audio")
    return None


def _usdz(head: bytes) -> Mark | None:
    """Know USDZ: a zip whose first file is a USD scene (Pixar's USDZ specification, "Layout")."""
    length = int.from_bytes(head[26:28], "little")
    if head.startswith(b"PK\x03\x04") and head[30 : 30 + length].lower().endswith((b".usda", b".usdc", b".usd")):
        return ("model/vnd.usdz+zip", "usdz", "3d")
    return None


def _safetensors(head: bytes, size_bytes: int) -> Mark | None:
    """Know safetensors: 8 bytes little-endian length, then that much JSON. ComfyUI's .latent is one of them."""
    length = int.from_bytes(head[:8], "little")
    if not 2 <= length <= min(_LONGEST_HEADER, size_bytes - 8) or head[8:9] != b"{":
        return None
    if b'"latent_tensor"' in head[8 : 8 + length]:
        return (BYTES, "latent", "latent")
    return (BYTES, "safetensors", "file")


def _binary_stl(head: bytes, size_bytes: int) -> Mark | None:
    """Know a binary STL by its length: 80 bytes of anything, a count, 50 bytes a triangle."""
    triangles = int.from_bytes(head[80:84], "little")
    return ("model/stl", "stl", "3d") if triangles and size_bytes == 84 + 50 * triangles else None


def _text_3d(text: str, *, is_whole: bool) -> Mark | None:
    if text.startswith("solid") and "facet normal " in text[:65536]:
        return ("model/stl", "stl", "3d")
    if text.startswith("#usda "):
        return (PLAIN, "usda", "3d")
    start = text[:65536].lstrip("\ufeff \t\r\n")
    if start.startswith("{") and _is_gltf(text, is_whole=is_whole):
        return ("model/gltf+json", "gltf", "3d")
    lines = [line.strip() for line in start.splitlines()[:-1] or start.splitlines()]
    telling = [line for line in lines if line and not line.startswith("#")][:20]
    if any(len(line) > _LONGEST_OBJ_LINE or not _OBJ_LINE.fullmatch(line) for line in telling):
        return None
    if telling and _OBJ_PROOF.search(start):
        return ("model/obj", "obj", "3d")
    return None


def _is_gltf(text: str, *, is_whole: bool) -> bool:
    """Know a glTF by its asset and version, which it must have (glTF 2.0, 3.2)."""
    if is_whole:
        try:
            scene = json.loads(text.lstrip("\ufeff"))
        except (ValueError, RecursionError):
            return False
        asset = scene.get("asset") if isinstance(scene, dict) else None
        return isinstance(asset, dict) and isinstance(asset.get("version"), str) and len(scene) > 1
    return bool(re.search(r'"asset"\s*:\s*\{[^{}]{0,500}"version"\s*:\s*"[12]\.', text)) and '"buffers"' in text


def _plain(text: str, name: str, *, is_whole: bool) -> Mark:
    if is_whole and text.lstrip("\ufeff \t\r\n").startswith(("{", "[")):
        try:
            json.loads(text.lstrip("\ufeff"))
        except (ValueError, RecursionError):
            pass
        else:
            return (PLAIN, "json", "text")
    ending = _ending(name)
    return (PLAIN, ending if ending in _PLAIN_NAMES else "txt", "text")
