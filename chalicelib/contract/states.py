"""
Say which moves a job can make; everything that moves a job asks this table.

The rules:

- A job is QUEUED, RUNNING or ended. SUCCEEDED, FAILED and CANCELED absorb: "retry" is a new job.
- `attempt` grows at each claim and never shrinks: it fences every later write, and is part of every output's key.
- `budget_left` is what a claim costs; handing a job back voluntarily returns it.
- `version` grows with everything that a row has to show. A larger one is later news, in whatever order news arrives.

`TRANSITIONS` is compiled into DynamoDB conditions by `chalicelib.ledger`, evaluated by the in-memory twin of the
tests, and drawn in docs/states.md (a test compares the drawing).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class State(StrEnum):
    """Name where a job stands, in the words of the Comfy API v2."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"


TERMINAL: Final = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELED})
OPEN: Final = frozenset({State.QUEUED, State.RUNNING})

CELL_WORD: Final[dict[State, str]] = {
    State.QUEUED: "queued",
    State.RUNNING: "processing",
    State.SUCCEEDED: "done",
    State.FAILED: "error",
    State.CANCELED: "cancelled",
}
"""What the Status cell says for each state."""


class Guard(StrEnum):
    """Name one thing that must hold beside the state; the value is the sentence for the docs."""

    ABSENT = "no job of this id exists"
    SEQ = "the message is the newest one sent for this job"
    BUDGET = "attempts are left"
    SPENT = "no attempt is left, or the deadline has passed"
    IN_TIME = "the deadline is ahead"
    CLAIMABLE = "queued and its waiting time is over, or running with a dead lease"
    UNATTENDED = "queued, or running with a dead lease"
    MINE = "attempt and claim token are the caller's"
    SEEN = "the attempt is the one the caller saw"
    VERSION = "the version is the one that was shown"
    SHOWN = "the row shows the newest version"


class Verb(StrEnum):
    """Name one conditional write of the ledger."""

    SUBMIT = "submit"
    CLAIM = "claim"
    HEARTBEAT = "heartbeat"
    RELEASE = "release"
    RETRY = "retry"
    COMMIT = "commit"
    FAIL = "fail"
    GIVE_UP = "give up"
    CANCEL = "cancel"
    RESEND = "re-send"
    SYNCED = "synced"
    SHOW_AGAIN = "show again"


@dataclass(frozen=True)
class Transition:
    """Describe one move: who makes it, from where, to where (None: the state stays), and what must hold."""

    verb: Verb
    who: str
    sources: frozenset[State]
    target: State | None
    guards: tuple[Guard, ...] = ()

    @property
    def is_news(self) -> bool:
        """Say whether the move changes what a row shows, and so raises the version."""
        return self.target is not None


TRANSITIONS: Final[dict[Verb, Transition]] = {
    move.verb: move
    for move in (
        Transition(Verb.SUBMIT, "API", frozenset(), State.QUEUED, (Guard.ABSENT,)),
        Transition(
            Verb.CLAIM, "worker", OPEN, State.RUNNING, (Guard.SEQ, Guard.BUDGET, Guard.IN_TIME, Guard.CLAIMABLE)
        ),
        Transition(Verb.HEARTBEAT, "worker", frozenset({State.RUNNING}), None, (Guard.MINE,)),
        Transition(Verb.RELEASE, "worker", frozenset({State.RUNNING}), State.QUEUED, (Guard.MINE,)),
        Transition(Verb.RETRY, "worker", frozenset({State.RUNNING}), State.QUEUED, (Guard.MINE, Guard.BUDGET)),
        Transition(Verb.COMMIT, "worker", frozenset({State.RUNNING}), State.SUCCEEDED, (Guard.MINE,)),
        Transition(Verb.FAIL, "worker", frozenset({State.RUNNING}), State.FAILED, (Guard.MINE,)),
        Transition(
            Verb.GIVE_UP, "next claimer, sweeper", OPEN, State.FAILED, (Guard.SEEN, Guard.SPENT, Guard.UNATTENDED)
        ),
        Transition(Verb.CANCEL, "API", OPEN, State.CANCELED),
        Transition(Verb.RESEND, "completion, sweeper", OPEN, None, (Guard.SEQ, Guard.UNATTENDED)),
        Transition(Verb.SYNCED, "completion", OPEN | TERMINAL, None, (Guard.VERSION,)),
        Transition(Verb.SHOW_AGAIN, "API", TERMINAL, None, (Guard.SHOWN,)),
    )
}


def diagram() -> str:
    """Draw the table as a Mermaid state diagram, one edge a move, for docs/states.md."""
    lines = ["stateDiagram-v2"]
    for move in TRANSITIONS.values():
        if not move.sources:
            lines.append(f"    [*] --> {move.target}: {move.verb}")
        lines += [f"    {source} --> {move.target or source}: {move.verb}" for source in sorted(move.sources)]
    lines += [f"    {state} --> [*]" for state in sorted(TERMINAL)]
    return "\n".join(lines) + "\n"


def legend() -> str:
    """List the moves as a Markdown table: move, who makes it, from, to, what must hold."""
    lines = ["| move | who | from | to | what must hold |", "|---|---|---|---|---|"]
    for move in TRANSITIONS.values():
        sources = ", ".join(sorted(move.sources)) or "–"
        guards = "; ".join(move.guards) or "–"
        lines.append(f"| {move.verb} | {move.who} | {sources} | {move.target or 'stays'} | {guards} |")
    return "\n".join(lines) + "\n"
