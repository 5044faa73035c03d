"""Read what a person or a program gives as a workflow's inputs: plain values, files, rows of a table."""

from __future__ import annotations

import csv
import numbers
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comfysheet._plan import Plan
from comfysheet._uploads import Source, Uploads
from comfysheet.values import Asset

Row = Mapping[str, Any]
"""A workflow's inputs by name: text, numbers, true and false, None (the default), a `Path` (uploaded), an `Asset`."""


def prepare(inputs: Row, uploads: Uploads) -> Plan[dict[str, Any]]:
    """Make JSON of *inputs*: upload the files among them. Raise `TypeError` for what is no input."""
    ready: dict[str, Any] = {}
    for name, value in inputs.items():
        asset = yield from _file(value, uploads)
        ready[name] = asset.reference if asset else plain(name, value)
    return ready


def prepare_graph(graph: Mapping[str, Any], uploads: Uploads) -> Plan[dict[str, Any]]:
    """Copy a raw *graph*; files among its nodes' inputs are uploaded and become v2's asset references."""
    ready: dict[str, Any] = {}
    for node_id, node in graph.items():
        ready[node_id] = node
        given = node.get("inputs") if isinstance(node, Mapping) else None
        if not isinstance(given, Mapping):
            continue
        inputs: dict[str, Any] = {}
        for name, value in given.items():
            asset = yield from _file(value, uploads)
            inputs[name] = (
                {"__type": "core/ASSET", "info": {"id": asset.id, "file_path": asset.name}} if asset else value
            )
        ready[node_id] = {**node, "inputs": inputs}
    return ready


def _file(value: object, uploads: Uploads) -> Plan[Asset | None]:
    if isinstance(value, Asset):
        return value
    if isinstance(value, os.PathLike):
        asset = yield from uploads.upload(Source.of_path(Path(value)))
        return asset
    return None


def plain(name: str, value: object) -> str | int | float | bool | None:
    """Give a value as JSON has it; other libraries' numbers are numbers too."""
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    raise TypeError(
        f"{name} is a {type(value).__name__}. An input is text, a number, true or false, a pathlib.Path or an Asset."
    )


@dataclass(frozen=True)
class CsvFile:
    """Read a table with a header line; an empty cell leaves its input out. *files* names columns that hold paths."""

    path: Path
    files: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        # utf-8-sig: spreadsheets put a mark in front.
        with self.path.open(newline="", encoding="utf-8-sig") as lines:
            reader = csv.DictReader(lines, strict=True)
            missing = set(self.files) - set(reader.fieldnames or ())
            if missing:
                raise ValueError(f"{self.path} has no column {', '.join(sorted(missing))}.")
            for row in reader:
                if None in row:
                    raise ValueError(f"{self.path}, line {reader.line_num}: more cells than the header has.")
                yield {name: self._value(name, cell) for name, cell in row.items() if cell and name}

    def _value(self, name: str, cell: str) -> str | Path:
        return self.path.parent / cell if name in self.files else cell


def read_csv(path: str | os.PathLike[str], *, files: tuple[str, ...] = ()) -> CsvFile:
    """Read rows for `map` from a CSV file (UTF-8), as they are asked for; paths in *files* are relative to it."""
    return CsvFile(Path(path), files)
