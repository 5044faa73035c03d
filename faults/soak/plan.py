"""Draw the faults of a run from a seed: what happens when, to whom, for how long."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Blow(StrEnum):
    """Name what is done."""

    KILL = "worker killed"
    FREEZE = "worker frozen"
    COMFY = "ComfyUI killed"
    PARTITION = "worker cut off from AWS"
    GOOGLE = "Google failed a call, applied or not"
    STORM = "storm: Google refuses every call"
    DUPLICATE = "job message duplicated"
    REPLAY = "old hint replayed"
    MALFORMED = "malformed message sent"
    CANCEL = "cancelled"
    EDIT = "people edited the sheets"
    REDEPLOY = "functions redeployed"


BREAKS: Final = frozenset({Blow.KILL, Blow.FREEZE, Blow.COMFY, Blow.PARTITION, Blow.GOOGLE, Blow.STORM, Blow.REDEPLOY})
"""Blows that take something away: kills, freezes, cuts, refusals, replacements."""
MESSAGES: Final = frozenset({Blow.DUPLICATE, Blow.REPLAY, Blow.MALFORMED})
"""Messages that nobody should have sent. What is left is people's and programs' ordinary work: edits, cancellations."""
RATES: Final = {
    Blow.KILL: 2.0,
    Blow.FREEZE: 1.0,
    Blow.COMFY: 0.6,
    Blow.PARTITION: 0.5,
    Blow.GOOGLE: 2.0,
    Blow.DUPLICATE: 8.0,
    Blow.REPLAY: 6.0,
    Blow.MALFORMED: 0.7,
    Blow.EDIT: 40.0,
}
"""How often a minute, on average; the times are those of a Poisson process."""
CANCELLED: Final = 0.04
"""The share of jobs that somebody tries to cancel."""


@dataclass(frozen=True)
class Event:
    """Be one fault: when (seconds from the start), what, a number that chooses whom, and for how long (s)."""

    at_s: float
    blow: Blow
    whom: int
    for_s: float = 0.0

    def __str__(self) -> str:
        lasting = f" for {self.for_s:.1f} s" if self.for_s else ""
        return f"{self.at_s:7.1f} s  {self.blow}{lasting}"


@dataclass(frozen=True)
class Plan:
    """Be all that happens in a run of *length_s* seconds."""

    seed: int
    length_s: float
    events: tuple[Event, ...]

    @property
    def counts(self) -> Counter[Blow]:
        return Counter(event.blow for event in self.events)

    @property
    def storm(self) -> Event | None:
        return next((event for event in self.events if event.blow is Blow.STORM), None)


def draw(seed: int, rows: int, length_s: float, lease_s: float) -> Plan:
    """Draw a plan; the storm comes at two fifths of the run, a redeployment in the middle and another one later."""
    dice = random.Random(f"plan {seed}")
    events = [
        Event(at_s, blow, dice.randrange(1 << 30), _length_s(dice, blow, lease_s))
        for blow, rate in RATES.items()
        for at_s in _poisson(dice, rate / 60, length_s)
    ]
    events += [
        Event(dice.uniform(0, length_s), Blow.CANCEL, dice.randrange(1 << 30)) for _ in range(round(CANCELLED * rows))
    ]
    events.append(Event(0.4 * length_s, Blow.STORM, 0, min(120.0, 0.12 * length_s)))
    events += [Event(share * length_s, Blow.REDEPLOY, which) for share, which in ((0.5, 0), (0.7, 1))]
    return Plan(seed, length_s, tuple(sorted(events, key=lambda event: event.at_s)))


def _poisson(dice: random.Random, rate_s: float, length_s: float) -> Sequence[float]:
    """Draw the times; the first seconds are quiet, so that there is something to break."""
    times, at_s = [], 3.0 + dice.expovariate(rate_s)
    while at_s < length_s:
        times.append(at_s)
        at_s += dice.expovariate(rate_s)
    return times


def _length_s(dice: random.Random, blow: Blow, lease_s: float) -> float:
    if blow is Blow.FREEZE:
        return dice.uniform(0.3, 3) * lease_s
    if blow is Blow.PARTITION:
        return dice.uniform(1, 3) * lease_s
    if blow in (Blow.KILL, Blow.COMFY):
        return dice.uniform(0.3, 3)
    return 0.0
