"""Count what machines cost, by price and second, and say what the caps leave. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from chalicelib.contract.pool import MachineState
from chalicelib.scale_memory import Memory, Note, Sight, Terms, listed
from chalicelib.scaling import Policy

ENDING_MS: Final = 900_000
"""How long a machine may take to end. It costs until then; after that it is given back again."""
UNSEEN_PAID_MS: Final = 300_000
"""What a machine that vanished between two rounds is still charged for, at most."""


def budget_left(memory: Memory, policy: Policy) -> tuple[float, str]:
    """Say what the tighter cap leaves, and its name; infinite: there is none."""
    caps = []
    if policy.day_dollars is not None:
        caps.append((policy.day_dollars - memory.day_spent, f"the day's ${policy.day_dollars:.2f}"))
    if policy.month_dollars is not None:
        caps.append((policy.month_dollars - memory.month_spent, f"the month's ${policy.month_dollars:.2f}"))
    return min(caps, default=(math.inf, ""))


def charge(memory: Memory, sight: Sight, terms: Mapping[str, Terms]) -> Memory:
    """Pay for all machines up to now, those included that vanished since the last round; begin a new day or month."""
    now, at = sight.now, datetime.fromtimestamp(sight.now / 1000, UTC)
    day, month = at.strftime("%Y-%m-%d"), at.strftime("%Y-%m")
    day_start = int(at.replace(hour=0, minute=0, second=0, microsecond=0).timestamp() * 1000)
    month_start = int(at.replace(day=1, hour=0, minute=0, second=0, microsecond=0).timestamp() * 1000)
    day_spent = memory.day_spent if memory.day == day else 0.0
    month_spent = memory.month_spent if memory.month == month else 0.0
    notes: dict[str, Note] = {}

    def pay(note: Note, until: int) -> Note:
        nonlocal day_spent, month_spent
        if note.ending_since:
            until = min(until, note.ending_since + ENDING_MS)
        if until <= note.paid_until:
            return note
        day_spent += note.hour_price * max(0, until - max(note.paid_until, day_start)) / 3_600_000
        month_spent += note.hour_price * max(0, until - max(note.paid_until, month_start)) / 3_600_000
        return note.model_copy(update={"paid_until": until})

    for pool, machine in listed(sight):
        price = terms[pool].hour_price if machine.hour_price is None else machine.hour_price
        note = memory.notes.get(machine.id) or Note(pool=pool, hour_price=price, paid_until=machine.started_at)
        ending_since = (note.ending_since or now) if machine.state is MachineState.STOPPING else 0
        seen = {"state": machine.state, "started_at": machine.started_at}
        note = note.model_copy(update={"hour_price": price, "ending_since": ending_since, **seen})
        until = max(now, machine.started_at + int(terms[pool].least_s * 1000))
        notes[machine.id] = pay(note, until)
    for name, note in memory.notes.items():
        if name not in notes:
            pay(note, min(now, note.paid_until + UNSEEN_PAID_MS))
    spent = {"day": day, "day_spent": day_spent, "month": month, "month_spent": month_spent}
    return memory.model_copy(update={**spent, "notes": notes})
