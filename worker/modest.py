"""
Walk through a picture's parts without decoding any: is it one that can be opened in a moment?

Pillow 13 reads the parts of a GIF, PNG or JPEG one by one in Python, about 20 µs each, before it knows a size. 30 MB of
parts of a few bytes, which no encoder makes, take it minutes.
"""

from __future__ import annotations

from typing import BinaryIO, Final

FRAMES_MOST: Final = 10_000
"""Of a GIF: six minutes at 30 frames a second."""
BLOCKS_MOST: Final = 400_000
"""Of a GIF, of up to 255 bytes each: a full 100 MB."""
PARTS_MOST: Final = 20_000
"""Chunks of a PNG (libpng writes 8 KB into each: 160 MB) or segments of a JPEG."""


def is_modest(file: BinaryIO, extension: str) -> bool:
    """Say whether a picture has no more parts than an encoder makes; one that breaks off is, for it ends soon."""
    walks = {"gif": _gif, "png": _png, "jpg": _jpeg}
    return extension not in walks or walks[extension](file)


def _gif(file: BinaryIO) -> bool:
    """Walk through a GIF (GIF89a, sections 15 to 27)."""
    file.seek(6)
    head = file.read(7)
    if len(head) < 7:
        return True
    file.seek(_colours_bytes(head[4]), 1)
    frames = blocks = 0
    while (mark := file.read(1)) in (b"\x2c", b"\x21"):
        if mark == b"\x2c":
            frames += 1
            place = file.read(9)
            if len(place) < 9:
                return True
            file.seek(_colours_bytes(place[8]) + 1, 1)
        else:
            file.seek(1, 1)
        blocks += 1
        while (size := file.read(1)) and size[0] and blocks <= BLOCKS_MOST:
            file.seek(size[0], 1)
            blocks += 1
        if frames > FRAMES_MOST or blocks > BLOCKS_MOST:
            return False
    return True


def _colours_bytes(flags: int) -> int:
    """Say how long the table of colours is that *flags* tell of."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _png(file: BinaryIO) -> bool:
    """Walk through a PNG's chunks: length, name, content, checksum."""
    file.seek(8)
    for _ in range(PARTS_MOST):
        head = file.read(8)
        if len(head) < 8 or head[4:] == b"IEND":
            return True
        file.seek(int.from_bytes(head[:4], "big") + 4, 1)
    return False


def _jpeg(file: BinaryIO) -> bool:
    """Walk through a JPEG's segments up to its first scan (T.81, B.1.1.4)."""
    file.seek(2)
    for _ in range(PARTS_MOST):
        head = file.read(4)
        if len(head) < 4 or head[0] != 0xFF or head[1] == 0xDA:
            return True
        file.seek(max(2, int.from_bytes(head[2:], "big")) - 2, 1)
    return False
