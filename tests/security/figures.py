"""Hold the figures of the attacks: what was tried, and how much of it got through."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

RESULTS: Final = Path(__file__).resolve().parents[2] / "faults/results/security.json"
IS_WHOLE: Final = os.environ.get("PROMISES_SIZE", "ci") == "all"
"""Whether everything is tried, or a sample."""


@dataclass(frozen=True, order=True)
class Figure:
    """Say of a threat's attack how many were tried, and how many got *through*: nothing but 0 will do."""

    threat: str
    what: str
    tried: int
    through: int
    more: dict[str, float | int | str] = field(default_factory=dict, compare=False)


Note = Callable[..., None]
"""Note a figure: threat, what, tried, through, and more by name. Fails when something got through or none was tried."""


def of_size(sample: int, whole: int) -> int:
    """Give the number of tries for the size that is asked for."""
    return whole if IS_WHOLE else sample


def told(figures: Iterable[Figure]) -> list[str]:
    """Write the figures as a table, a line each."""
    return [
        f"{one.threat:<4}{one.tried:>9,} tried {one.through:>3} through  {one.what}"
        + "".join(f"; {name} {value}" for name, value in one.more.items())
        for one in _in_order(figures)
    ]


def write(figures: Iterable[Figure], path: Path = RESULTS) -> None:
    """Write the figures as JSON, with the day and the size."""
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "command": "make security" + (" SIZE=all" if IS_WHOLE else ""),
        "day": datetime.now(UTC).date().isoformat(),
        "figures": [asdict(one) for one in _in_order(figures)],
    }
    path.write_text(json.dumps(document, indent=2) + "\n")


def _in_order(figures: Iterable[Figure]) -> list[Figure]:
    return sorted(figures, key=lambda one: (int(one.threat[1:]), one.what))
