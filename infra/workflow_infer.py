"""The verb `workflows infer`: propose a manifest for a graph exported from ComfyUI, as YAML to read or as two files."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from chalicelib.contract.errors import Rejected
from chalicelib.contract.infer import Proposal, infer
from infra.workflow_files import FOLDER

if TYPE_CHECKING:
    Actions = argparse._SubParsersAction[Any]

_ID: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_WIDTH: Final = 120


def register_infer(actions: Actions) -> None:
    """Add the action to the verb `workflows`."""
    action = actions.add_parser("infer", help="propose a manifest for a graph exported from ComfyUI; touches no cloud")
    action.add_argument("graph", type=Path, help="the file that Workflow > Export (API) wrote")
    action.add_argument("--id", help="the workflow's id; the file's name unless told")
    action.add_argument("--name", default="", help="the workflow's name, as a Workflow cell shows it")
    action.add_argument(
        "--object-info", type=Path, metavar="FILE", help="what GET /object_info of your ComfyUI answers"
    )
    action.add_argument(
        "--write",
        nargs="?",
        const=FOLDER,
        type=Path,
        metavar="FOLDER",
        help="write <id>.yaml and <id>.json there; default: workflows/",
    )
    action.add_argument("--force", action="store_true", help="with --write: write over files that exist")
    action.set_defaults(run=_infer)


def _infer(arguments: argparse.Namespace) -> int:
    graph = _read(arguments.graph)
    info = _read(arguments.object_info) if arguments.object_info else None
    workflow_id = arguments.id or _id_of(arguments.graph)
    if not _ID.fullmatch(workflow_id) or workflow_id == "base":
        raise Rejected(
            "invalid_input",
            f"{workflow_id!a} cannot be an id: use a-z, 0-9, dots, hyphens and underscores, or name one with --id.",
        )
    proposal = infer(graph, name=arguments.name, object_info=info)
    folder = arguments.write or FOLDER
    text = as_yaml(proposal, _shared(folder))
    if not arguments.write:
        print(text, end="")
        return _tell_faults(proposal)
    _write(folder, workflow_id, text, graph, is_forced=arguments.force)
    for note in proposal.notes:
        print(f"- {note}")
    return _tell_faults(proposal)


def _tell_faults(proposal: Proposal) -> int:
    for fault in proposal.faults:
        print(f"not yet a workflow: {fault}", file=sys.stderr)
    return 1 if proposal.faults else 0


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise Rejected("invalid_input", f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise Rejected("invalid_workflow", f"{path.name} is not JSON: {error}.") from error


def _id_of(path: Path) -> str:
    """Make an id of a file's name: "My Poster (API).json" is my-poster."""
    stem = re.sub(r"[^a-z0-9._-]+", "-", path.stem.lower()).strip("-._")
    return re.sub(r"[-._]+api$", "", stem)[:64]


def _shared(folder: Path) -> Mapping[str, Any]:
    """Give base.yaml's definitions; without that file there are none."""
    try:
        loaded = yaml.safe_load((folder / "base.yaml").read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    shared = loaded.get("parameters") if isinstance(loaded, dict) else None
    return shared if isinstance(shared, dict) else {}


def _write(folder: Path, workflow_id: str, text: str, graph: Any, *, is_forced: bool) -> None:
    """Write the two files; none when one of them exists and nobody said --force."""
    files = {
        folder / f"{workflow_id}.yaml": text,
        folder / f"{workflow_id}.json": json.dumps(graph, indent=2, ensure_ascii=False) + "\n",
    }
    there = [path.name for path in files if path.exists()]
    if there and not is_forced:
        raise Rejected(
            "invalid_input",
            f"{' and '.join(there)} stand in {folder} already: choose another --id, or write over them with --force.",
        )
    folder.mkdir(parents=True, exist_ok=True)
    for path, content in files.items():
        path.write_text(content, encoding="utf-8")
        print(f"wrote {path}")


def as_yaml(proposal: Proposal, shared: Mapping[str, Any]) -> str:
    """Write a proposal as a manifest: notes as comments, and no field that base.yaml says already."""
    parameters = {name: _slim(fields, shared.get(name, {})) for name, fields in proposal.manifest["parameters"].items()}
    head = {key: value for key, value in proposal.manifest.items() if key != "parameters"}
    said = [*proposal.notes, *(f"Not yet a workflow: {fault}." for fault in proposal.faults)]
    comments = "".join(
        f"# {' '.join(one.split())}\n"
        for one in ("Proposed from the graph; look it through before you push it.", *said)
    )
    manifest = {**head, "parameters": parameters}
    return comments + yaml.dump(manifest, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_WIDTH)


def _slim(fields: Mapping[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what the shared definition says; write places on one line each."""
    left: dict[str, Any] = {key: value for key, value in fields.items() if key != "sets" and shared.get(key) != value}
    if not shared.get("aliases") and not left.get("aliases"):
        left.pop("aliases", None)
    for key in ("aliases", "choices"):
        if key in left:
            left[key] = _OnOneLine(left[key])
    places = [_Place(place) for place in fields["sets"]]
    return {**left, "sets": places[0] if len(places) == 1 else places}


class _Place(dict[str, str]):
    """A place, written as {node: '3', input: text}."""


class _OnOneLine(list[str]):
    """A list, written on one line."""


class _Dumper(yaml.SafeDumper):
    """Write YAML as the shipped manifests have it."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        """Write every value out."""
        return True


_Dumper.add_representer(
    _Place, lambda dumper, place: dumper.represent_mapping("tag:yaml.org,2002:map", place.items(), flow_style=True)
)
_Dumper.add_representer(
    _OnOneLine, lambda dumper, listed: dumper.represent_sequence("tag:yaml.org,2002:seq", listed, flow_style=True)
)
