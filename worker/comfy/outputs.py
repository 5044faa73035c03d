"""
Find the files that a prompt made.

Nodes report them under any key (`images`, `audio`, `gifs`, `latents`, `files`, `3d` ...), among strings, booleans and
null; a video comes under `images`. What counts is a dictionary with a `filename`.
A node can report any path (custom nodes are arbitrary code): only names that stay inside the folder are given on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

KEPT: Final = "output"
TEMPORARY: Final = "temp"


@dataclass(frozen=True)
class OutputFile:
    """Name one file as /view takes it, and the node that made it."""

    node: str
    filename: str
    subfolder: str
    folder: str
    """`output`, or `temp` for previews."""

    @property
    def display_name(self) -> str:
        """Give the name for people: the last part, printable, 120 characters at most."""
        name = re.split(r"[/\\]", self.filename)[-1]
        return "".join(char for char in name if char.isprintable())[-120:] or "file"


def files_of(outputs: Mapping[str, Any]) -> tuple[OutputFile, ...]:
    """
    List the files in *outputs* (history's), each once, in the order in which they were reported.

    Kept files only; temporary ones (PreviewImage and its like) when nothing else was made. Files outside the folder
    are left out: `strays_of` counts them.
    """
    found = list(dict.fromkeys(file for file in _reported(outputs) if is_contained(file)))
    kept = tuple(file for file in found if file.folder == KEPT)
    return kept or tuple(file for file in found if file.folder == TEMPORARY)


def strays_of(outputs: Mapping[str, Any]) -> int:
    """Count reported files whose path leads out of ComfyUI's folders."""
    return sum(not is_contained(file) for file in _reported(outputs))


def is_contained(file: OutputFile) -> bool:
    """Say whether the file's path stays inside its folder, whatever operating system reads it."""
    for path in (file.filename, file.subfolder):
        if path.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", path) or "\0" in path:
            return False
        if ".." in re.split(r"[/\\]", path):
            return False
    return bool(file.filename)


def _reported(outputs: Mapping[str, Any]) -> Iterator[OutputFile]:
    for node, report in outputs.items():
        for value in report.values() if isinstance(report, dict) else []:
            for item in value if isinstance(value, list) else [value]:
                if isinstance(item, dict) and isinstance(item.get("filename"), str):
                    subfolder, folder = item.get("subfolder"), item.get("type")
                    yield OutputFile(
                        node=str(node),
                        filename=item["filename"],
                        subfolder=subfolder if isinstance(subfolder, str) else "",
                        folder=folder if isinstance(folder, str) else KEPT,
                    )
