"""
Find the files and texts that a prompt made.

Nodes report files under any key (`images`, `audio`, `gifs`, `latents`, `files`, `a_images`, `3d` ...), among strings,
booleans and null; a video comes under `images`. What counts is a dictionary with a `filename`; of its other entries
only `subfolder` and `type` (a `fullpath` is the server's own affair). Two nodes speak otherwise: Preview3D gives paths
as plain strings under `result`; PreviewAny, ShowText and their like give strings under `text`.

A node can report any path (custom nodes are arbitrary code): only names that stay inside the folder are given on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

KEPT: Final = "output"
TEMPORARY: Final = "temp"
TEXTS_MOST_BYTES: Final = 1_000_000
"""For all texts of a prompt together; what is beyond is cut off."""
TEXTS_MOST: Final = 100
_DEEPEST: Final = 3
_ANNOTATED: Final = re.compile(r"\[(input|output|temp)\]\s*$")
_MODEL_3D: Final = re.compile(r"\.(glb|gltf|obj|stl|ply|fbx|usdz?|splat|ksplat|spz)$", re.IGNORECASE)


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

    @property
    def place(self) -> tuple[str, str, str]:
        """Say where it lies, whichever node reports it."""
        return self.folder, self.subfolder, self.filename


@dataclass(frozen=True)
class OutputText:
    """Hold one text that a node showed without writing a file."""

    node: str
    text: str

    @property
    def display_name(self) -> str:
        """Give the name for people: `text-` and the node's id."""
        return f"text-{''.join(char for char in self.node if char.isalnum() or char in '-_')[:40]}.txt"


def files_of(outputs: Mapping[str, Any]) -> tuple[OutputFile, ...]:
    """
    List the files in *outputs* (history's), each once, in the order in which they were reported.

    Kept files only; temporary ones (PreviewImage and its like) when nothing else was made, not even a text. Files
    outside the folder are left out: `strays_of` counts them.
    """
    found = list(dict.fromkeys(file for file in _reported(outputs) if is_contained(file)))
    kept = tuple(file for file in found if file.folder == KEPT)
    if kept or texts_of(outputs):
        return kept
    return tuple(file for file in found if file.folder == TEMPORARY)


def texts_of(outputs: Mapping[str, Any]) -> tuple[OutputText, ...]:
    """List the texts of the nodes that reported no file; 100 of them and 1 MB at most, empty ones left out."""
    texts: list[OutputText] = []
    left_bytes = TEXTS_MOST_BYTES
    for node, report in outputs.items():
        if not isinstance(report, dict) or any(True for _ in _reported({node: report})):
            continue
        shown = report.get("text")
        for text in shown if isinstance(shown, list) else [shown]:
            if not isinstance(text, str) or not text.strip() or left_bytes <= 0 or len(texts) == TEXTS_MOST:
                continue
            # JSON may hold half a surrogate pair, which UTF-8 cannot.
            whole = text.encode("utf-8", "replace")
            texts.append(OutputText(str(node), whole[:left_bytes].decode("utf-8", "ignore")))
            left_bytes -= len(whole)
    return tuple(texts)


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
    # ComfyUI takes "x.png [input]" for x.png of the folder input (folder_paths.annotated_filepath), whatever the type.
    return bool(file.filename) and not _ANNOTATED.search(file.filename)


def _reported(outputs: Mapping[str, Any]) -> Iterator[OutputFile]:
    """Give the files that have an entry of their own, then those that a Preview3D names and nobody else reports."""
    known: set[tuple[str, str, str]] = set()
    speechless: list[tuple[str, dict[str, Any]]] = []
    for node, report in outputs.items():
        if not isinstance(report, dict):
            continue
        files = [_file(str(node), entry) for value in report.values() for entry in _entries(value)]
        known.update(file.place for file in files)
        yield from files
        if not files:
            speechless.append((str(node), report))
    for node, report in speechless:
        shown = report.get("result")
        for path in shown if isinstance(shown, list) else []:
            if isinstance(path, str) and _MODEL_3D.search(path):
                file = _file(node, {"filename": path})
                if file.place not in known:
                    yield file


def _entries(value: object, depth: int = 0) -> Iterator[Mapping[str, Any]]:
    """Find the dictionaries with a `filename`, in lists within lists too."""
    if isinstance(value, dict) and isinstance(value.get("filename"), str):
        yield value
    elif isinstance(value, list) and depth < _DEEPEST:
        for item in value:
            yield from _entries(item, depth + 1)


def _file(node: str, entry: Mapping[str, Any]) -> OutputFile:
    filename, subfolder, folder = entry["filename"], entry.get("subfolder"), entry.get("type")
    parent, _, name = filename.rpartition("/")
    if parent and name and not subfolder:
        # /view looks for the last part of the name, in the subfolder it is told (ComfyUI, server.py, view_image).
        filename, subfolder = name, parent
    return OutputFile(
        node=node,
        filename=filename,
        subfolder=subfolder if isinstance(subfolder, str) else "",
        folder=folder if isinstance(folder, str) else KEPT,
    )
