"""
Go through a deployment's steps: look what each would change, and do it.

A step looks at the cloud, never at notes of its own, so a deployment that was cut short is gone on with by starting it
again: what is done already is no change. With `plan_only` nothing is done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

Say = Callable[[str], None]


@dataclass(frozen=True)
class Change:
    """Say one thing that a step would do. `grave`: something is lost by it, so a person is asked first."""

    text: str
    grave: bool = False


class Step(Protocol):
    """Bring one part of a stage about."""

    @property
    def name(self) -> str:
        """Say in a word what it sees to."""

    def look(self) -> Sequence[Change]:
        """Say what it would change; nothing when all is as it should be. Changes nothing itself."""

    def act(self, say: Say) -> None:
        """Do it."""


class Stopped(Exception):
    """Say why a deployment went no further, and what to do."""


def follow(steps: Iterable[Step], *, plan_only: bool, ask: Callable[[str], bool], say: Say) -> int:
    """
    Go through *steps* in their order; return how many changes there were.

    *ask* is asked before anything grave; raise Stopped when the answer is no.
    """
    count = 0
    for step in steps:
        changes = step.look()
        count += len(changes)
        for line in _lines(step.name, changes):
            say(line)
        if not changes or plan_only:
            continue
        lost = [change.text for change in changes if change.grave]
        if lost and not ask(f"This cannot be taken back: {'; '.join(lost)}. Go on?"):
            raise Stopped(f"Stopped before {step.name}; nothing of it was done. Yes to all: --yes.")
        step.act(say)
    return count


def _lines(name: str, changes: Sequence[Change]) -> list[str]:
    if not changes:
        return [f"{name:12} unchanged"]
    return [f"{name:12} {'! ' if change.grave else ''}{change.text}" for change in changes]
