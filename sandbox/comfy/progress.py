"""Tell clients how far a prompt is: `progress_state` (all its nodes so far), `progress` (one node), previews."""

from __future__ import annotations

from sandbox.comfy.kitchen import Preview
from sandbox.comfy.sockets import Sockets
from sandbox.comfy.values import Json


class Progress:
    """Follow one prompt. Goes to its owner, or to all sockets when it has none."""

    def __init__(self, prompt_id: str, client_id: str | None, sockets: Sockets) -> None:
        self._prompt_id = prompt_id
        self._client_id = client_id
        self._sockets = sockets
        self._nodes: dict[str, Json] = {}

    def start(self, node_id: str) -> None:
        """Say that a node begins."""
        self._set(node_id, 0.0, 1.0, "running")

    def finish(self, node_id: str) -> None:
        """Say that a node is done; one that never began (cached) counts as 1 of 1."""
        total = self._nodes[node_id]["max"] if node_id in self._nodes else 1
        self._set(node_id, total, total, "finished")

    def tick(self, node_id: str, value: int, total: int, preview: Preview | None) -> None:
        """Say how far a node is. A client that knows metadata gets the picture before `progress`, others after."""
        self._set(node_id, value, total, "running")
        with_metadata = self._sockets.wants_metadata(self._client_id)
        if preview and with_metadata:
            metadata = {
                "node_id": node_id,
                "prompt_id": self._prompt_id,
                "display_node_id": node_id,
                "parent_node_id": None,
                "real_node_id": node_id,
            }
            self._sockets.tell_preview_with_metadata(preview, metadata, self._client_id)
        self._sockets.tell(
            "progress", {"value": value, "max": total, "prompt_id": self._prompt_id, "node": node_id}, self._client_id
        )
        if preview and not with_metadata:
            self._sockets.tell_preview(preview, self._client_id)

    def _set(self, node_id: str, value: float, total: float, state: str) -> None:
        self._nodes[node_id] = {
            "value": value,
            "max": total,
            "state": state,
            "node_id": node_id,
            "prompt_id": self._prompt_id,
            "display_node_id": node_id,
            "parent_node_id": None,
            "real_node_id": node_id,
        }
        self._sockets.tell("progress_state", {"prompt_id": self._prompt_id, "nodes": self._nodes}, self._client_id)
