"""Lay out a state of the model: who does what, what is on its way, and which faults may still happen."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

from chalicelib.contract.states import TRANSITIONS, Transition, Verb

NOBODY: Final = 0
"""Who holds a message that is visible."""
HIDDEN: Final = 3
"""Who holds a message that time alone brings back. 1 and 2 are the workers."""
NONE: Final = -1


@dataclass(frozen=True)
class Rules:
    """Say how the parts behave. Each default is the product's; another value takes one mechanism away."""

    table: dict[Verb, Transition] = field(default_factory=lambda: dict(TRANSITIONS))
    sweeps: bool = True
    acks_last: bool = True
    """Workers delete a message when its job has ended; else as soon as they have it."""
    tells_before_ack: bool = True
    """The hint goes before the message is deleted."""
    tells_again: bool = True
    """Whoever gets the message of an ended job hints at it before deleting it."""
    gives_back: bool = True
    """The message of a job that another holds is left for later; else it is deleted."""
    reads_anew: bool = True
    """Completion reads the job; else it goes by what it was when the hint was sent."""
    looks_twice: bool = True
    """A row that was shown is looked at once more."""
    one_writer: bool = True
    """A spreadsheet's hints go to one completion at a time."""


@dataclass(frozen=True)
class Budgets:
    """Say how many faults of each kind may happen in one history."""

    crashes: int = 1
    """Of any process, between any two of its calls."""
    api_crashes: bool = True
    """Whether API and canceller may be among those that crash."""
    duplicates: int = 1
    """Messages that the queue delivers once more."""
    expiries: int = 1
    """Leases, or hidden messages, that run out while their holder lives on."""
    lost: int = 1
    """Answers of the table that get lost, so that the call is repeated."""
    releases: int = 1
    fails: bool = True
    """Whether jobs may fail for good."""
    attempts: int = 2
    """What the job's budget is at first."""
    cancels: bool = True
    deadline: bool = False
    """Whether the deadline may pass."""
    held: bool = True
    """Whether the job may be held back at first."""


class Worker(NamedTuple):
    """Be a worker: what it does, the message in its hand (its place in the queue), a number, its token."""

    does: str = "idle"
    slot: int = NONE
    number: int = 0
    """Of the message while it takes; else of its attempt, or the job as it was when it was refused."""
    token: str = ""


class Completion(NamedTuple):
    """Be a completion: the job as it was read, what it does, how it will note it, and whether it owns its message."""

    seen: int = NONE
    does: str = "idle"
    is_check: bool = False
    note: tuple[int | None, bool] | None = None
    owns: bool = False


class World(NamedTuple):
    """Be one state of everything."""

    job: int = NONE
    queue: tuple[tuple[int, int, int], ...] = ()
    """Messages: their place, number, and who holds them."""
    workers: tuple[Worker, Worker] = (Worker(), Worker())
    api: str = "begins"
    user: str = "waits"
    sweeper: tuple[Any, ...] = ()
    hints: tuple[int, ...] = ()
    """Jobs as they were when hints were sent; NONE where completion reads the job anyway."""
    checks: int = 0
    completions: tuple[Completion, Completion] = (Completion(), Completion())
    row: int = 0
    crashes: int = 0
    duplicates: int = 0
    expiries: int = 0
    lost: int = 0
    releases: int = 0


class Step(NamedTuple):
    """Be a step: what happens, the state after it, whether it is a fault, and what promise it breaks."""

    label: str
    world: World
    is_fault: bool = False
    wrong: tuple[str, ...] = ()


IDLE: Final = Worker()
RESTS: Final = Completion()


def plain(world: World) -> World:
    """Name the two workers, and the places of messages, always in the same order: who is who means nothing."""
    workers, queue = world.workers, world.queue
    if workers[0] > workers[1]:
        other = {NOBODY: NOBODY, 1: 2, 2: 1, HIDDEN: HIDDEN}
        workers = (workers[1], workers[0])
        queue = tuple((slot, seq, other[holder]) for slot, seq, holder in queue)
    if queue:
        hands = {me.slot: number for number, me in enumerate(workers, 1) if me.slot != NONE}
        order = sorted(queue, key=lambda message: (message[1], message[2], hands.get(message[0], 0)))
        places = {message[0]: place for place, message in enumerate(order)}
        places[NONE] = NONE
        queue = tuple((place, seq, holder) for place, (_, seq, holder) in enumerate(order))
        workers = (_placed(workers[0], places), _placed(workers[1], places))
    return world._replace(workers=workers, queue=queue)


def _placed(me: Worker, places: dict[int, int]) -> Worker:
    return me if places[me.slot] == me.slot else me._replace(slot=places[me.slot])


def without(table: dict[Verb, Transition], verb: Verb, **fields: Any) -> dict[Verb, Transition]:
    """Give *table* with a move changed."""
    return {**table, verb: replace(table[verb], **fields)}
