"""
Expand one job into many: lists and ranges of values for its inputs, each with each (product) or side by side (zip).

A range reads as in a shell's braces: `1..8`, `8..1`, `0..10..2`, `4..6..0.5`; both ends count. What is asked for is
counted before anything of it is made, so that a range of a billion is a sentence and not a full memory.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Final, Literal

from chalicelib.contract.errors import Rejected

MAX_JOBS: Final = 100

Scalar = str | int | float | bool | None
Mode = Literal["product", "zip"]

_NUMBER: Final = r"[+-]?\d{1,20}(?:\.\d{1,10})?"
_RANGE: Final = re.compile(rf"\s*({_NUMBER})\s*\.\.\s*({_NUMBER})\s*(?:\.\.\s*({_NUMBER})\s*)?")


def expand(given: Mapping[str, str | Sequence[Scalar]], mode: Mode) -> Iterator[dict[str, Scalar]]:
    """
    Give the inputs of each job, the last name varying fastest (product). Nothing given is one job.

    Raise `Rejected` (bad_request): not a list or range, an empty one, unequal lengths (zip), more than 100.
    """
    counted = {name: _counted(name, each) for name, each in given.items()}
    lengths = {name: length for name, (length, _) in counted.items()}
    if mode == "zip" and len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise Rejected("bad_request", f"Side by side (zip) all lists must be of one length: {told}.")
    count = next(iter(lengths.values()), 1) if mode == "zip" else math.prod(lengths.values())
    if count > MAX_JOBS:
        told = " × ".join(f"{name}: {length}" for name, length in lengths.items())
        raise Rejected(
            "bad_request", f"That makes {count} jobs ({told}); a batch has at most {MAX_JOBS}. Send several."
        )
    columns = [values for _, values in counted.values()]
    rows = zip(*columns, strict=True) if mode == "zip" and columns else itertools.product(*columns)
    return (dict(zip(counted, row, strict=True)) for row in rows)


def _counted(name: str, given: str | Sequence[Scalar]) -> tuple[int, Iterable[Scalar]]:
    """Say how many values there are, and what they are; those of a range are exact, and whole if its numbers are."""
    if not isinstance(given, str):
        if not given:
            raise Rejected("bad_request", f"expand.{name} is an empty list: leave it out, or give it a value.")
        return len(given), given
    match = _RANGE.fullmatch(given) if given.isascii() else None
    if match is None:
        raise Rejected("bad_request", f"expand.{name} must be a list, or a range like 1..8, 0..10..2 or 4..6..0.5.")
    first, last, step = Decimal(match[1]), Decimal(match[2]), abs(Decimal(match[3] or 1))
    if step == 0:
        raise Rejected("bad_request", f"expand.{name} counts by steps of 0 and never arrives.")
    length = int(abs(last - first) / step) + 1
    step = step if last >= first else -step
    kind: type[int] | type[float] = int if first % 1 == 0 and step % 1 == 0 else float
    return length, (kind(first + index * step) for index in range(length))
