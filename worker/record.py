"""
Keep the run record of one attempt: JSON lines, enough to make the same picture again (`python -m worker run --record`).

Lines by their `kind`; times (`at`) are milliseconds since the epoch:

- `run`, the first: job, attempt, prompt and workflow ids, workflow_hash, graph_hash, inputs, graph as submitted, models
  (file names in the graph), files (inputs that were brought to ComfyUI), comfyui, device, worker.
- `event`: what the WebSocket told, with node and node_class. `node`: how long a node took (`ms`), in order.
- `history`: status and, of a failure, error with its traceback and the inputs of the node, as ComfyUI tells them.
- `upload`: key, sha256, size_bytes, ms, and whether it went up while the graph still ran.
- `end`, the last: verdict, code, text.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from worker.comfy.faults import MODEL_FILE

CONTENT_TYPE: Final = "application/x-ndjson"
VERSION: Final = 1
MAX_BYTES: Final = 8_000_000
"""A record that grows beyond this loses its events, not its graph."""
_MESSAGE_MOST: Final = 20_000


class Record:
    """Collect one attempt's lines. One thread writes at a time."""

    def __init__(self) -> None:
        self._run: dict[str, Any] = {}
        self._lines: list[dict[str, Any]] = []

    def begin(self, graph: Mapping[str, Any], **facts: object) -> None:
        """Write the first line: *graph* as it is submitted, and *facts* about the run."""
        self._run = {
            "kind": "run",
            "record_version": VERSION,
            **facts,
            "graph_hash": hash_of(graph),
            "models": models_of(graph),
            "graph": graph,
        }

    def note(self, kind: str, **facts: object) -> None:
        """Add a line; texts in it are cut to 20,000 characters."""
        self._lines.append({"kind": kind, **{name: _cut(value) for name, value in facts.items()}})

    def note_timeline(self, timeline: Sequence[tuple[int, str, str | None]], classes: Mapping[str, str]) -> None:
        """Add what the WebSocket told, and how long each node took."""
        for at, event, node in timeline:
            about = {"node": node, "node_class": classes.get(node)} if node is not None else {}
            self.note("event", at=at, event=event, **about)
        for node, ms in durations(timeline):
            self.note("node", node=node, node_class=classes.get(node), ms=ms)

    @property
    def has_begun(self) -> bool:
        """Say whether there is anything to keep: a graph was made."""
        return bool(self._run)

    def to_bytes(self) -> bytes:
        """Give the record as JSON lines in UTF-8."""
        whole = self._text(self._lines)
        if len(whole) > MAX_BYTES:
            whole = self._text([line for line in self._lines if line["kind"] != "event"])
        return whole

    def _text(self, lines: Iterable[Mapping[str, Any]]) -> bytes:
        return b"".join(
            json.dumps(line, ensure_ascii=False, default=str).encode("utf-8", "replace") + b"\n"
            for line in (self._run, *lines)
        )


def durations(timeline: Sequence[tuple[int, str, str | None]]) -> list[tuple[str, int]]:
    """Tell how long each node took, in milliseconds, in order of execution: from its `executing` to the next turn."""
    took: list[tuple[str, int]] = []
    running: tuple[str, int] | None = None
    for at, event, node in timeline:
        if event not in ("executing", "execution_success", "execution_error", "execution_interrupted"):
            continue
        if running is not None:
            took.append((running[0], max(0, at - running[1])))
        running = (node, at) if event == "executing" and node is not None else None
    return took


def hash_of(graph: Mapping[str, Any]) -> str:
    """Hash a graph, whatever the order of its keys: 64 hex digits."""
    text = json.dumps(graph, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def models_of(graph: Mapping[str, Any]) -> list[str]:
    """List the model files that *graph* names."""
    named = {
        value
        for node in graph.values()
        for value in node.get("inputs", {}).values()
        if isinstance(value, str) and MODEL_FILE.search(value)
    }
    return sorted(named)


def _cut(value: object) -> object:
    if isinstance(value, str) and len(value) > _MESSAGE_MOST:
        return value[:_MESSAGE_MOST] + "…"
    if isinstance(value, Mapping):
        return {str(name): _cut(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_cut(each) for each in value]
    return value
