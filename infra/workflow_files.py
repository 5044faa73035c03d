"""Read the workflow folder: base.yaml, and <id>.yaml beside <id>.json (ComfyUI API format) for each workflow."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from yaml.composer import ComposerError

from chalicelib.contract.manifest import ManifestError, Workflow, faults_of_base, parse_workflow
from chalicelib.contract.words import fold

FOLDER: Final = Path(__file__).resolve().parent.parent / "workflows"


def read_folder(folder: Path = FOLDER) -> list[Workflow]:
    """Read every workflow, by id; raise `ManifestError` with the faults of all files at once."""
    faults: list[str] = []
    base = _base(folder / "base.yaml", faults)
    workflows = [
        workflow
        for path in sorted(folder.glob("*.yaml"))
        if path.name != "base.yaml" and (workflow := _workflow(path, base, faults)) is not None
    ]
    faults += _shared_names(workflows)
    for path in sorted(folder.glob("*.json")):
        if not path.with_suffix(".yaml").exists():
            faults.append(f"{path.name}: manifest: there is no {path.stem}.yaml that describes it")
    if faults:
        raise ManifestError(faults)
    return workflows


def read_files(paths: Iterable[Path], base: Mapping[str, Any]) -> list[Workflow]:
    """Read some workflows, each by its .yaml or its .json; raise `ManifestError` with the faults of all at once."""
    faults: list[str] = []
    manifests = dict.fromkeys(path.with_suffix(".yaml") for path in paths)
    workflows = [one for path in manifests if (one := _workflow(path, base, faults)) is not None]
    faults += _shared_names(workflows)
    if faults:
        raise ManifestError(faults)
    return workflows


def read_base(folder: Path = FOLDER) -> Mapping[str, Any]:
    """Read the definitions that workflows share; raise `ManifestError`."""
    faults: list[str] = []
    base = _base(folder / "base.yaml", faults)
    if faults:
        raise ManifestError(faults)
    return base


def _base(path: Path, faults: list[str]) -> Mapping[str, Any]:
    shared = _mapping(path, faults)
    base: Mapping[str, Any] = shared.get("parameters", {})
    faults += [
        f"base.yaml: {key}: there is no such field; there is parameters" for key in shared if key != "parameters"
    ]
    faults += [f"base.yaml: {fault}" for fault in faults_of_base(base)]
    return base


def _workflow(path: Path, base: Mapping[str, Any], faults: list[str]) -> Workflow | None:
    found = len(faults)
    manifest = _mapping(path, faults)
    graph = _graph(path.with_suffix(".json"), faults)
    if len(faults) > found:
        return None
    try:
        return parse_workflow(path.stem, manifest, base, graph, file=path.name)
    except ManifestError as error:
        faults += error.faults
        return None


class _Loader(yaml.SafeLoader):
    """Read YAML in which no name stands twice: YAML itself lets the last one win in silence."""

    def compose_mapping_node(self, anchor: dict[Any, yaml.Node]) -> yaml.MappingNode:
        """Compose a mapping; raise ComposerError at a name that it has already."""
        node = super().compose_mapping_node(anchor)
        names: set[str] = set()
        for name, _ in node.value:
            if isinstance(name, yaml.ScalarNode):
                if name.value in names:
                    raise ComposerError(None, None, f"{name.value} stands here twice", name.start_mark)
                names.add(name.value)
        return node


def _mapping(path: Path, faults: list[str]) -> Mapping[str, Any]:
    try:
        loaded = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        # ValueError: another encoding, a date like 2026-13-45, a number of thousands of digits.
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
    except (OSError, ValueError, RecursionError) as error:
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
