"""
Read an exported graph: which nodes count, in which order they run, and where a value is really set.

Everything here walks with stacks of its own: a graph may be a chain of 1,000 nodes, or a ring.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, Final

from chalicelib.contract.graph import is_link, save_nodes
from chalicelib.contract.parameter import Place
from chalicelib.contract.values import one_line

Scalar = str | int | float | bool

_VALUES: Final = ("value", "int", "float", "number", "string", "text", "boolean", "seed", "val", "a")
"""What the one input of a node that only holds a value is called, in ComfyUI's own primitives and in custom nodes."""

_SHOWS: Final = re.compile(r"show|preview|display|debug", re.IGNORECASE)


class Diagram:
    """
    Hold a graph in API format whose shape was checked.

    *live* are the nodes that something saved depends on, upstream first (everything, when nothing is saved): what was
    left lying in the editor is not offered.
    """

    def __init__(self, graph: Mapping[str, Any]) -> None:
        self.graph = graph
        self.saves = save_nodes(graph)
        self.live = self._upstream_first(self.saves or self._ends())
        self.rank = {node_id: place for place, node_id in enumerate(self.live)}
        self.uses: dict[str, list[tuple[Place, int]]] = {}
        """By node: the inputs that take its outputs, with the output's number."""
        for node_id in self.live:
            for name, (source, slot) in self.links(node_id):
                self.uses.setdefault(source, []).append((Place(node=node_id, input=name), slot))

    def kind(self, node_id: str) -> str:
        """Name the node's class."""
        return str(self.graph[node_id]["class_type"])

    def inputs(self, node_id: str) -> Mapping[str, Any]:
        """Give the node's inputs: values and links."""
        found: Mapping[str, Any] = self.graph[node_id]["inputs"]
        return found

    def links(self, node_id: str) -> Iterator[tuple[str, tuple[str, int]]]:
        """Give the inputs that are links: name, and the node and output they come from."""
        for name, value in self.inputs(node_id).items():
            if is_link(value):
                yield name, (value[0], value[1])

    def link(self, node_id: str, *names: str) -> str | None:
        """Name the node that the first linked one of these inputs comes from."""
        return next((source for name, (source, _) in self.links(node_id) if name in names), None)

    def value(self, place: Place) -> Any:
        """Give what stands at a place."""
        return self.inputs(place.node).get(place.input)

    def say(self, node_id: str) -> str:
        """Name a node as a person finds it in the editor."""
        return f"node {one_line(node_id)} ({one_line(self.kind(node_id))})"

    def shows(self, node_id: str) -> bool:
        """Say whether the node only shows what it is given; its own values are what it showed last."""
        return bool(_SHOWS.search(self.kind(node_id)))

    def walk(self, start: str, follow: re.Pattern[str], *, stop: frozenset[str] = frozenset()) -> Iterator[str]:
        """Go upstream from *start*, nearest first, along inputs whose name matches; never beyond a node in *stop*."""
        seen, waiting = {start}, deque([start])
        while waiting:
            node_id = waiting.popleft()
            yield node_id
            if node_id in stop and node_id != start:
                continue
            for name, (source, _) in self.links(node_id):
                if source not in seen and follow.search(name):
                    seen.add(source)
                    waiting.append(source)

    def origin(self, node_id: str, name: str, kinds: tuple[type, ...]) -> Place | None:
        """
        Find where a value is set: at the input itself, or at the node that feeds it, through whatever passes it on.

        None: it is made by a node that computes, so nothing can be set.
        """
        seen = set()
        while (node_id, name) not in seen:
            seen.add((node_id, name))
            value: Any = self.inputs(node_id).get(name)
            if not is_link(value):
                return Place(node=node_id, input=name) if is_scalar(value, kinds) else None
            source: str = value[0]
            own = self._own(source, name, kinds)
            if own is not None:
                return Place(node=source, input=own)
            feeds = [link for link, _ in self.links(source)]
            onward = [link for link in feeds if link == name] or feeds
            if len(onward) != 1 or (self._holds(source, kinds) and not self.shows(source) and name not in onward):
                return None
            node_id, name = source, onward[0]
        return None

    def _own(self, node_id: str, name: str, kinds: tuple[type, ...]) -> str | None:
        """Name the value of its own that a node passes on as *name*; None: it has none, or it computes."""
        held = self._holds(node_id, kinds)
        if name in held:
            return name
        if any(True for _ in self.links(node_id)):
            return None
        named = [one for one in held if one.lower() in _VALUES or one.lower().endswith(f"_{name}")]
        return held[0] if len(held) == 1 else named[0] if len(named) == 1 else None

    def _holds(self, node_id: str, kinds: tuple[type, ...]) -> list[str]:
        return [name for name, value in self.inputs(node_id).items() if is_scalar(value, kinds)]

    def _ends(self) -> list[str]:
        """List the nodes that nothing takes anything from; every node, when they form rings."""
        taken = {source for node_id in self.graph for _, (source, _) in self.links(node_id)}
        return [node_id for node_id in self.graph if node_id not in taken] or list(self.graph)

    def _upstream_first(self, ends: list[str]) -> list[str]:
        """List what *ends* depend on, each node after those that feed it."""
        order: list[str] = []
        seen: set[str] = set()
        for end in ends:
            stack = [(end, self.links(end))] if end not in seen else []
            seen.add(end)
            while stack:
                node_id, feeds = stack[-1]
                source = next((source for _, (source, _) in feeds if source not in seen), None)
                if source is None:
                    order.append(node_id)
                    stack.pop()
                else:
                    seen.add(source)
                    stack.append((source, self.links(source)))
        return order


NUMBERS: Final = (int, float)
WHOLE: Final = (int,)
TEXT: Final = (str,)


def is_scalar(value: object, kinds: tuple[type, ...]) -> bool:
    """Say whether *value* is one of *kinds*; a boolean is no number."""
    return isinstance(value, kinds) and (not isinstance(value, bool) or bool in kinds)
