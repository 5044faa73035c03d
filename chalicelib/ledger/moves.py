"""Compile a row of `states.TRANSITIONS` into the one conditional write of DynamoDB that makes the move."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from chalicelib.contract.states import TERMINAL, TRANSITIONS, Guard, State, Verb
from chalicelib.ledger.item import Attributes, value_of

_CONDITIONS: Final[dict[Guard, str]] = {
    Guard.ABSENT: "attribute_not_exists(job_id)",
    Guard.SEQ: "seq = :seq",
    Guard.BUDGET: "budget_left > :zero",
    Guard.SPENT: "(budget_left <= :zero OR deadline <= :now)",
    Guard.IN_TIME: "deadline > :now",
    Guard.CLAIMABLE: "(#state = :queued AND not_before <= :now OR #state = :running AND lease_until < :now)",
    Guard.UNATTENDED: "(#state = :queued OR #state = :running AND lease_until < :now)",
    Guard.MINE: "attempt = :attempt AND claim_token = :token",
    Guard.SEEN: "attempt = :attempt",
    Guard.VERSION: "version = :version",
    Guard.SHOWN: "synced_version >= version",
}


def write_of(
    verb: Verb,
    values: Mapping[str, Any],
    sets: Attributes,
    adds: Mapping[str, int] | None = None,
    gone: tuple[str, ...] = (),
) -> dict[str, Any]:
    """
    Give what `update_item` is to be called with: the condition, the update, and what both name.

    *values* are what the guards compare with; *sets* and *adds* are written, *gone* is removed.
    """
    move = TRANSITIONS[verb]
    counts = dict(adds or {})
    sets = dict(sets)
    if move.target is not None:
        sets["state"] = move.target.value
        counts["version"] = 1
        if verb is not Verb.COMMIT:
            # What a running attempt has shown so far counts only if it ends well.
            gone = (*gone, "outputs")
    if move.target in TERMINAL:
        gone = (*gone, "line")
    names = {f"#{name}": name for name in (*sets, *counts, *gone)}
    bound = {f":{name}": value_of(name, value) for name, value in values.items()}
    bound |= {f":set_{name}": value_of(name, value) for name, value in sets.items()}
    bound |= {f":add_{name}": {"N": str(number)} for name, number in counts.items()}
    assigned = [f"#{name} = :set_{name}" for name in sets]
    assigned += [f"#{name} = #{name} + :add_{name}" for name in counts]
    if move.is_news or verb is Verb.SHOW_AGAIN:
        names |= {"#dirty_sheet": "dirty_sheet", "#sheet": "sheet"}
        assigned.append("#dirty_sheet = #sheet")
    update = "SET " + ", ".join(assigned)
    if gone:
        update += " REMOVE " + ", ".join(f"#{name}" for name in gone)
    condition = condition_of(verb, bound)
    if "#state" in condition:
        names["#state"] = "state"
    return {
        "condition": condition,
        "UpdateExpression": update,
        "ExpressionAttributeNames": names,
        "ExpressionAttributeValues": bound,
    }


def condition_of(verb: Verb, values: Attributes) -> str:
    """Compile a move's row of the table into a condition, and bind what it needs besides *values*."""
    move = TRANSITIONS[verb]
    parts = []
    if move.sources and move.sources != frozenset(State):
        slots = []
        for state in sorted(move.sources):
            values[f":{state}"] = {"S": state.value}
            slots.append(f":{state}")
        parts.append(f"#state IN ({', '.join(slots)})")
    elif move.sources:
        parts.append("attribute_exists(job_id)")
    parts += [_CONDITIONS[guard] for guard in move.guards]
    expression = " AND ".join(parts)
    if ":zero" in expression:
        values[":zero"] = {"N": "0"}
    for state in (State.QUEUED, State.RUNNING):
        if f":{state}" in expression:
            values[f":{state}"] = {"S": state.value}
    # DynamoDB refuses a bound value that no expression uses.
    return expression
