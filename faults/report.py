"""
Hold what a scenario found, and print it.

The words for jobs are those of Jepsen's queue checker: *attempted* submissions, *acknowledged* ones (answered 2xx),
*lost* (acknowledged, and neither ended as it should nor waiting with a cause), *unexpected* (something is there that
nobody asked for, or in another's place), *duplicated* (one key made two jobs, or one job was committed or shown twice),
*recovered* (not acknowledged, and done all the same).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path


@dataclass(frozen=True)
class Tally:
    """Count jobs in Jepsen's words; *again*: those that needed more than one attempt."""

    attempted: int = 0
    acknowledged: int = 0
    lost: int = 0
    unexpected: int = 0
    duplicated: int = 0
    recovered: int = 0
    again: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(**{name: value + getattr(other, name) for name, value in asdict(self).items()})


@dataclass(frozen=True)
class Outcome:
    """
    Say what a scenario found: its *tally*, *figures* (name with unit → number or short text), and in *wrong* a
    sentence for everything that a promise forbids. No sentence: the promises held.
    """

    tally: Tally = Tally()
    figures: dict[str, float | int | str] = field(default_factory=dict)
    wrong: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        return not self.wrong and (self.tally.lost, self.tally.unexpected, self.tally.duplicated) == (0, 0, 0)


@dataclass(frozen=True)
class Line:
    """Be one line of the report."""

    fault: str
    name: str
    promises: tuple[str, ...]
    outcome: Outcome
    took_s: float


def rank(samples: Sequence[float], share: float) -> float:
    """Give the sample at *share* (0 to 1) by nearest rank. Raises ValueError for none."""
    if not samples:
        raise ValueError("a rank needs at least one sample")
    ordered = sorted(samples)
    return round(ordered[max(0, math.ceil(share * len(ordered)) - 1)], 3)


def told(line: Line) -> str:
    """Tell one scenario in text: what was done, the tally, the figures, and every breach on a line of its own."""
    verdict = "holds" if line.outcome.holds else "BROKEN"
    counted = ", ".join(f"{name} {value}" for name, value in asdict(line.outcome.tally).items())
    figures = ", ".join(f"{name} {value}" for name, value in line.outcome.figures.items())
    rows = [
        f"{line.fault:<4}{verdict}  {line.name} ({', '.join(line.promises)}; {line.took_s:.0f} s)",
        f"    {counted}",
    ]
    rows += [f"    {figures}"] if figures else []
    return "\n".join([*rows, *(f"    ! {sentence}" for sentence in line.outcome.wrong)])


def write(lines: Sequence[Line], path: Path, command: str) -> None:
    """Write the report as JSON, with the command that made it and the day."""
    path.parent.mkdir(parents=True, exist_ok=True)
    told = {
        "command": command,
        "day": datetime.now(UTC).date().isoformat(),
        "scenarios": [asdict(line) | {"holds": line.outcome.holds} for line in lines],
    }
    path.write_text(json.dumps(told, indent=2) + "\n")
