"""Write zips that hold only what runs, and the same bytes for the same files."""

from __future__ import annotations

import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

_DATE: Final = (1980, 1, 1, 0, 0, 0)
_KEPT_METADATA: Final = ("METADATA", "entry_points.txt", "top_level.txt")  # read at run time by importlib.metadata


def copy_entries(source: zipfile.ZipFile, target: zipfile.ZipFile, leave: Collection[str] = ()) -> None:
    """Add what runs of *source* to *target*, but nothing at or under the top-level names *leave*."""
    for name in sorted(set(source.namelist())):
        if runs(name) and name.split("/")[0] not in leave:
            _add(target, name, source.read(name))


def add_files(target: zipfile.ZipFile, files: Mapping[str, Path]) -> None:
    """Add those of *files* (name in the zip -> where it lies) that run."""
    for name in sorted(files):
        if runs(name):
            _add(target, name, files[name].read_bytes())


def _add(target: zipfile.ZipFile, name: str, content: bytes) -> None:
    """Add one file, dated 1980 whenever it was made, so that equal input gives equal bytes."""
    entry = zipfile.ZipInfo(name, _DATE)
    entry.external_attr = 0o644 << 16
    target.writestr(entry, content, zipfile.ZIP_DEFLATED, 9)


def runs(name: str) -> bool:
    """Say whether the file *name* of the zip is needed when the functions run."""
    parts = name.split("/")
    if name.endswith("/") or "__pycache__" in parts:
        return False
    if parts[0] in ("app.py", "chalicelib"):
        return True
    if name.endswith((".pyi", "/py.typed")) or {"tests", "test"} & set(parts[:-1]):
        return False
    if parts[0] in ("bin", "boto3", "botocore") or parts[0].endswith(".data"):  # commands; Lambda's runtime has boto3
        return False
    if parts[0].endswith(".dist-info"):
        return len(parts) == 2 and parts[1] in _KEPT_METADATA
    return True
