"""
Keep ComfyUI's three folders (output, input, temp): contain paths, annotate names, count file names up.

The rules are those of ComfyUI 0.28.0's folder_paths, seen in the recorded traffic: `name [output]` chooses a folder,
nothing may leave its folder, and a save counts `prefix_00001_` up from what lies there.
"""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Folders:
    """Point at the folders of one ComfyUI; temp is wiped at every start, the others are kept."""

    output: Path
    input: Path
    temp: Path

    @classmethod
    def under(cls, base: Path) -> Folders:
        """Make the folders below *base*, with an empty temp."""
        base = base.resolve()
        shutil.rmtree(base / "temp", ignore_errors=True)
        folders = cls(base / "output", base / "input", base / "temp")
        for folder in (folders.output, folders.input, folders.temp):
            folder.mkdir(parents=True, exist_ok=True)
        return folders

    def by_type(self, kind: str) -> Path | None:
        """Give the folder called output, input or temp; None for any other word."""
        return {"output": self.output, "input": self.input, "temp": self.temp}.get(kind)

    def annotated(self, name: str) -> tuple[str, Path | None]:
        """Split `x.png [output]` into the name and its folder; the folder is None when the name does not say."""
        for kind in ("output", "input", "temp"):
            if name.endswith(f"[{kind}]"):
                return name[: -len(kind) - 2].rstrip(), self.by_type(kind)
        return name, None

    def find_input(self, name: str) -> Path | None:
        """Find the file that LoadImage means by *name*; None when it is missing or outside (refused since 0.27.1)."""
        bare, folder = self.annotated(name)
        folder = folder or self.input
        path = folder / bare
        return path if contains(folder, path) and path.is_file() else None


def contains(folder: Path, path: Path) -> bool:
    """Say whether *path*, with its `..` taken away, lies in *folder*."""
    return _common(folder, path) == str(folder)


def _common(folder: Path, path: Path) -> str:
    return os.path.commonpath((folder, _absolute(path)))


def _absolute(path: Path) -> str:
    """Take `..` away without following links, as ComfyUI does."""
    return os.path.abspath(path)  # noqa: PTH100  # Path.resolve would follow links


@dataclass(frozen=True)
class SavePlace:
    """Say where the next file of a save goes: `folder / f"{stem}_{counter:05}_.png"`."""

    folder: Path
    stem: str
    counter: int
    subfolder: str


def save_place(root: Path, prefix: str, size: tuple[int, int] = (0, 0)) -> SavePlace:
    """
    Choose the place for the next file with *prefix* (may name subfolders and %width%, %height%, %year% ...).

    Raises a bare Exception with ComfyUI's own words when the prefix leaves *root*.
    """
    normal = os.path.normpath(_filled(prefix, size))
    subfolder, stem = os.path.split(normal)
    folder = root / subfolder
    if not contains(root, folder):
        raise Exception(  # history says exception_type "Exception", so it is no better one
            "**** ERROR: Saving image outside the output folder is not allowed."
            f"\n full_output_folder: {_absolute(folder)}\n         output_dir: {root}"
            f"\n         commonpath: {_common(root, folder)}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    counters = [_counter(path.name, stem) for path in folder.iterdir()]
    return SavePlace(folder, stem, max(counters, default=0) + 1, subfolder)


def _counter(name: str, stem: str) -> int:
    """Read the number in `<stem>_00012_.png`; 0 when *name* is not of that series or has no number."""
    if not name.startswith(stem + "_"):
        return 0
    digits = name[len(stem) + 1 :].split("_")[0].split(".")[0]
    return int(digits) if digits.isdecimal() else 0


def _filled(prefix: str, size: tuple[int, int]) -> str:
    """Replace the placeholders that ComfyUI's save nodes know."""
    if "%" not in prefix:
        return prefix
    now = time.localtime()
    words = {
        "width": size[0],
        "height": size[1],
        "year": now.tm_year,
        "month": f"{now.tm_mon:02}",
        "day": f"{now.tm_mday:02}",
        "hour": f"{now.tm_hour:02}",
        "minute": f"{now.tm_min:02}",
        "second": f"{now.tm_sec:02}",
    }
    for word, value in words.items():
        prefix = prefix.replace(f"%{word}%", str(value))
    return prefix
