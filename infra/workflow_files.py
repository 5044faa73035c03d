"""Read the workflow folder: base.yaml, and <id>.yaml beside <id>.json (ComfyUI API format) for each workflow."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from chalicelib.contract.manifest import ManifestError, Workflow, parse_workflow
from chalicelib.contract.words import fold

FOLDER: Final = Path(__file__).resolve().parent.parent / "workflows"


def read_folder(folder: Path = FOLDER) -> list[Workflow]:
    """Read every workflow, by id; raise `ManifestError` with the faults of all files at once."""
    faults: list[str] = []
    workflows: list[Workflow] = []
    base = _mapping(folder / "base.yaml", faults).get("parameters", {})
    for path in sorted(folder.glob("*.yaml")):
        if path.name == "base.yaml":
            continue
        found = len(faults)
        manifest = _mapping(path, faults)
        graph = _graph(path.with_suffix(".json"), faults)
        if len(faults) > found:
            continue
        try:
            workflows.append(parse_workflow(path.stem, manifest, base, graph, file=path.name))
        except ManifestError as error:
            faults += error.faults
    faults += _shared_names(workflows)
    for path in sorted(folder.glob("*.json")):
        if not path.with_suffix(".yaml").exists():
            faults.append(f"{path.name}: manifest: there is no {path.stem}.yaml that describes it")
    if faults:
        raise ManifestError(faults)
    return workflows


def _mapping(path: Path, faults: list[str]) -> Mapping[str, Any]:
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        faults.append(f"{path.name}: the file: cannot be read: {' '.join(str(error).split())}")
        return {}
    if not isinstance(loaded, dict):
        faults.append(f"{path.name}: the file: must be a mapping of fields")
        return {}
    return loaded


def _graph(path: Path, faults: list[str]) -> dict[str, Any]:
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        faults.append(f"{path.name}: graph: is missing; export it with Workflow > Export (API)")
        return {}
    except ValueError as error:
        faults.append(f"{path.name}: graph: is not JSON: {error}")
        return {}
    if not isinstance(loaded, dict):
        faults.append(f"{path.name}: graph: must be a JSON object of nodes")
        return {}
    return loaded


def _shared_names(workflows: list[Workflow]) -> Iterator[str]:
    """Find names that two workflows answer to: a Workflow cell may hold an id or a name, in any case."""
    taken: dict[str, str] = {}
    for workflow in workflows:
        for word in {fold(workflow.id), fold(workflow.name)}:
            if taken.setdefault(word, workflow.id) != workflow.id:
                yield f'{workflow.id}.yaml: name: "{word}" means {taken[word]} already'
