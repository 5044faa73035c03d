"""Fold headers: case, and runs of spaces, underscores and hyphens, do not count."""

from __future__ import annotations

import re
from typing import Final

_RUNS: Final = re.compile(r"[\s_\-]+")


def fold(header: str) -> str:
    """Reduce a header to what counts: "Negative_Prompt " and "negative prompt" are one."""
    return _RUNS.sub(" ", header).strip().lower()
