"""
Draw by a seed, the same on every machine and with every version of Python.

The nth draw is the first eight bytes of SHA-256 of "seed:name:n". `random` keeps its sequences from version to version
for `random()` alone, not for `choice` and its like.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate


class Dice:
    """Draw for one input: *name* lets two inputs with the same text draw by themselves."""

    def __init__(self, seed: int, name: str) -> None:
        self._seed = f"{seed}:{name}"
        self.drawn = 0

    def below(self, sides: int) -> int:
        """Draw a whole number from 0 to below *sides*."""
        digest = hashlib.sha256(f"{self._seed}:{self.drawn}".encode()).digest()
        self.drawn += 1
        return int.from_bytes(digest[:8], "big") * sides >> 64

    def pick(self, weights: Sequence[int]) -> int:
        """Draw a place of *weights*, the heavier ones more often; not all of them may be 0."""
        sums = list(accumulate(weights))
        return bisect_right(sums, self.below(sums[-1]))

    def picks(self, weights: Sequence[int], count: int) -> list[int]:
        """Draw *count* different places, in the order drawn; fewer when no more of them weigh anything."""
        left = list(weights)
        drawn: list[int] = []
        while len(drawn) < count and any(left):
            drawn.append(self.pick(left))
            left[drawn[-1]] = 0
        return drawn
