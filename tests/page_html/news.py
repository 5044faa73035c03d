"""Make what sidebarNews() gives."""

from __future__ import annotations

from typing import Any

COUNTS = {"pending": 0, "queued": 0, "processing": 0, "done": 0, "error": 0, "cancelled": 0}


def news(*jobs: dict[str, Any], errors: tuple[dict[str, Any], ...] = (), **more: Any) -> dict[str, Any]:
    """Give the news of a connected sheet; counts follow from what is listed unless told."""
    counts = dict(COUNTS, error=len(errors))
    for one in jobs:
        counts[one["state"]] += 1
    counts.update(more.pop("counts", {}))
    usual = {
        "connected": True,
        "message": "",
        "tab": "Foxes",
        "counts": counts,
        "jobs": list(jobs),
        "errors": list(errors),
        "lost": 0,
        "etaS": None,
        "cost": {"images": 0, "gpuSeconds": 0, "text": ""},
        "parked": None,
        "auto": False,
        "workers": 1,
        "waiting": 0,
        "pollS": 3,
    }
    return {**usual, **more}


def running(row: int, **more: Any) -> dict[str, Any]:
    """Give a job that renders."""
    usual = {
        "key": f"key-{row}",
        "row": row,
        "title": f"a fox in row {row}",
        "state": "processing",
        "fraction": 0.6,
        "node": "KSampler",
        "step": 12,
        "steps": 20,
        "position": None,
        "etaS": 41,
    }
    return {**usual, **more}


def waiting(row: int, position: int | None, **more: Any) -> dict[str, Any]:
    """Give a job that waits in line."""
    usual = {"state": "queued", "position": position, "fraction": None, "node": "", "step": None, "steps": None}
    return running(row, **{**usual, "etaS": None, **more})


def failed(row: int, sentence: str = "The worker ran out of memory. Make the picture smaller.") -> dict[str, Any]:
    """Give a row that failed."""
    return {"key": f"key-{row}", "row": row, "title": f"a fox in row {row}", "sentence": sentence}
