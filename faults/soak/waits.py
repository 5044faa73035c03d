"""Sort the times from a job's commit to its cell by what held them up, and judge them (P11)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from faults.report import rank

SHOWN_WITHIN_S: Final = 10.0
RIGHT_WITHIN_S: Final = 300.0
"""After a storm every row is right within five minutes (P11)."""
UPSET_S: Final = 30.0
"""How long a refusal of Google's may be the cause of waiting: the pause after it, and the turns of other sheets."""
CALM_LEAST: Final = 20
"""Rows that no refusal touched, of which a p95 says anything."""


class Waits:
    """Hold the seconds that rows waited: of the storm from its end, the others from the commit."""

    def __init__(self, storm: tuple[float, float] | None, refused: Sequence[float]) -> None:
        """*storm*: when it began and ended; *refused*: when Google refused a call or dropped it (Unix seconds)."""
        self._begun, self._ended = storm or (0.0, 0.0)
        self._refused = refused
        self.usual: list[float] = []
        self.calm: list[float] = []
        """Those of the usual ones that no refusal of Google's can have held up."""
        self.stormy: list[float] = []

    def add(self, finished: float, at: float) -> None:
        """Take in a row: when its job was committed, and when it showed that (Unix seconds)."""
        if self._begun - SHOWN_WITHIN_S <= finished <= self._ended:
            self.stormy.append(max(0.0, at - self._ended))
            return
        self.usual.append(max(0.0, at - finished))
        if not any(finished - UPSET_S <= each <= at for each in self._refused):
            self.calm.append(self.usual[-1])

    def figures(self) -> dict[str, float | int | str]:
        """Tell them by rank."""
        told: dict[str, float | int | str] = {}
        if self.usual:
            told["commit to cell s: p50, p95, p99, max (n)"] = _ranks(self.usual)
        if self.calm:
            told["of rows that no refusal of Google's held up"] = _ranks(self.calm)
        if self.stormy:
            told["right after the storm's end s: max (n)"] = f"{rank(self.stormy, 1)} ({len(self.stormy)})"
        return told

    def breaches(self) -> list[str]:
        """Say what was too late: any row after five minutes, and the p95 of the calm ones after ten seconds."""
        wrong = []
        late = [each for each in self.usual + self.stormy if each > RIGHT_WITHIN_S]
        if late:
            wrong.append(
                f"{len(late)} rows were right only after more than 5 minutes, the last after {max(late):.0f} s"
            )
        if not self.usual + self.stormy:
            wrong.append("no row was ever seen to show an end")
        if len(self.calm) >= CALM_LEAST and rank(self.calm, 0.95) > SHOWN_WITHIN_S:
            wrong.append(f"rows that Google did not hold up showed their ends after {rank(self.calm, 0.95)} s (p95)")
        return wrong

    def unjudged(self) -> list[str]:
        """Say what there was too little of."""
        if len(self.calm) >= CALM_LEAST:
            return []
        return [
            f"the {SHOWN_WITHIN_S:.0f} s of P11: refusals of Google's may have held up all but {len(self.calm)} rows"
        ]


def _ranks(samples: Sequence[float]) -> str:
    told = ", ".join(str(rank(samples, share)) for share in (0.5, 0.95, 0.99, 1))
    return f"{told} ({len(samples)})"
