"""Read what was typed: a workflow or a graph's file, and inputs."""

from __future__ import annotations

import json
import mimetypes
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


class Usage(Exception):
    """Say what was typed wrongly."""


def graph_of(workflow: str) -> dict[str, Any] | None:
    """Read a raw graph when *workflow* names a .json file, else None; raise `Usage`."""
    if not workflow.endswith(".json"):
        return None
    try:
        graph = json.loads(Path(workflow).read_text("utf-8"))
    except FileNotFoundError:
        raise Usage(f"There is no file {workflow}.") from None
    except ValueError as error:
        raise Usage(f"{workflow} is no JSON: {error}.") from None
    if not isinstance(graph, dict):
        raise Usage(f"{workflow} holds no graph. Export it from ComfyUI in API format.")
    return graph


def inputs_of(parameters: Sequence[str]) -> dict[str, str | Path]:
    """Read what stands after -p; raise `Usage`."""
    inputs: dict[str, str | Path] = {}
    for parameter in parameters:
        name, sign, value = parameter.partition("=")
        if not sign or not name:
            raise Usage(f"-p {parameter}: write NAME=VALUE.")
        inputs[name] = _value(value)
    return inputs


def _value(value: str) -> str | Path:
    if value.startswith("@@") or not value.startswith("@"):
        return value.removeprefix("@")
    if value == "@-":
        return sys.stdin.read().rstrip("\n")
    path = Path(value[1:])
    if not path.is_file():
        raise Usage(f"There is no file {path}. A value that begins with @ names a file; write @@ for an @ itself.")
    return path.read_text("utf-8").rstrip("\n") if mimetypes.guess_type(path.name)[0] == "text/plain" else path
