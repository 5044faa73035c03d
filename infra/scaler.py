"""The verb `scaler`: what the autoscaler knows, has spent and said last."""

from __future__ import annotations

import argparse
import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from chalicelib.scale_book import DynamoBook
from chalicelib.scale_memory import Memory, Note
from infra.release import add_stage_options, session
from infra.stack import read_outputs

if TYPE_CHECKING:
    Verbs = argparse._SubParsersAction[Any]

SILENT_MS: Final = 300_000
"""After which a round should have been made."""


def register(verbs: Verbs) -> None:
    """Add the verb."""
    verb = verbs.add_parser("scaler", help="show the autoscaler: machines, orders, dollars, its last reason")
    add_stage_options(verb)
    verb.add_argument("--json", action="store_true", help="for programs")
    verb.set_defaults(run=_show)


def lines_of(memory: Memory, now: int) -> list[str]:
    """Write what the autoscaler remembers, for a person; *now* in ms since the epoch."""
    if not memory.round_at:
        return ["The autoscaler has made no round yet. It is off until ScalePool is given (docs/scaling.md)."]
    silent = " (off, or something is wrong: see its log)" if now - memory.round_at > SILENT_MS else ""
    lines = [
        f"last round   {_ago(memory.round_at, now)}{silent}",
        f"it said      {memory.reason}",
        f"spent        ${memory.day_spent:.2f} on {memory.day}, ${memory.month_spent:.2f} in {memory.month} (UTC)",
        f"a start takes {memory.boot_s:.0f} s" if memory.boot_s else "no start was measured yet",
        f"given back as dead: {memory.dead}",
        f"machines     {len(memory.notes)}",
    ]
    lines += [f"  {name:24} {note.pool:20} {_life(note, now)}" for name, note in sorted(memory.notes.items())]
    for order in memory.orders:
        granted = "nobody knows how many were granted" if order.granted is None else f"{order.granted} granted"
        lines.append(f"order        {order.count} of {order.pool}, {_ago(order.at, now)}: {granted}")
    for pool, closed in sorted(memory.closed.items()):
        if closed.until > now:
            why = f"{failed} failed in a row" if (failed := memory.failures.get(pool)) else "which had too few"
            lines.append(f"not asked    {pool}, {why}, for {(closed.until - now) // 1000} s more")
    return lines


def _life(note: Note, now: int) -> str:
    if not note.served_at:
        life = "its worker has not shown itself"
    elif note.idle_since:
        life = f"idle for {(now - note.idle_since) // 1000} s"
    else:
        life = "at work"
    return f"${note.hour_price:.2f}/h  {life}"


def _ago(at: int, now: int) -> str:
    moment = datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="seconds")
    return f"{max(0, now - at) // 1000} s ago ({moment})"


def _show(arguments: argparse.Namespace) -> int:
    made = session(arguments)
    table = read_outputs(made, arguments.stage)["RatesTable"]
    memory = DynamoBook(made.client("dynamodb"), table).read().memory
    if arguments.json:
        print(json.dumps(memory.model_dump(mode="json"), indent=2))
    else:
        print("\n".join(lines_of(memory, time.time_ns() // 1_000_000)))
    return 0
