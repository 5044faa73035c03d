"""
Hold the prompts that wait, the one that runs, and the history of those that are over; all in memory, as ComfyUI does.

Waiting prompts lie in a heap of plain tuples on purpose: two with the same number and id make the heap compare dicts,
which raises TypeError in whoever touches it, and so ends ComfyUI's executor thread (trap 5).
"""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from sandbox.comfy.values import Graph, Json

HISTORY_LIMIT = 10_000
SECRETS = ("auth_token_comfy_org", "api_key_comfy_org")  # never shown in /queue and /history


class Order(NamedTuple):
    """Be one queued prompt. The first five fields are what /queue and /history show, in this order."""

    number: float
    prompt_id: str
    prompt: Graph
    extra_data: Json
    outputs: list[str]
    secrets: Json

    def shown(self) -> list[object]:
        """Give the five elements that clients see."""
        return list(self[:5])


@dataclass(frozen=True)
class Free:
    """Ask the executor to drop what it holds; models are imaginary here, so only the node cache counts."""

    node_cache: bool


class PromptQueue:
    """Be the counter between the HTTP routes (event loop) and the executor (its own thread)."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        self._on_change = on_change
        self._changed = threading.Condition()
        self._heap: list[Order] = []
        self._running: dict[int, Order] = {}
        self._taken = 0
        self._history: dict[str, Json] = {}
        self._free: Free | None = None
        self._closed = False
        self._interrupt = False

    # ---- what routes do ----

    def put(self, order: Order) -> None:
        """Queue a prompt."""
        with self._changed:
            heapq.heappush(self._heap, order)
            self._on_change()
            self._changed.notify()

    def remaining(self) -> int:
        """Count waiting and running prompts."""
        return len(self._heap) + len(self._running)

    def shown(self) -> tuple[list[Order], list[Order]]:
        """Give (running, waiting); the waiting ones in heap order, which is not the order of running (trap 12)."""
        with self._changed:
            return list(self._running.values()), list(self._heap)

    def delete(self, prompt_id: str) -> bool:
        """Drop one waiting prompt without a trace (trap 10). Says whether it was there."""
        with self._changed:
            for index, order in enumerate(self._heap):
                if order.prompt_id == prompt_id:
                    del self._heap[index]
                    heapq.heapify(self._heap)
                    self._on_change()
                    return True
            return False

    def clear(self) -> None:
        """Drop all waiting prompts."""
        with self._changed:
            self._heap.clear()
            self._on_change()

    def interrupt(self, prompt_id: str | None = None) -> bool:
        """Ask the running prompt to stop; with an id only if it is that one. Says whether anything was asked."""
        with self._changed:
            hit = any(prompt_id in (None, order.prompt_id) for order in self._running.values())
            self._interrupt = self._interrupt or hit or prompt_id is None
            return hit

    def cancel(self, prompt_id: str) -> bool:
        """Delete or interrupt *prompt_id*, whichever it needs. Says whether there was anything to cancel."""
        if self.delete(prompt_id):
            return True
        if self.interrupt(prompt_id):
            self._on_change()
            return True
        return False

    def free(self, request: Free) -> None:
        """Leave word for the executor to free memory as soon as it is idle."""
        with self._changed:
            self._free = request
            self._changed.notify()

    # ---- history ----

    def history(self, max_items: int | None = None, offset: int = -1) -> dict[str, Json]:
        """Give entries, oldest first; without *offset* the newest *max_items*."""
        with self._changed:
            start = max(0, len(self._history) - max_items) if offset < 0 and max_items is not None else max(0, offset)
            stop = None if max_items is None else start + max_items
            return dict(list(self._history.items())[start:stop])

    def history_of(self, prompt_id: str) -> Json | None:
        """Find one entry; None when the prompt is not over, or is unknown."""
        return self._history.get(prompt_id)

    def forget(self, prompt_id: str | None = None) -> None:
        """Drop one entry of the history, or all of it."""
        with self._changed:
            if prompt_id is None:
                self._history.clear()
            else:
                self._history.pop(prompt_id, None)

    # ---- what the executor does ----

    def take(self) -> tuple[int, Order] | Free | None:
        """Wait for the next prompt or word to free memory; None when the server stops."""
        with self._changed:
            self._changed.wait_for(lambda: self._heap or self._free or self._closed)
            if self._closed:
                return None
            if self._free:
                request, self._free = self._free, None
                return request
            order = heapq.heappop(self._heap)
            self._interrupt = False
            self._taken += 1
            self._running[self._taken] = order
            self._on_change()
            return self._taken, order

    def finish(self, ticket: int, entry: Json) -> None:
        """Move a running prompt into the history; the same id again overwrites."""
        with self._changed:
            order = self._running.pop(ticket)
            if len(self._history) > HISTORY_LIMIT:
                del self._history[next(iter(self._history))]
            self._history.pop(order.prompt_id, None)
            self._history[order.prompt_id] = {"prompt": order.shown(), **entry}
            self._on_change()

    def interrupted(self) -> bool:
        """Say whether the running prompt was asked to stop, and take the request back."""
        with self._changed:
            asked, self._interrupt = self._interrupt, False
            return asked

    def close(self) -> None:
        """Let the executor go home."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
