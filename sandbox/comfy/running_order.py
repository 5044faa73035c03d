"""
Choose which node runs next, as ComfyUI does: sources first, and among the ready ones those that soon show something.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sandbox.comfy.values import Graph


def is_link(value: object) -> bool:
    """Say whether an input's value is a link `["<node id>", slot]`."""
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and not isinstance(value[1], str)


def sources(graph: Graph, node_id: str) -> Iterator[str]:
    """List the nodes that feed *node_id*, in the order of its inputs."""
    for value in graph[node_id]["inputs"].values():
        if is_link(value):
            yield value[0]


class RunningOrder:
    """Hold the nodes that still have to run and what each one waits for."""

    def __init__(
        self, graph: Graph, outputs: list[str], is_cached: Callable[[str], bool], is_output: Callable[[str], bool]
    ) -> None:
        self._graph = graph
        self._is_output = is_output
        self._is_cached = is_cached
        self._waits_for: dict[str, set[str]] = {}
        self._feeds: dict[str, list[str]] = {}
        for output in outputs:
            self._add(output)

    def _add(self, wanted: str) -> None:
        """Add an output and whatever it needs that is not cached; the output itself is added in any case."""
        stack = [wanted]
        while stack:
            node_id = stack.pop()
            if node_id in self._waits_for:
                continue
            needed = [s for s in sources(self._graph, node_id) if not self._is_cached(s) or s in self._waits_for]
            self._waits_for[node_id] = set(needed)
            for source in needed:
                feeds = self._feeds.setdefault(source, [])
                if node_id not in feeds:
                    feeds.append(node_id)
            stack += needed

    def take(self) -> str | None:
        """Name the node to run now; None when all are done."""
        ready = [node_id for node_id, waits_for in self._waits_for.items() if not waits_for]
        if not ready:
            return None
        return next(
            (n for n in ready if self._is_output(n)),
            next(
                (n for n in ready if self._feeds_output(n, 1)),
                next((n for n in ready if self._feeds_output(n, 2)), ready[0]),
            ),
        )

    def _feeds_output(self, node_id: str, distance: int) -> bool:
        fed = self._feeds.get(node_id, [])
        if distance == 1:
            return any(self._is_output(n) for n in fed)
        return any(self._feeds_output(n, distance - 1) for n in fed)

    def done(self, node_id: str) -> None:
        """Take *node_id* off the list and out of the way of those that waited for it."""
        del self._waits_for[node_id]
        for fed in self._feeds.get(node_id, []):
            self._waits_for[fed].discard(node_id)
