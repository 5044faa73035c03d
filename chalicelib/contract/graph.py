"""
Handle graphs in ComfyUI's API format.

The shape: {"<node id>": {"class_type": str, "inputs": {name: value or ["<node id>", slot]}}}.

A filled graph differs from its template only at the declared places. ComfyUI answers a graph of another shape with a
500 in plain text (0.28, trap 11), so the shape is checked before it is sent.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from chalicelib.contract.errors import Rejected
from chalicelib.contract.media import MEDIA, Source, source_of
from chalicelib.contract.parameter import Parameter
from chalicelib.contract.size import side_at

if TYPE_CHECKING:
    from chalicelib.contract.manifest import Workflow

Graph = Mapping[str, Any]

UI_FORMAT: Final = (
    "this is the format of ComfyUI's editor. Export it with Workflow > Export (API) (older: Save (API Format)) "
    "and use that file"
)
MAX_NODES: Final = 1000

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_-]")

_LORA_PASSES: Final[dict[str, dict[int, str]]] = {
    "LoraLoader": {0: "model", 1: "clip"},
    "LoraLoaderModelOnly": {0: "model"},
}
"""What each output of a LoRA node is when the node is left out: the input of this name."""


def faults_of_graph(graph: object) -> Iterator[str]:
    """Say what keeps *graph* from being a graph in API format."""
    if not isinstance(graph, Mapping):
        yield "a workflow is a JSON object of nodes"
        return
    if isinstance(graph.get("nodes"), list):
        yield UI_FORMAT
        return
    if not graph:
        yield "the workflow has no node"
    if len(graph) > MAX_NODES:
        yield f"the workflow has {len(graph)} nodes; {MAX_NODES} are allowed"
    for node_id, node in graph.items():
        if not isinstance(node, Mapping) or not isinstance(node.get("class_type"), str):
            yield f"node {node_id} has no class_type"
        elif not isinstance(node.get("inputs"), Mapping):
            yield f"node {node_id} ({node['class_type']}) has no inputs"
        else:
            for name, value in node["inputs"].items():
                if is_link(value) and str(value[0]) not in graph:
                    yield f"{name} of node {node_id} ({node['class_type']}) links to node {value[0]}, which is missing"
        if not is_json({node_id: node}):
            yield f"node {node_id!a} holds what JSON cannot carry: NaN, infinity or half of an emoji"


def is_json(value: object) -> bool:
    """Say whether JSON in UTF-8 carries *value*: Python's reader lets NaN and lone surrogates in, others do not."""
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError):
        return False
    return True


def check_api_format(graph: object) -> None:
    """Raise `Rejected` (workflow_format_ui, invalid_workflow) unless *graph* is in API format."""
    fault = next(faults_of_graph(graph), None)
    if fault is not None:
        code = "workflow_format_ui" if fault == UI_FORMAT else "invalid_workflow"
        raise Rejected(code, f"The workflow cannot be run: {fault}.")


def is_link(value: object) -> bool:
    """Say whether an input's value is a link to another node's output."""
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], int)


def save_nodes(graph: Graph) -> list[str]:
    """Name the nodes that write files: those with an input `filename_prefix`, be it a value or a link."""
    return [node_id for node_id, node in graph.items() if "filename_prefix" in node["inputs"]]


def lora_faults(graph: Graph, node_id: str) -> Iterator[str]:
    """Say what keeps the LoRA node *node_id* from being left out."""
    node = graph[node_id]
    passes = _LORA_PASSES.get(node["class_type"])
    if passes is None:
        known = " and ".join(_LORA_PASSES)
        yield f"node {node_id} ({node['class_type']}) cannot be left out for a LoRA of None; {known} can"
        return
    for name in passes.values():
        if not is_link(node["inputs"].get(name)):
            yield f"{name} of node {node_id} ({node['class_type']}) must be a link, so that the node can be left out"
    for other_id, other in graph.items():
        for name, value in other["inputs"].items():
            if is_link(value) and value[0] == node_id and value[1] not in passes:
                yield f"{name} of node {other_id} takes output {value[1]} of node {node_id}, which has no such output"


def fill(workflow: Workflow, inputs: Mapping[str, object]) -> dict[str, Any]:
    """
    Put resolved *inputs* (by parameter name) into a copy of the workflow's graph.

    A LoRA of None takes its node out: what it fed is linked to what fed it. An input file is not put in here: its
    value says where it comes from, not what it is called on the server (`media_of`).
    """
    graph: dict[str, Any] = copy.deepcopy(dict(workflow.graph))
    bypassed: set[str] = set()
    for parameter in workflow.parameters:
        value = inputs.get(parameter.name)
        if parameter.type in MEDIA:
            continue
        for place in parameter.sets:
            if parameter.type == "lora" and value is None:
                bypassed.add(place.node)
            elif value is not None:
                own = side_at(place, str(value)) if parameter.type == "size" else value
                graph[place.node]["inputs"][place.input] = own
    for node_id in sorted(bypassed):
        _bypass(graph, node_id)
    return graph


def media_of(workflow: Workflow, inputs: Mapping[str, object]) -> list[tuple[Parameter, Source]]:
    """List the input files that *inputs* ask for, each with where it comes from; the others keep the template's."""
    found = []
    for parameter in workflow.parameters:
        value = inputs.get(parameter.name)
        if parameter.type in MEDIA and isinstance(value, str):
            try:
                found.append((parameter, source_of(value)))
            except ValueError as fault:
                raise Rejected("invalid_input", f"{parameter.title} {fault}.") from None
    return found


def put_media(graph: Graph, parameter: Parameter, name: str) -> dict[str, Any]:
    """Name an uploaded file (as ComfyUI calls it) at the places of *parameter*, in a copy."""
    own: dict[str, Any] = copy.deepcopy(dict(graph))
    for place in parameter.sets:
        if place.node in own:
            own[place.node]["inputs"][place.input] = name
    return own


def _bypass(graph: dict[str, Any], node_id: str) -> None:
    """Take a LoRA node out of *graph*."""
    node = graph.pop(node_id)
    passes = _LORA_PASSES.get(node["class_type"], {})
    for other in graph.values():
        for name, value in other["inputs"].items():
            if is_link(value) and value[0] == node_id:
                other["inputs"][name] = node["inputs"][passes[value[1]]]


def isolate(graph: Graph, prefix: str) -> dict[str, Any]:
    """
    Give every save node a filename prefix of its own below *prefix* (a folder per attempt).

    Without it ComfyUI answers a repeated prompt from its cache with a file that may be gone (trap 4), and every save
    lists a folder that grows for ever.
    """
    own: dict[str, Any] = copy.deepcopy(dict(graph))
    for node_id in save_nodes(own):
        # An id may hold anything ("12:3" in a subgraph, "../x" in a hostile graph); a file name may not.
        own[node_id]["inputs"]["filename_prefix"] = f"{prefix}/{_UNSAFE.sub('_', node_id)}"
    return own
