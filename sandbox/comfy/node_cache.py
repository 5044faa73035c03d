"""
Remember what nodes gave, so that equal work is not done again (trap 4 of ComfyUI: an identical prompt writes no file).

The key is the class with its inputs, recursively through links; node ids and titles do not count.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sandbox.comfy.running_order import is_link
from sandbox.comfy.values import Graph, Json, Pictures, Result

DEFAULT_LIMIT_BYTES = 256 * 1024 * 1024  # real ComfyUI (2026) drops under memory pressure; this one at a fixed size


@dataclass(frozen=True)
class Kept:
    """Hold one node's result, and the entry under which history's `meta` names the node that made it."""

    result: Result
    meta: Json
    size_bytes: int


class NodeCache:
    """Keep results by key, the latest used ones, up to a size."""

    def __init__(self, limit_bytes: int = DEFAULT_LIMIT_BYTES) -> None:
        self._kept: OrderedDict[str, Kept] = OrderedDict()
        self._limit_bytes = limit_bytes
        self._size_bytes = 0

    def get(self, key: str) -> Kept | None:
        """Find what is kept under *key*; None when nothing is."""
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def keep(self, key: str, result: Result, meta: Json) -> None:
        """Keep *result*, dropping the longest unused ones when it gets too much."""
        size_bytes = 1000 + sum(value.size_bytes for value in result.outputs if isinstance(value, Pictures))
        self._kept[key] = Kept(result, meta, size_bytes)
        self._size_bytes += size_bytes
        while self._size_bytes > self._limit_bytes and len(self._kept) > 1:
            self._size_bytes -= self._kept.popitem(last=False)[1].size_bytes

    def clear(self) -> None:
        """Forget everything (POST /free with free_memory)."""
        self._kept.clear()
        self._size_bytes = 0


def cache_keys(graph: Graph, fingerprint: Callable[[str], str]) -> Callable[[str], str]:
    """Give the function node id -> cache key for *graph*; *fingerprint* is asked for what a node reads from outside."""
    keys: dict[str, str] = {}

    def shown(value: Any) -> Any:
        return ["link", key(value[0]), value[1]] if is_link(value) else ["constant", value]

    def key(node_id: str) -> str:
        if node_id not in keys:
            node = graph[node_id]
            inputs = sorted((name, shown(value)) for name, value in node["inputs"].items())
            text = json.dumps([node["class_type"], fingerprint(node_id), inputs])
            keys[node_id] = hashlib.sha256(text.encode()).hexdigest()
        return keys[node_id]

    return key
