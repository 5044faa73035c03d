"""Draw graphs without models: they run on any ComfyUI."""

from __future__ import annotations

import random
from typing import Any

Graph = dict[str, Any]


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


def empty(width: int = 32, height: int = 32, batch_size: int = 1, color: int | None = None) -> dict[str, Any]:
    """Draw one colour; another one each time unless told, so that no cache answers."""
    drawn = random.randrange(1 << 24) if color is None else color
    return node("EmptyImage", width=width, height=height, batch_size=batch_size, color=drawn)


def drawing(prefix: str = "x", **about: Any) -> Graph:
    """Save one picture."""
    return {"1": empty(**about), "9": node("SaveImage", images=["1", 0], filename_prefix=prefix)}


def slow(seconds: float, steps: int = 10) -> Graph:
    """Save one picture after *seconds* with progress."""
    seed = random.randrange(1 << 30)
    wait = node("TestSleep", image=["1", 0], seconds=seconds, steps=steps, preview=False, seed=seed)
    return {"1": empty(), "2": wait, "9": node("SaveImage", images=["2", 0], filename_prefix="x")}


def failing(kind: str = "ValueError") -> Graph:
    """Raise in the middle."""
    fail = node("TestRaise", image=["1", 0], kind=kind, seed=random.randrange(1 << 30))
    return {"1": empty(), "2": fail, "9": node("SaveImage", images=["2", 0], filename_prefix="x")}
