"""
Hold what is remembered from round to round because no list tells it: what machines did and cost, what was ordered.

One small document holds it all (scale_book.py keeps it); what is not in it is asked of the pools each time. Also here:
what one round sees (`Sight`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from pydantic import BaseModel, ConfigDict, Field

from chalicelib.contract.card import Seen
from chalicelib.contract.pool import Machine, MachineState
from chalicelib.scaling import Load


class Note(BaseModel):
    """Hold what is known of one machine."""

    model_config = ConfigDict(frozen=True)

    pool: str
    hour_price: float
    paid_until: int
    served_at: int = 0
    """When its worker last took jobs, as its card said; 0: it never has."""
    idle_since: int = 0
    """0: it was busy in the last round."""
    jobs_done: int = 0
    ending_since: int = 0
    """When it was given back, or first seen to be on its way out; 0: it is not."""
    state: MachineState = MachineState.RUNNING
    """As the pool listed it last, like `started_at`."""
    started_at: int = 0


class Order(BaseModel):
    """Hold an order: how many of which pool, when, beside which machines, and how many were granted (None: unknown)."""

    model_config = ConfigDict(frozen=True)

    pool: str
    at: int
    count: int
    known: tuple[str, ...]
    granted: int | None = None


class Closed(BaseModel):
    """Hold until when a pool is not asked, having had nothing to give, or nothing but machines that never worked."""

    model_config = ConfigDict(frozen=True)

    until: int
    times: int


class Memory(BaseModel):
    """Hold everything that is remembered. Money is in US dollars; `day` and `month` are of UTC."""

    model_config = ConfigDict(frozen=True)

    round_at: int = 0
    day: str = ""
    day_spent: float = 0.0
    month: str = ""
    month_spent: float = 0.0
    boot_s: float = 0.0
    """0: no start was measured."""
    busy: float = 0.0
    peaks: tuple[tuple[int, int, int], ...] = ()
    """Over the idle time, five minutes at least: when, how many machines were needed, and how many jobs waited."""
    stuck: int = 0
    """Jobs that waited while a machine idled; when that was last seen is `stuck_at`."""
    stuck_at: int = 0
    notes: dict[str, Note] = Field(default_factory=dict)
    orders: tuple[Order, ...] = ()
    closed: dict[str, Closed] = Field(default_factory=dict)
    failures: dict[str, int] = Field(default_factory=dict)
    """By pool, how many machines in a row went, or were given back as dead, without ever having taken a job."""
    started_at: int = 0
    stopped_at: int = 0
    dead: int = 0
    """Machines that were given back as dead, ever."""
    reason: str = ""
    """What the last round said."""


@dataclass(frozen=True)
class Page:
    """Hold the memory as it was read, and its version (0: there is none yet)."""

    memory: Memory
    version: int


class Book(Protocol):
    """Keep the memory."""

    def read(self) -> Page:
        """Read it. Raises `Unavailable`."""

    def write(self, memory: Memory, version: int) -> bool:
        """Put it in place of *version*; False: another round was faster. Raises `Unavailable`."""


@dataclass(frozen=True)
class Terms:
    """Say what a pool's machines cost when it does not tell, and what is billed at least (EC2: 60 s)."""

    hour_price: float
    least_s: float = 0.0


@dataclass(frozen=True)
class Work:
    """Hold the load, and how many jobs each worker has in hand."""

    load: Load
    in_hand: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Sight:
    """Hold what one round sees: each pool's machines, the workers' cards, and the work."""

    now: int
    machines: Mapping[str, Sequence[Machine]]
    cards: Sequence[Seen]
    work: Work


def remembered(memory: Memory, pool: str) -> list[Machine]:
    """List a pool's machines as they were last, for when it does not answer: they cost, whatever became of them."""
    return [
        Machine(name, note.state, note.started_at, note.hour_price)
        for name, note in memory.notes.items()
        if note.pool == pool
    ]


def listed(sight: Sight) -> Iterable[tuple[str, Machine]]:
    """Give each machine with its pool's name."""
    return ((pool, machine) for pool, machines in sight.machines.items() for machine in machines)
