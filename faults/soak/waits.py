"""Sort the times from a job's commit to its cell into a storm's and the others, and judge them (P11)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from faults.report import rank

SHOWN_WITHIN_S: Final = 10.0
RIGHT_WITHIN_S: Final = 300.0
"""After a storm every row is right within five minutes (P11); the others are no later after their commit."""
UNJUDGED: Final = (
    f"the {SHOWN_WITHIN_S:.0f} s of P11 (the functions are replaced, start cold and share the machine with the faults; "
    "`python -m faults F8` bounds them)"
)


class Waits:
    """Hold the seconds that rows waited: those of the storm from its end, the others from the commit."""

    def __init__(self, storm: tuple[float, float] | None) -> None:
        """*storm*: when it began and ended (Unix seconds)."""
        self._begun, self._ended = storm or (0.0, 0.0)
        self.usual: list[float] = []
        self.stormy: list[float] = []

    def add(self, finished: float, at: float) -> None:
        """Take in a row: when its job was committed, and when it showed that (Unix seconds)."""
        if self._begun - SHOWN_WITHIN_S <= finished <= self._ended:
            self.stormy.append(max(0.0, at - self._ended))
        else:
            self.usual.append(max(0.0, at - finished))

    def figures(self) -> dict[str, float | int | str]:
        """Tell them by rank."""
        told: dict[str, float | int | str] = {}
        if self.usual:
            told["commit to cell s: p50, p95, p99, max (n)"] = _ranks(self.usual)
        if self.stormy:
            told["right after the storm's end s: max (n)"] = f"{rank(self.stormy, 1)} ({len(self.stormy)})"
        return told

    def breaches(self) -> list[str]:
        """Say what was too late, or that nothing was seen."""
        waited = self.usual + self.stormy
        if not waited:
            return ["no row was ever seen to show an output"]
        late = [each for each in waited if each > RIGHT_WITHIN_S]
        return (
            [f"{len(late)} rows were right only after more than 5 minutes, one after {max(late):.0f} s"] if late else []
        )


def _ranks(samples: Sequence[float]) -> str:
    told = ", ".join(str(rank(samples, share)) for share in (0.5, 0.95, 0.99, 1))
    return f"{told} ({len(samples)})"
