"""Change a graph by hand: `--set 6.text="a cat"` names a node, an input and a value."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chalicelib.contract.graph import is_link
from worker.comfy.faults import nearest, title_of


class BadChange(Exception):
    """Say what is wrong with a change, in a sentence."""


@dataclass(frozen=True)
class Change:
    """Name one input and its new value."""

    node: str
    input: str
    before: object
    after: object


def read_change(graph: Mapping[str, Any], text: str) -> Change:
    """Read NODE.INPUT=VALUE; NODE is an id or a title. The present value's type decides how VALUE is read."""
    place, equals, value = text.partition("=")
    name, dot, field = place.strip().rpartition(".")
    if not equals or not dot or not name or not field:
        raise BadChange(f'--set takes NODE.INPUT=VALUE, like 6.text="a cat"; {text!r} is none.')
    node = _node_of(graph, name)
    inputs = graph[node]["inputs"]
    if field not in inputs:
        near = nearest(field, list(inputs)) or list(inputs)
        shown = title_of(node, graph[node]["class_type"], graph)
        raise BadChange(f"Node {node} ({shown}) has no input {field}. It has: {', '.join(near)}.")
    before = inputs[field]
    if is_link(before):
        raise BadChange(f"{field} of node {node} comes from node {before[0]}: it cannot be set.")
    return Change(node, field, before, _typed(before, value, f"{field} of node {node}"))


def apply(graph: Mapping[str, Any], changes: Sequence[Change]) -> dict[str, Any]:
    """Make the *changes* in a copy of *graph*."""
    own: dict[str, Any] = copy.deepcopy(dict(graph))
    for change in changes:
        own[change.node]["inputs"][change.input] = change.after
    return own


def _node_of(graph: Mapping[str, Any], name: str) -> str:
    if name in graph:
        return name
    titled = [node for node, told in graph.items() if (told.get("_meta") or {}).get("title") == name]
    if len(titled) == 1:
        return titled[0]
    if titled:
        raise BadChange(f'Several nodes are called "{name}": {", ".join(titled)}. Use an id.')
    known = ", ".join(f"{node} ({told['class_type']})" for node, told in list(graph.items())[:20])
    raise BadChange(f'There is no node "{name}". There are: {known}.')


def _typed(before: object, text: str, where: str) -> object:
    """Read *text* as a value of the kind that was there."""
    if isinstance(before, bool):
        if text.lower() in ("true", "false"):
            return text.lower() == "true"
        raise BadChange(f"{where} is true or false, not {text!r}.")
    if isinstance(before, int | float):
        try:
            number = json.loads(text)
        except ValueError:
            number = None
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise BadChange(f"{where} is a number, not {text!r}.")
        if isinstance(before, int) and not isinstance(number, int):
            if not number.is_integer():
                raise BadChange(f"{where} is a whole number, not {text!r}.")
            return int(number)
        return number
    return text
