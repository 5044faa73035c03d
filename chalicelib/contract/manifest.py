"""
Describe a workflow: what a row may set, and where in the graph each value goes.

A manifest is written by people (workflows/<id>.yaml), so every fault is named, all at once, with file, field and
reason. Parameters that many workflows share stand in base.yaml; a workflow names them and overrides any field.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any, Final

from pydantic import Field, ValidationError

from chalicelib.contract.graph import Graph, faults_of_graph, lora_faults, save_nodes
from chalicelib.contract.job import Frozen
from chalicelib.contract.media import MEDIA
from chalicelib.contract.parameter import NAMES, SIDE_STEP, Parameter
from chalicelib.contract.size import faults_of_choices, faults_of_places, with_parts
from chalicelib.contract.values import MAX_SEED, value_of
from chalicelib.contract.words import fold

MAX_COST: Final = 1024 * 1024 * 640
"""Width × height × steps × batch: what one row may ask of a GPU, in pixel steps (4096 × 4096 at 40 steps)."""


class ManifestError(Exception):
    """Name every fault of a manifest: *faults* are sentences of the form "file: field: reason"."""

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(self.faults))


class Workflow(Frozen):
    """Hold a workflow: its parameters, its graph in ComfyUI's API format, and the hash that names this very version."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")
    name: str = Field(min_length=1, max_length=100)
    description: str = ""
    parameters: tuple[Parameter, ...] = ()
    max_runtime_s: int = Field(default=900, ge=1, le=39_600)
    """How long one attempt may take; under 11 hours, where a message can no longer be kept."""
    max_cost: int = Field(default=MAX_COST, ge=1, le=2**53)
    """How many pixel steps one job may ask for: width × height × steps × batch."""
    graph: dict[str, Any]

    @cached_property
    def hash(self) -> str:
        """
        Hash manifest and graph: 64 hex digits.

        Kept once made: change a workflow by parsing it anew, not by `model_copy`. A new field of ours that has a
        default leaves the hash of every stored version as it is.
        """
        text = json.dumps(to_document(self), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()


def to_document(workflow: Workflow) -> dict[str, Any]:
    """Give the workflow as JSON for the bucket; `from_document` reads it back exactly."""
    return workflow.model_dump(mode="json", exclude_defaults=True)


def from_document(document: Mapping[str, Any]) -> Workflow:
    """Read what `to_document` gave; raise ValueError when it is damaged."""
    return Workflow.model_validate(document)


def parse_workflow(
    workflow_id: str,
    manifest: Mapping[str, Any],
    base: Mapping[str, Any],
    graph: Graph,
    *,
    file: str,
) -> Workflow:
    """
    Make a workflow of what a person wrote: *manifest* (the yaml), *base* (base.yaml's parameters by name), *graph*.

    Raise `ManifestError` with every fault.
    """
    misshapen = [f"graph: {fault}" for fault in faults_of_graph(graph)]
    parameters, faults = _parameters(manifest, base)
    known = set(Workflow.model_fields) - {"id", "graph", "parameters"}
    fields = {key: value for key, value in manifest.items() if key in known}
    faults += [
        f"{key}: there is no such field; there are {', '.join(sorted(known))}, parameters, overrides"
        for key in manifest
        if key not in known and key not in ("parameters", "overrides")
    ]
    faults += misshapen or [*_meaning(parameters, graph)]
    faults += [fault for parameter in parameters for fault in (*_ends(parameter), *_bounds(parameter))]
    faults += _unsendable({**fields, **{f"parameters.{one.name}": one.model_dump() for one in parameters}})
    try:
        shape = {} if misshapen else dict(graph)
        workflow = Workflow.model_validate({**fields, "id": workflow_id, "parameters": parameters, "graph": shape})
    except ValidationError as error:
        faults += [f"{_where(fault['loc'])}: {fault['msg']}" for fault in error.errors()]
        raise ManifestError(f"{file}: {fault}" for fault in faults) from None
    if faults:
        raise ManifestError(f"{file}: {fault}" for fault in faults)
    return workflow


def faults_of_base(base: object) -> list[str]:
    """Say what is wrong with base.yaml's parameters as such, whether a workflow uses them or not."""
    if not isinstance(base, Mapping):
        return ["parameters: must be a mapping of names to fields"]
    # A definition may leave these two to the workflows.
    left: dict[str, Any] = {"type": "string", "sets": [{"node": "", "input": ""}]}
    whole = {name: {**left, **own} if isinstance(own, Mapping) else own for name, own in base.items()}
    return _parameters({"parameters": whole}, {})[1]


def _parameters(manifest: Mapping[str, Any], base: Mapping[str, Any]) -> tuple[list[Parameter], list[str]]:
    """Merge each parameter with its shared definition: base.yaml, then the workflow's own fields, then `overrides`."""
    listed = manifest.get("parameters", {})
    overrides = manifest.get("overrides", {})
    for field, names in (("parameters", listed), ("overrides", overrides), ("base.yaml's parameters", base)):
        if not isinstance(names, Mapping):
            return [], [f"{field}: must be a mapping of names to fields"]
    faults = [f"overrides.{name}: there is no parameter {name} here" for name in overrides if name not in listed]
    made = []
    for name, own in listed.items():
        parts = [base.get(name, {}), own or {}, overrides.get(name) or {}]
        if not all(isinstance(part, Mapping) for part in parts):
            faults.append(f"parameters.{name}: must be a mapping of fields")
            continue
        merged: dict[str, Any] = {key: value for part in parts for key, value in part.items()}
        places = merged.get("sets", [])
        if isinstance(places, Mapping):
            places = [places]
        if isinstance(places, list):
            merged["sets"] = [
                {**place, "node": str(place["node"])} if isinstance(place, Mapping) and "node" in place else place
                for place in places
            ]
        if merged.get("type") == "size":
            merged["sets"] = with_parts(merged.get("sets"))
        if isinstance(merged.get("choices"), list):
            # YAML reads a bare `on` as true, and what the node wants is "on": only numbers are turned into text.
            merged["choices"] = [str(one) if type(one) in (int, float) else one for one in merged["choices"]]
        try:
            made.append(Parameter.model_validate({**merged, "name": name}))
        except ValidationError as error:
            for fault in error.errors():
                reason = "there is no such field" if fault["type"] == "extra_forbidden" else fault["msg"]
                faults.append(f"parameters.{name}.{_where(fault['loc'])}: {reason}")
    return made, faults


def _meaning(parameters: Iterable[Parameter], graph: Graph) -> Iterable[str]:
    """Find what is well formed and still wrong: parameters against each other and against the graph."""
    taken: dict[str, str] = {}
    setters: dict[tuple[str, str], str] = {}
    for parameter in parameters:
        where = f"parameters.{parameter.name}"
        for word in sorted(parameter.words()):
            if taken.setdefault(word, parameter.name) != parameter.name:
                yield f'{where}.aliases: the header "{word}" means {taken[word]} already'
        yield from (f"{where}.sets: {fault}" for fault in faults_of_places(parameter))
        for place in parameter.sets:
            node = graph.get(place.node)
            setter = setters.setdefault((place.node, place.input), parameter.name)
            if setter != parameter.name:
                yield f"{where}.sets: {place.input} of node {place.node} is set by {setter} already"
            if node is None:
                yield f"{where}.sets: the graph has no node {place.node}"
            elif place.input not in node.get("inputs", {}):
                yield f"{where}.sets: node {place.node} ({node['class_type']}) has no input {place.input}"
            elif isinstance(node["inputs"][place.input], list):
                yield f"{where}.sets: {place.input} of node {place.node} is a link to another node, not a value"
            elif parameter.type == "lora":
                yield from (f"{where}.sets: {fault}" for fault in lora_faults(graph, place.node))
    if not save_nodes(graph):
        yield "graph: no node saves anything (no input filename_prefix), so a run would have no result"


def _unsendable(fields: Mapping[str, object]) -> Iterable[str]:
    """Find text that UTF-8 cannot carry: YAML reads an emoji in JSON's spelling, "\\ud83e\\udd8a", as two halves."""
    for where, value in fields.items():
        try:
            json.dumps(value, ensure_ascii=False, default=str).encode()
        except ValueError:
            yield f"{where}: holds half of an emoji; write the emoji itself"


def _ends(parameter: Parameter) -> Iterable[str]:
    """Find bounds that no value could keep, or that JSON cannot carry."""
    is_whole = parameter.type in ("integer", "seed", "size")
    for end in ("min", "max"):
        bound = getattr(parameter, end)
        where = f"parameters.{parameter.name}.{end}"
        if bound is None:
            continue
        if not math.isfinite(bound):
            yield f"{where}: must be a number, not {bound}"
        elif is_whole and bound != int(bound):
            yield f"{where}: {bound} is no whole number"
        elif parameter.type == "seed" and not 0 <= bound <= MAX_SEED:
            yield f"{where}: {bound} is no seed; seeds go from 0 to {MAX_SEED}"


def _bounds(parameter: Parameter) -> Iterable[str]:
    where = f"parameters.{parameter.name}"
    numeric = parameter.type in ("integer", "float", "seed", "size")
    if not numeric and (parameter.min is not None or parameter.max is not None):
        yield f"{where}.min: a {parameter.type} has no bounds"
    if parameter.type in ("integer", "float"):
        yield from (f"{where}.{end}: a number needs one" for end in ("min", "max") if getattr(parameter, end) is None)
    if parameter.min is not None and parameter.max is not None and parameter.min > parameter.max:
        yield f"{where}.min: {parameter.min} is above max {parameter.max}"
    if parameter.type == "choice" and not parameter.choices:
        yield f"{where}.choices: a choice needs at least one"
    if parameter.choices and parameter.type not in NAMES | {"choice", "size"}:
        yield f"{where}.choices: a {parameter.type} has no choices"
    if parameter.multiple != SIDE_STEP and parameter.type != "size":
        yield f"{where}.multiple: a {parameter.type} has none; a size has"
    if parameter.type == "size":
        yield from (f"{where}.choices: {fault}" for fault in faults_of_choices(parameter))
    if len({fold(choice) for choice in parameter.choices}) < len(parameter.choices):
        yield f"{where}.choices: two of them differ only in case, spaces, hyphens or underscores"
    if parameter.default is None:
        # Without a file of the row's own the template's is used.
        if not parameter.required and parameter.type != "seed" and parameter.type not in MEDIA:
            yield f"{where}.default: give a default, or say required: true"
        return
    if parameter.type == "seed" and isinstance(parameter.default, str) and fold(parameter.default) == "random":
        return
    try:
        value_of(parameter, parameter.default)
    except ValueError as error:
        yield f"{where}.default: {error}"


def _where(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location) or "the whole"
