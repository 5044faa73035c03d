"""
Give a running node what ComfyUI gives it: folders, a progress bar, and a way to take its time.

A sleep ends early only when the server stops; an interrupt is noticed at ticks and between nodes, as in ComfyUI.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from PIL import Image

from sandbox.comfy.folders import Folders
from sandbox.comfy.values import Json

# ComfyUI's ProgressBar sends the first and last tick and ticks with a picture at once, others at most every 100 ms
# and 0.5 % (comfy/utils.py).
TICK_INTERVAL_S = 0.1
TICK_SHARE = 0.005

Tick = Callable[[int, int, "Preview | None"], None]


class Interrupted(BaseException):
    """Stop the running prompt because somebody asked to. A BaseException, so that no node swallows it."""


class Stopping(BaseException):
    """Stop the executor because the server is being stopped."""


@dataclass(frozen=True)
class Preview:
    """Carry a preview picture: its file format (JPEG or PNG) and the longest edge in pixels (None = as it is)."""

    kind: str
    picture: Image.Image
    edge_px: int | None


@dataclass(frozen=True)
class Kitchen:
    """Be the world of one node while it runs."""

    folders: Folders
    step_s: float
    stopping: threading.Event
    extra_data: Json
    send_tick: Tick
    throw_if_interrupted: Callable[[], None]

    @property
    def wants_previews(self) -> bool:
        """Say whether this prompt asked for pictures of the sampling under way."""
        return self.extra_data.get("preview_method") in ("auto", "latent2rgb", "taesd")

    def sleep(self, seconds: float) -> None:
        """Wait without noticing interrupts. Raises Stopping when the server stops meanwhile."""
        if seconds > 0 and self.stopping.wait(seconds):
            raise Stopping

    def bar(self, total: int) -> Bar:
        """Start a progress bar of *total* ticks for this node."""
        return Bar(self, total)


@dataclass
class Bar:
    """Tell the clients how far a node is, no faster than ComfyUI does. Raises Interrupted at a tick."""

    kitchen: Kitchen
    total: int
    _sent: int = field(default=-1, init=False)
    _sent_at: float = field(default=0.0, init=False)

    def tick(self, value: int, preview: Preview | None = None) -> None:
        """Report that *value* of the total is done."""
        self.kitchen.throw_if_interrupted()
        now = time.perf_counter()
        due = now - self._sent_at >= TICK_INTERVAL_S and value - self._sent >= TICK_SHARE * self.total
        if preview or self._sent < 0 or value >= self.total or due:
            self.kitchen.send_tick(value, self.total, preview)
            self._sent, self._sent_at = value, now
