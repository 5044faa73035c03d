"""
Clean up after a job where ComfyUI keeps its files, when that is on this machine.

ComfyUI has no route that deletes a file (0.38). Where its folders are it says itself: `argv` of /system_stats. Only
folders that carry a job's id are ever removed; a server on another machine, or one whose folders are not found, keeps
its files (docs/worker.md says what to do there).
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
KINDS: Final = ("input", "output", "temp")


def folders_of(url: str, argv: Sequence[str]) -> tuple[Path, ...]:
    """List the input, output and temp folder of the ComfyUI at *url*, as far as they are found on this machine."""
    if urlsplit(url).hostname not in LOOPBACK:
        return ()
    base = _argument(argv, "--base-directory") or _main_folder(argv)
    found = []
    for kind in KINDS:
        own = _argument(argv, f"--{kind}-directory")
        # --temp-directory names the parent of temp/ (folder_paths.py, 0.28).
        path = own / "temp" if own and kind == "temp" else own or (base / kind if base else None)
        if path is not None and path.is_absolute() and path.is_dir():
            found.append(path.resolve())
    return tuple(found)


def sweep(folders: Sequence[Path], job_folder: str) -> int:
    """Remove *job_folder* ("cs/<job>/<attempt>") below each of *folders*; how many were there."""
    removed = 0
    for root in folders:
        path = root / job_folder
        # A link in the way could lead anywhere: only a real folder at its own place is ours.
        if not path.is_dir() or path.resolve() != path:
            continue
        shutil.rmtree(path, ignore_errors=True)
        removed += 1
        with contextlib.suppress(OSError):
            # The job's own folder goes with its last attempt; another's may still be in it.
            path.parent.rmdir()
    return removed


def _argument(argv: Sequence[str], name: str) -> Path | None:
    for place, each in enumerate(argv):
        if each == name and place + 1 < len(argv):
            return Path(argv[place + 1])
        if each.startswith(f"{name}="):
            return Path(each.partition("=")[2])
    return None


def _main_folder(argv: Sequence[str]) -> Path | None:
    return Path(argv[0]).parent if argv and Path(argv[0]).is_absolute() else None
