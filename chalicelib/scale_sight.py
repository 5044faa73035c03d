"""
See one round whole: bring the memory up to date, and say how each machine is. Pure.

A machine is known by its worker's cards and by the jobs that the ledger says it holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from chalicelib.contract.card import Seen
from chalicelib.contract.pool import Machine, MachineState
from chalicelib.scale_memory import Memory, Note, Order, Sight, Terms, listed
from chalicelib.scale_purse import ENDING_MS, budget_left, charge
from chalicelib.scale_trust import patience_s
from chalicelib.scaling import Load, Past, Policy, Rented, Standing, keep_s, needed

SETTLE_MS: Final = 150_000
"""How long an order may be on its way before it counts as lapsed."""
STUCK_S: Final = 300.0
"""For how long, at least, a machine must have idled beside jobs that waited all the time."""
STUCK_ROUNDS: Final = 3
STUCK_AGAIN_MS: Final = 1_800_000
"""After which one machine is tried for them again: its image may have been mended, or they be others."""
BOOT_WEIGHT: Final = 0.3
BUSY_WEIGHT: Final = 0.3
BOOT_BOUNDS_S: Final = (20.0, 1800.0)


def observe(memory: Memory, sight: Sight, policy: Policy, terms: Mapping[str, Terms]) -> tuple[Memory, list[Rented]]:
    """Bring *memory* up to date with what is seen; answer it and the machines as the decision sees them."""
    now, load = sight.now, sight.work.load
    memory = charge(memory, sight, terms)
    boot_s = memory.boot_s or policy.boot_s
    notes: dict[str, Note] = {}
    fleet: list[Rented] = []
    for pool, machine in listed(sight):
        was = memory.notes[machine.id]
        cards = [card for card in sight.cards if card.is_alive(now) and _is_of(machine.id, card.worker)]
        note = _noted(was, machine, cards, sight)
        if not was.served_at and note.served_at:
            boot_s = _next_boot(memory.boot_s, (note.served_at - machine.started_at) / 1000)
            memory = memory.model_copy(update={"boot_s": boot_s})
        notes[machine.id] = note
        silent_most_s = patience_s(memory, policy, note)
        fleet.append(_rented(machine, pool, note, cards, sight, boot_s, silent_most_s, policy))
    orders = tuple(order for order in memory.orders if _missing(order, sight))
    for order in orders:
        for _ in range(_missing(order, sight)):
            price = terms[order.pool].hour_price
            fleet.append(Rented("", order.pool, Standing.STARTING, price, policy.gpus, ready_in_s=boot_s))
    busy = memory.busy + BUSY_WEIGHT * (load.running - memory.busy)
    memory = memory.model_copy(update=_stuck(memory, policy, load, fleet, now))
    now_needed = needed(policy, _without(load, _left_out(memory, now)), busy, _gpus(fleet, policy))
    since = now - max(policy.idle_s, STUCK_S) * 1000
    peaks = (*(each for each in memory.peaks if each[0] > since), (now, now_needed, load.waiting))
    changed = {"notes": notes, "orders": orders, "busy": busy, "peaks": peaks, "round_at": now}
    return memory.model_copy(update=changed), fleet


def past_of(memory: Memory, policy: Policy, terms: Mapping[str, Terms], now: int) -> Past:
    """Say what the decision must know of the past."""
    left, cap = budget_left(memory, policy)
    boot_s = memory.boot_s or policy.boot_s
    since = now - keep_s(policy, boot_s) * 1000
    return Past(
        boot_s=boot_s,
        busy=memory.busy,
        peak=max((count for at, count, _ in memory.peaks if at > since), default=0),
        had_work=any(count for at, count, _ in memory.peaks if at > now - policy.idle_s * 1000 or at == now),
        may_order=not memory.orders and now - memory.started_at >= policy.order_pause_s * 1000,
        order_price=max([each.hour_price for each in terms.values()] + [n.hour_price for n in memory.notes.values()]),
        left=left,
        stuck=_left_out(memory, now),
        cap=cap,
    )


def _is_of(machine: str, worker: str) -> bool:
    return worker == machine or worker.startswith(f"{machine}-")


def _hands(machine: str, cards: Sequence[Seen], sight: Sight) -> int:
    """Count the jobs in a machine's hands: the ledger knows at once, a card shows what was a minute ago."""
    claimed = sum(count for worker, count in sight.work.in_hand.items() if _is_of(machine, worker))
    return max(claimed, sum(server.running for card in cards for server in card.servers))


def _noted(was: Note, machine: Machine, cards: Sequence[Seen], sight: Sight) -> Note:
    serving = [card for card in cards if card.open_servers]
    hands = _hands(machine.id, cards, sight)
    # One whose card cannot be read works all the same: the ledger says so.
    served_at = max([was.served_at, *(card.seen_at for card in serving), sight.now if hands else 0])
    done = sum(card.jobs_done for card in cards) if cards else was.jobs_done
    is_busy = bool(hands) or done != was.jobs_done
    idle_since = 0 if is_busy or not served_at else was.idle_since or sight.now
    return was.model_copy(update={"served_at": served_at, "idle_since": idle_since, "jobs_done": done})


def _rented(
    machine: Machine,
    pool: str,
    note: Note,
    cards: Sequence[Seen],
    sight: Sight,
    boot_s: float,
    silent_most_s: float,
    policy: Policy,
) -> Rented:
    now, jobs = sight.now, _hands(machine.id, cards, sight)
    age_s = (now - machine.started_at) / 1000
    silent_s = (now - max(machine.started_at, note.served_at)) / 1000
    gpus = sum(card.open_servers for card in cards) if cards else jobs
    ready_in_s = 0.0
    if machine.state is MachineState.STOPPING:
        # One that never ends (a pod that only exited) is asked to go again, and told.
        standing = Standing.DEAD if now - note.ending_since > ENDING_MS else Standing.STOPPING
    elif silent_s > silent_most_s and not jobs:
        standing = Standing.DEAD
    elif note.served_at:
        standing = Standing.READY
    else:
        # One that is late is expected at any time, but no sooner than within a tenth of a start.
        standing, gpus, ready_in_s = Standing.STARTING, policy.gpus, max(boot_s / 10, boot_s - age_s)
    idle_s = (now - note.idle_since) / 1000 if note.idle_since else 0.0
    price = note.hour_price
    return Rented(machine.id, pool, standing, price, gpus, jobs, ready_in_s, idle_s, machine.started_at)


def _missing(order: Order, sight: Sight) -> int:
    """Count the machines of an order that are not listed yet; none when it has lapsed."""
    if sight.now - order.at >= SETTLE_MS:
        return 0
    came = sum(machine.id not in order.known for machine in sight.machines.get(order.pool, ()))
    return max(0, (order.count if order.granted is None else order.granted) - came)


def _next_boot(before_s: float, measured_s: float) -> float:
    least, most = BOOT_BOUNDS_S
    measured_s = min(most, max(least, measured_s))
    return measured_s if not before_s else before_s + BOOT_WEIGHT * (measured_s - before_s)


def _stuck(memory: Memory, policy: Policy, load: Load, fleet: Sequence[Rented], now: int) -> dict[str, int]:
    """Count the jobs that waited all the time while a machine that takes jobs idled: nobody here can do them."""
    long_s = max(policy.idle_s, STUCK_S)
    past = [waited for at, _, waited in memory.peaks if at > now - long_s * 1000]
    free = (each for each in fleet if each.standing is Standing.READY and each.gpus and not each.jobs)
    if len(past) >= STUCK_ROUNDS and any(each.idle_s >= long_s for each in free):
        return {"stuck": min([load.waiting, *past]), "stuck_at": now}
    # Some of them went, so they can be done, or are others now.
    return {"stuck": 0} if load.waiting < memory.stuck else {}


def _left_out(memory: Memory, now: int) -> int:
    """Count the jobs that order no machine: all that are stuck, after a time all but the one that is tried again."""
    return max(0, memory.stuck - (now - memory.stuck_at >= STUCK_AGAIN_MS))


def _without(load: Load, stuck: int) -> Load:
    """Leave out the jobs that these machines cannot do."""
    if not stuck:
        return load
    waiting = load.waiting - stuck
    return Load(waiting, load.waiting_s * waiting / load.waiting, load.running, load.running_left_s)


def _gpus(fleet: Sequence[Rented], policy: Policy) -> float:
    ready = [each.gpus for each in fleet if each.standing is Standing.READY and each.gpus]
    return sum(ready) / len(ready) if ready else float(policy.gpus)
