"""
Judge pools by their machines: one whose machines never work is left alone for a while, then tried with one. Pure.

A machine fails when it goes by itself, or is given back as dead, before its worker ever took jobs. The first that
works ends the count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from chalicelib.contract.pool import MachineState
from chalicelib.scale_memory import Closed, Memory, Note
from chalicelib.scaling import Policy, Rented, Standing

BACKOFFS_S: Final = (120.0, 300.0, 600.0, 900.0)
"""How long a pool that had nothing to give is not asked: the first time, the second …"""
FAILURES_MOST: Final = 3
"""So many in a row close a pool."""
DEAD_AFTER_BOOTS: Final = 3
DEAD_AFTER_S: Final = 600.0
"""The least that a worker may be silent for; beyond it, three times a start."""
UNMEASURED_S: Final = 1800.0
"""The least while no start was measured: a big image or a first installation takes a quarter of an hour and more."""
PATIENCE_MOST_S: Final = 3600.0


def closed_for(times: int, now: int) -> Closed:
    """Close a pool for the first, second … time in a row."""
    wait_s = BACKOFFS_S[min(times, len(BACKOFFS_S)) - 1]
    return Closed(until=now + int(wait_s * 1000), times=times)


def patience_s(memory: Memory, policy: Policy, note: Note) -> float:
    """
    Say how long a machine may be silent before it counts as dead.

    A new one twice as long after each that failed: perhaps that was about to come up. Else none ever would, and no
    start be measured.
    """
    least_s = DEAD_AFTER_S if memory.boot_s else UNMEASURED_S
    base_s = max(least_s, DEAD_AFTER_BOOTS * (memory.boot_s or policy.boot_s))
    if note.served_at:
        return base_s
    doubled_s: float = base_s * 2 ** min(memory.failures.get(note.pool, 0), 10)
    return min(doubled_s, max(base_s, PATIENCE_MOST_S))


def may_have(memory: Memory, pool: str) -> int | None:
    """Say how many may be ordered of a pool; None: any number. One that failed shows first that one machine works."""
    if memory.failures.get(pool, 0) < FAILURES_MOST:
        return None
    return 0 if any(note.pool == pool and not note.served_at for note in memory.notes.values()) else 1


def judge(
    before: Mapping[str, Note], memory: Memory, fleet: Sequence[Rented], now: int
) -> tuple[Memory, tuple[str, ...]]:
    """Count the machines that failed since the notes of *before*; close their pools, and say so."""
    dead = {each.id for each in fleet if each.standing is Standing.DEAD}
    failures, closed, told = dict(memory.failures), dict(memory.closed), []
    for name, was in before.items():
        now_is = memory.notes.get(name)
        has_worked = (now_is or was).served_at
        if has_worked and not was.served_at:
            failures.pop(was.pool, None)
        has_gone = now_is is None or bool(now_is.ending_since) or name in dead
        if has_gone and not has_worked and not was.ending_since and was.state is not MachineState.ORDERED:
            failures[was.pool] = failures.get(was.pool, 0) + 1
    for pool, count in failures.items():
        if count >= FAILURES_MOST and count > memory.failures.get(pool, 0):
            closed[pool] = closed_for(count - FAILURES_MOST + 1, now)
            told.append(
                f"{count} machines of {pool} in a row ended or fell silent without having taken a job: it is left "
                f"alone for {(closed[pool].until - now) // 60_000} min, then tried with one. Look at a machine's log."
            )
    return memory.model_copy(update={"failures": failures, "closed": closed}), tuple(told)
