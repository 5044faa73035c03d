"""Hold how something grows: a value for each size, and the exponent of the growth."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from rich.table import Table

FLOOR: Final = 1e-9


@dataclass(frozen=True)
class Curve:
    """Hold one quantity (*what*, with its unit) at growing sizes (of what: *over*)."""

    what: str
    over: str
    points: Mapping[int, float]

    @property
    def exponent(self) -> float:
        """Fit the slope of log(value) over log(size): 0, it does not grow; 1, it grows with the size."""
        return exponent([*self.points], [*self.points.values()])


def exponent(sizes: Sequence[int], values: Sequence[float]) -> float:
    """Fit the slope of log(value) over log(size) by least squares; a value of nothing counts as next to nothing."""
    xs, ys = [math.log(size) for size in sizes], [math.log(max(value, FLOOR)) for value in values]
    return float(statistics.linear_regression(xs, ys).slope)


def table(curves: Sequence[Curve]) -> Table:
    """Lay curves of the same sizes out for a terminal."""
    shown = Table()
    shown.add_column("what")
    for size in curves[0].points:
        shown.add_column(f"{size:,}", justify="right")
    shown.add_column("exponent", justify="right")
    for curve in curves:
        shown.add_row(curve.what, *(f"{value:,.4g}" for value in curve.points.values()), f"{curve.exponent:.2f}")
    return shown


def write(curves: Sequence[Curve], path: Path) -> None:
    """Add curves to a JSON file, by their names; those of earlier runs stay."""
    path.parent.mkdir(parents=True, exist_ok=True)
    before = json.loads(path.read_text()) if path.exists() else {}
    today = datetime.now(UTC).date().isoformat()
    told = {
        f"{each.what}, over {each.over}": asdict(each) | {"exponent": round(each.exponent, 3), "measured": today}
        for each in curves
    }
    path.write_text(json.dumps({**before, **told}, indent=2) + "\n")
