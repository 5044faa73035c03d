"""Hold measured figures and write them: a table for people, JSON for programs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.table import Table


@dataclass(frozen=True)
class Figure:
    """Hold one metric: a spread of samples (p50, p95; p99 of 100 and more) or one value, how many, and the unit."""

    unit: str
    n: int
    p50: float | None = None
    p95: float | None = None
    value: float | None = None
    p99: float | None = None

    def to_json(self) -> dict[str, float | int | str]:
        """Give the fields that apply."""
        fields = {
            "p50": self.p50,
            "p95": self.p95,
            "p99": self.p99,
            "value": self.value,
            "n": self.n,
            "unit": self.unit,
        }
        return {name: field for name, field in fields.items() if field is not None}


def spread(samples: Sequence[float], unit: str) -> Figure:
    """Make a figure of samples: median, 95th and (of 100 and more) 99th percentile by nearest rank."""
    ordered = sorted(samples)
    if not ordered:
        raise ValueError("a figure needs at least one sample")
    p99 = _rank(ordered, 0.99) if len(ordered) >= 100 else None
    return Figure(unit, len(ordered), p50=_rank(ordered, 0.50), p95=_rank(ordered, 0.95), p99=p99)


def single(value: float, unit: str, n: int) -> Figure:
    """Make a figure of one value that *n* rows or calls went into."""
    return Figure(unit, n, value=round(value, 2))


def _rank(ordered: Sequence[float], share: float) -> float:
    return round(ordered[max(0, math.ceil(share * len(ordered)) - 1)], 2)


def write(figures: Mapping[str, Figure], path: Path) -> None:
    """Write the JSON file; metrics of an earlier run that this one did not measure are kept, with their date."""
    path.parent.mkdir(parents=True, exist_ok=True)
    before = json.loads(path.read_text()) if path.exists() else {}
    today = datetime.now(UTC).date().isoformat()
    measured = {name: {**figure.to_json(), "measured": today} for name, figure in figures.items()}
    path.write_text(json.dumps({**before, **measured}, indent=2) + "\n")


def table(figures: Mapping[str, Figure]) -> Table:
    """Lay the figures out for a terminal."""
    shown = Table()
    for title in ("metric", "p50", "p95", "p99", "value", "n", "unit"):
        shown.add_column(title, justify="left" if title in ("metric", "unit") else "right")
    for name, figure in figures.items():
        cells = [figure.p50, figure.p95, figure.p99, figure.value, figure.n]
        shown.add_row(name, *("" if cell is None else f"{cell:g}" for cell in cells), figure.unit)
    return shown
