"""
Judge a graph that a program sends, and make a workflow of it that workers can run.

The program is trusted to use the GPU, not the machine: no node that reads or writes files elsewhere, talks to the
network or runs code, and no value that names a file which is not the program's own. Input files come as v2's asset
references, or as a value says where they come from (`contract.media`); a worker brings them under a name of its own.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from chalicelib.contract.errors import Rejected
from chalicelib.contract.graph import check_api_format, is_link
from chalicelib.contract.manifest import Workflow
from chalicelib.contract.media import MEDIA, source_of
from chalicelib.contract.parameter import Parameter, Place, Type
from chalicelib.contract.values import one_line
from chalicelib.forbidden_nodes import why_forbidden

RAW: Final = "raw"
"""The id of every workflow that came as a graph."""
MAX_NODES: Final = 200
_ASSET: Final = "core/ASSET"
_LOADERS: Final = re.compile(r"Load.?(Image|Audio|Video)|(Image|Audio|Video).?Load", re.IGNORECASE)
_FILES: Final = frozenset({"image", "audio", "video", "file", "mask"})
"""Inputs of a loader that name a file in ComfyUI's input folder (object_info of 0.28)."""

_MEDIA: Final = ", ".join(sorted(MEDIA))

_CLIMBS: Final = re.compile(r"(^|[\\/])\.\.([\\/]|$)")
# One word after a slash is a path, and so is anything with a second slash; "/imagine a fox" is none.
_ABSOLUTE: Final = re.compile(
    r"^\s*(/(\S*\s*$|[^/]*/)|\\\S|~[^\s\\/]*[\\/]|[A-Za-z]:([\\/]|\S+\.\w{1,5}\s*$)|file:)", re.IGNORECASE
)
# ComfyUI's own nodes for words (0.28): they open no file, and what is written there has slashes of its own.
_OF_WORDS: Final = re.compile(r"^(CLIPTextEncode|TextEncode|String|Regex|PrimitiveString|CaseConverter)")
_PATH_AMONG_WORDS: Final = re.compile(
    r"^\s*(/[^/\s]+(/|\.\w{1,5}\s*$)|\\\\|~[\\/]|[A-Za-z]:[\\/]|file:)", re.IGNORECASE
)
# Where workers put the files of jobs (worker.perform): another's is nobody's business.
_OF_A_JOB: Final = re.compile(r"(^|[\\/])cs[\\/]+(\.[\\/]+)*[0-9a-f]{8}-[0-9a-f]{4}-", re.IGNORECASE)
# ComfyUI reads "name [output]" from the folder where everybody's results lie (folder_paths.annotated_filepath).
_ANNOTATED: Final = re.compile(r"\[(input|output|temp)\]\s*$")
_UNSENDABLE: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


@dataclass(frozen=True)
class RawGraph:
    """Hold what a graph became: a workflow, and its input files by parameter."""

    workflow: Workflow
    inputs: Mapping[str, str]


def judge_graph(
    graph: object, *, find_asset: Callable[[str], str | None], known_classes: Collection[str] = ()
) -> RawGraph:
    """
    Make a workflow of *graph* (API format).

    *find_asset* answers the SHA-256 of the asset of an id, None when the program has none. *known_classes* are those of
    the live workers; empty: nobody is there to tell, and the worker that takes the job refuses what it does not know.

    Raise `Rejected`: workflow_format_ui, invalid_workflow, forbidden_node, forbidden_value, missing_asset. *details*
    hold `node_errors` by node id, as v2 has them.
    """
    check_api_format(graph)
    nodes: dict[str, Any] = copy.deepcopy(dict(graph))  # type: ignore[call-overload]
    if len(nodes) > MAX_NODES:
        raise Rejected("invalid_workflow", f"The workflow has {len(nodes)} nodes; {MAX_NODES} are allowed.")
    _refuse("forbidden_node", _forbidden(nodes))
    if known_classes:
        _refuse("invalid_workflow", _unknown(nodes, known_classes))
    files = _Files(nodes, find_asset)
    files.take_out()
    _refuse("forbidden_value", ((node_id, fault) for node_id, node in nodes.items() for fault in _hostile(node)))
    workflow = Workflow(id=RAW, name="Raw graph", parameters=tuple(files.parameters), graph=nodes)
    return RawGraph(workflow, files.inputs)


def unsafe_nodes(graph: Mapping[str, Any]) -> Iterator[str]:
    """Say what a graph may not hold that somebody adds to the catalog who is no operator: nodes, and values."""
    yield from (fault for _, fault in _forbidden(graph))
    for node in graph.values():
        # The editor itself writes "mask.png [input]" where a mask was painted; a row's own file takes its place.
        inputs = {
            name: value.removesuffix(" [input]")
            if isinstance(value, str) and names_file(node["class_type"], name)
            else value
            for name, value in node["inputs"].items()
        }
        yield from _hostile({**node, "inputs": inputs})


def unsafe_places(workflow: Workflow) -> Iterator[str]:
    """Say which parameters could name a file on the server: only an input file of the row's own may go there."""
    for parameter in workflow.parameters:
        for place in parameter.sets:
            node_class = workflow.graph[place.node]["class_type"]
            if parameter.type not in MEDIA and names_file(node_class, place.input):
                where = f"{place.input} of node {place.node} ({node_class})"
                yield f"parameters.{parameter.name}.type: {where} names a file; one of {_MEDIA} is right there"


def names_file(node_class: str, name: str) -> bool:
    """Say whether an input names a file in ComfyUI's input folder."""
    return bool(_LOADERS.search(node_class)) and name in _FILES


def _refuse(code: str, faults: Iterator[tuple[str, str]]) -> None:
    """Raise with the first fault as the sentence, and all of them (20 at most) by node."""
    found: dict[str, list[dict[str, str]]] = {}
    first = ""
    for number, (node_id, fault) in enumerate(faults):
        if number == 20:
            break
        first = first or fault
        found.setdefault(node_id, []).append({"message": fault})
    if first:
        raise Rejected(code, first, {"node_errors": found})


def _named(node_id: str, node: Mapping[str, Any]) -> str:
    return f"Node {one_line(node_id)} ({one_line(node['class_type'])})"


def _forbidden(nodes: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for node_id, node in nodes.items():
        if why := why_forbidden(node["class_type"]):
            yield node_id, f"{_named(node_id, node)} is not allowed in a graph of your own: it {why}."


def _unknown(nodes: Mapping[str, Any], known: Collection[str]) -> Iterator[tuple[str, str]]:
    for node_id, node in nodes.items():
        if node["class_type"] not in known:
            yield (
                node_id,
                f"{_named(node_id, node)}: no running worker has this node. Install its custom node, or use another.",
            )


def _hostile(node: Mapping[str, Any]) -> Iterator[str]:
    """Find values that lead out of ComfyUI's folders, whichever node they are for."""
    is_path = _PATH_AMONG_WORDS if _OF_WORDS.match(node["class_type"]) else _ABSOLUTE
    for name, value in node["inputs"].items():
        for text in _texts(value):
            if _UNSENDABLE.search(text):
                yield f"{_where(name, node)} holds a control character. Take it out."
            elif _CLIMBS.search(text) or is_path.search(text):
                yield f'{_where(name, node)} cannot be "{one_line(text)}": a value may not be a path out of its folder.'
            elif _OF_A_JOB.search(text):
                yield f'{_where(name, node)} cannot be "{one_line(text)}": it names the files of a job.'
            elif _ANNOTATED.search(text):
                yield f'{_where(name, node)} cannot end in "{one_line(text)[-10:]}": it names another folder.'


def _where(name: str, node: Mapping[str, Any]) -> str:
    return f"{one_line(name)} of {one_line(node['class_type'])}"


def _texts(value: object) -> Iterator[str]:
    """Give every text in a value, keys included; the parser has bounded the depth (pydantic: 200)."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list) and not is_link(value):
        for part in value:
            yield from _texts(part)
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield str(key)
            yield from _texts(part)


class _Files:
    """Take the input files out of a graph: each place becomes a parameter that says where its file comes from."""

    def __init__(self, nodes: dict[str, Any], find_asset: Callable[[str], str | None]) -> None:
        self._nodes = nodes
        self._find_asset = find_asset
        self._missing: list[str] = []
        self.parameters: list[Parameter] = []
        self.inputs: dict[str, str] = {}

    def take_out(self) -> None:
        for node_id, node in self._nodes.items():
            for name, value in node["inputs"].items():
                source = self._source(node_id, node, name, value)
                if source is not None:
                    self._note(node_id, node["class_type"], name, source)
        if self._missing:
            ids = ", ".join(one_line(asset_id) for asset_id in self._missing[:5])
            raise Rejected(
                "missing_asset",
                f"There is no asset {ids} of yours. Upload the file again (POST /api/v2/assets).",
                {"missing_ids": self._missing[:100]},
            )

    def _source(self, node_id: str, node: Mapping[str, Any], name: str, value: object) -> str | None:
        """Say where the file of an input comes from; None: the input names no file."""
        if _is_reference(value):
            return self._asset(value)
        if any(_is_reference(part) for part in _parts(value)):
            where = f"{_named(node_id, node)}: {one_line(name)}"
            raise Rejected("missing_asset", f"{where} holds an asset within a list or an object. Give it by itself.")
        if not names_file(node["class_type"], name):
            return None
        if not isinstance(value, str):
            where = f"{_named(node_id, node)}: {one_line(name)}"
            raise Rejected("forbidden_value", f"{where} must name its file itself, not by a link or a number.")
        try:
            source_of(value)
        except ValueError:
            raise Rejected(
                "forbidden_value",
                f'{_named(node_id, node)}: {one_line(name)} names a file on the server, "{one_line(value)}". '
                "Upload yours (POST /api/v2/assets) and refer to the asset, or give an https address.",
                {"node_errors": {node_id: [{"message": f"{one_line(name)} names a file on the server."}]}},
            ) from None
        return value.strip()

    def _asset(self, reference: Any) -> str:
        info = reference.get("info")
        asset_id = info.get("id") if isinstance(info, Mapping) else None
        sha256 = self._find_asset(asset_id) if isinstance(asset_id, str) else None
        if sha256 is None:
            self._missing.append(str(asset_id)[:100])
            return ""
        return f"asset:{sha256}"

    def _note(self, node_id: str, node_class: str, name: str, source: str) -> None:
        parameter = Parameter(
            name=f"file_{len(self.parameters) + 1}",
            type=_kind(node_class, name),
            label=f"{one_line(name)} of node {one_line(node_id)}",
            sets=(Place(node=node_id, input=name),),
        )
        self.parameters.append(parameter)
        self.inputs[parameter.name] = source
        self._nodes[node_id]["inputs"][name] = ""


def _is_reference(value: object) -> bool:
    return isinstance(value, Mapping) and value.get("__type") == _ASSET


def _parts(value: object) -> Iterator[object]:
    """Give all that is inside a value."""
    inside = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    for part in inside:
        yield part
        yield from _parts(part)


def _kind(node_class: str, name: str) -> Type:
    words = f"{node_class} {name}".lower()
    if "audio" in words:
        return "audio"
    return "video" if "video" in words else "image"
