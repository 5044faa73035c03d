"""
Decide how many rented machines there should be. Pure: frozen values in, a decision with its reason out.

The rules, the stronger first:

1. The cap is hard. What runs is given back while the budget still pays for it until it is gone (`LAST_CALL_S`): first
   machines that only start, then idle ones, then busy ones (their jobs are handed back and go on elsewhere).
2. A machine whose worker never showed itself, or fell silent, is given back as dead.
3. Otherwise only idle machines are given back, and only as many as were too many for as long as a start takes (to
   keep one longer costs more than to start it again); the last one when there was no work during the whole idle time.
4. Machines are ordered when those that are there, or on their way, would not begin all waiting jobs within the target;
   never more than the most, never for less work than a start takes, never what the budget could not pay for.

After an order nothing is ordered until it was seen or has lapsed (scale_sight.py): a lost answer orders nothing twice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

LAST_CALL_S: Final = 240.0
"""For how long what runs must always be paid for: a round that was missed, the round itself, and a slow end."""
USEFUL_S: Final = 300.0
"""What a new machine must be able to work within the budget, beside its start."""
BUSY_SHARE: Final = 0.8
"""How busy machines may be on average before they count as too few."""


class Standing(StrEnum):
    """Say what a machine is good for."""

    STARTING = "starting"
    """Ordered; its worker has not shown itself yet."""
    READY = "ready"
    DEAD = "dead"
    """It costs, and its worker is silent or closed."""
    STOPPING = "stopping"


@dataclass(frozen=True)
class Policy:
    """Hold what the operator wants. Money is in US dollars; None: no cap."""

    least: int = 0
    most: int = 1
    target_wait_s: float = 300.0
    """Within which a job should begin."""
    idle_s: float = 600.0
    """How long there must have been no work before the last machine is given back; and the most for any other."""
    order_pause_s: float = 60.0
    job_s: float = 60.0
    """What a job of a workflow that was never measured counts for."""
    boot_s: float = 180.0
    """How long a machine takes from the order to its first job, until it was measured."""
    day_dollars: float | None = None
    month_dollars: float | None = None
    gpus: int = 1
    """Jobs that a machine renders at once, until its card tells."""


@dataclass(frozen=True)
class Load:
    """Hold the work: jobs that wait for a GPU and what they will take, and the same of those that are rendered."""

    waiting: int = 0
    waiting_s: float = 0.0
    running: int = 0
    running_left_s: float = 0.0


@dataclass(frozen=True)
class Rented:
    """Hold one machine as the decision sees it. `id` is empty for one that was ordered and is not listed yet."""

    id: str
    pool: str
    standing: Standing
    hour_price: float
    gpus: int = 1
    jobs: int = 0
    """In its hands now."""
    ready_in_s: float = 0.0
    """While it starts: how long it will take still."""
    idle_s: float = 0.0
    started_at: int = 0


@dataclass(frozen=True)
class Past:
    """Hold what the rounds before knew."""

    boot_s: float
    busy: float
    """Jobs being rendered, on average over the last minutes."""
    peak: int
    """The most machines that were needed at once for as long as a start takes (or the idle time, if that is less)."""
    had_work: bool
    """Whether there was any during the idle time."""
    may_order: bool
    """No order is under way, and the pause after the last one is over."""
    order_price: float
    """The highest hourly price that an order could have."""
    left: float = math.inf
    """What the budget still allows, in dollars; what runs is paid up to now."""
    stuck: int = 0
    """Jobs that waited although machines idled: they need something that these machines lack."""
    cap: str = ""
    """The cap that `left` is of, for sentences: "the day's $20.00"."""


@dataclass(frozen=True)
class Decision:
    """Say what to do and why. *alerts* are sentences that somebody should read."""

    start: int
    stop: tuple[str, ...]
    needed: int
    reason: str
    alerts: tuple[str, ...] = ()


def needed(policy: Policy, load: Load, busy: float, gpus: float) -> int:
    """Say how many machines the load keeps busy, within the target: 0 only when there is no work at all."""
    if not load.waiting and not load.running:
        return 0
    begun = min(load.waiting, load.waiting_s / policy.target_wait_s)
    return max(1, math.ceil((busy / BUSY_SHARE + begun) / gpus - 1e-9))


def keep_s(policy: Policy, boot_s: float) -> float:
    """Say how long a machine beyond the first is kept idle."""
    return min(policy.idle_s, boot_s)


def decide(policy: Policy, load: Load, fleet: Sequence[Rented], past: Past) -> Decision:
    """Decide what to start and stop now."""
    alive = [each for each in fleet if each.standing in (Standing.STARTING, Standing.READY)]
    gpus = _gpus(policy, alive)
    wanted = needed(policy, load, past.busy, gpus)
    dead = [each for each in fleet if each.standing is Standing.DEAD]
    alerts = [_of_dead(each) for each in dead]
    shed = _unaffordable(fleet, past)
    if shed:
        busy = sum(each.jobs > 0 for each in shed)
        text = f"{len(shed)} fewer: {past.cap} are nearly spent (${max(0.0, past.left):.2f} left)"
        text += f"; {busy} of them had jobs in hand, which go on elsewhere." if busy else "."
        return Decision(0, _ids([*shed, *dead]), wanted, text, (*alerts, text))
    surplus = _surplus(policy, alive, past)
    if surplus:
        kept = len(alive) - len(surplus)
        time = _minutes(keep_s(policy, past.boot_s) if past.had_work else policy.idle_s)
        text = f"{len(surplus)} fewer: for {time} no more than {kept} were needed."
        if past.stuck:
            alerts.append(f"{past.stuck} jobs wait while machines idle: the machines lack a model or node for them.")
        return Decision(0, _ids([*surplus, *dead]), wanted, text, tuple(alerts))
    count, text = _order(policy, load, alive, past, gpus)
    if dead:
        text = f"{len(dead)} fewer: dead. {text}"
    return Decision(count, _ids(dead), wanted, text, tuple(alerts))


def _unaffordable(fleet: Sequence[Rented], past: Past) -> list[Rented]:
    """Choose whom to give back so that the budget pays for the rest until the last call."""
    if past.left == math.inf:
        return []
    rate = sum(each.hour_price for each in fleet) / 3600
    shed: list[Rented] = []
    # Those that are not listed yet cannot be given back; they are when they appear.
    line = [each for each in fleet if each.id and each.standing is not Standing.STOPPING]
    for each in sorted(line, key=_dispensable):
        if rate * LAST_CALL_S < past.left:
            break
        shed.append(each)
        rate -= each.hour_price / 3600
    return shed


def _dispensable(each: Rented) -> tuple[bool, bool, float]:
    return each.jobs > 0, each.standing is Standing.READY, -each.started_at


def _surplus(policy: Policy, alive: Sequence[Rented], past: Past) -> list[Rented]:
    """Choose the idle machines that were too many during the whole idle time, the longest idle first."""
    too_many = len(alive) - max(policy.least, past.peak, int(past.had_work))
    if too_many <= 0 or not past.may_order:
        return []
    idle = [each for each in alive if each.id and each.standing is Standing.READY and not each.jobs and each.idle_s > 0]
    # One that started late has not had its own time yet.
    ripe = [each for each in idle if each.idle_s >= (keep_s(policy, past.boot_s) if past.had_work else policy.idle_s)]
    return sorted(ripe, key=lambda each: (-each.idle_s, each.id))[:too_many]


def _order(policy: Policy, load: Load, alive: Sequence[Rented], past: Past, gpus: float) -> tuple[int, str]:
    """Say how many more there should be, and why so many."""
    here = f"{sum(each.standing is Standing.READY for each in alive)} ready"
    here += f", {sum(each.standing is Standing.STARTING for each in alive)} starting"
    short = _short(policy, load, alive, past, gpus)
    floor = policy.least - len(alive)
    count = max(short, floor)
    if count <= 0:
        return 0, f"Enough: {_work(load)}; {here}."
    if not past.may_order:
        return 0, f"Not yet: the last order is not settled; {_work(load)}; {here}."
    room = max(0, policy.most - len(alive))
    paid = _affordable(alive, past)
    if min(count, room) > paid:
        if paid == 0:
            return 0, f"No more: {past.cap} leave ${max(0.0, past.left):.2f}, which pays for no machine; {_work(load)}."
        return paid, f"{paid} more and not {min(count, room)}, which {past.cap} do not pay for; {_work(load)}; {here}."
    if room < count:
        reason = f"{policy.most} is the most; {_work(load)}; {here}."
        return room, f"{room} more: {reason}" if room else f"No more: {reason}"
    if short < floor:
        return count, f"{count} more: {policy.least} is the least; {here}."
    return count, f"{count} more: {_work(load)}, to begin within {_minutes(policy.target_wait_s)}; {here}."


def _short(policy: Policy, load: Load, alive: Sequence[Rented], past: Past, gpus: float) -> int:
    """Count the machines that are missing for the waiting jobs to begin within the target."""
    waiting = load.waiting - past.stuck
    if waiting <= 0:
        return 0
    at_least = 0 if alive else 1
    target = policy.target_wait_s
    ready_s = sum(each.gpus * target for each in alive if each.standing is Standing.READY)
    coming_s = sum(
        each.gpus * max(0.0, target - each.ready_in_s) for each in alive if each.standing is Standing.STARTING
    )
    left_s = load.waiting_s * waiting / load.waiting - max(0.0, ready_s - load.running_left_s) - coming_s
    # A machine that starts has less of the target left; and none starts for less work than its start takes.
    useful_s = max(target - past.boot_s, target / 2, past.boot_s)
    idle = sum(max(0, each.gpus - each.jobs) for each in alive)
    # A job is not split: each machine needs jobs of its own.
    return max(at_least, math.ceil(min(left_s / useful_s, waiting - idle) / gpus - 1e-9))


def _affordable(alive: Sequence[Rented], past: Past) -> int:
    """Count the machines that can be ordered, started, used for a while and given back within the budget."""
    if past.left == math.inf:
        return 1_000_000
    committed = sum(each.hour_price * (each.ready_in_s + USEFUL_S + LAST_CALL_S) for each in alive) / 3600
    one = past.order_price * (past.boot_s + USEFUL_S + LAST_CALL_S) / 3600
    return max(0, math.floor((past.left - committed) / one)) if one > 0 else 1_000_000


def _gpus(policy: Policy, alive: Sequence[Rented]) -> float:
    """Say how many jobs a machine renders at once, by those that are there."""
    ready = [each.gpus for each in alive if each.standing is Standing.READY and each.gpus > 0]
    return max(1.0, sum(ready) / len(ready)) if ready else float(policy.gpus)


def _of_dead(each: Rented) -> str:
    return f"Machine {each.id} costs ${each.hour_price:.2f} an hour and its worker takes no jobs: it is given back."


def _ids(machines: Sequence[Rented]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(each.id for each in machines if each.id))


def _work(load: Load) -> str:
    if not load.waiting:
        return f"no jobs wait, {load.running} run"
    return f"{load.waiting} jobs wait (about {load.waiting_s:,.0f} s of work), {load.running} run"


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.3g} min"
