"""Read the hostile input of tests/data/hostile."""

from __future__ import annotations

import json
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "data/hostile"


def lines_of(name: str, *, escaped: bool = True) -> list[str]:
    """Give a file's lines without comments and empty ones; escapes (\\u0000, \\t) are those of JSON."""
    lines = [line for line in (FOLDER / name).read_text().split("\n") if line and not line.startswith("#")]
    return [_plain(line) for line in lines] if escaped else lines


def _plain(line: str) -> str:
    """Take a line as the inside of a JSON text; a backslash that begins no escape of JSON's stands for itself."""
    try:
        return str(json.loads(f'"{line}"', strict=False))
    except ValueError:
        return line
