"""Ask axe-core what is not accessible on a page or in a frame."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from playwright.sync_api import Frame, Page

from sandbox.npm import install

HERE = Path(__file__).parent
_BAD = ("serious", "critical")


def axe(where: Page | Frame, *, only: str | None = None) -> list[str]:
    """
    Give the serious and critical violations, a line each: rule, what is wrong, where.

    *only* is a CSS selector to look below. Frames inside are not looked into: call it on the frame itself.
    """
    if not where.evaluate("typeof axe !== 'undefined'"):
        where.evaluate(source())
    context = {"include": [[only]]} if only else {}
    found: dict[str, Any] = where.evaluate(
        "([context, options]) => axe.run(Object.keys(context).length ? context : document, options)",
        [context, {"resultTypes": ["violations"], "iframes": False}],
    )
    return [
        f"{one['id']} ({one['impact']}): {one['help']}: " + "; ".join(_told(node) for node in one["nodes"][:4])
        for one in found["violations"]
        if one["impact"] in _BAD
    ]


def source() -> str:
    """Give axe-core's JavaScript, as text."""
    install(HERE)
    return (HERE / "node_modules" / "axe-core" / "axe.min.js").read_text("utf-8")


def _told(node: dict[str, Any]) -> str:
    summary = " ".join(str(node.get("failureSummary", "")).split())
    return f"{json.dumps(node['target'])} {node['html'][:120]} {summary[:200]}"
