"""Collect what a row may set, before it has a name: drafts of parameters, and notes for the person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from chalicelib.contract.infer.known import Role
from chalicelib.contract.parameter import Place, Type


def said(names: Sequence[str]) -> str:
    """Write names as a sentence does: a, b and c."""
    *first, last = dict.fromkeys(names)
    return f"{', '.join(first)} and {last}" if first else last


@dataclass(frozen=True)
class Draft:
    """
    Hold a parameter in the making.

    *value* is what the graph holds; *label* and *slug* count before the role's own; *index* numbers it (0: the next one
    that is free); *note* is added to the proposal's notes when the draft is used.
    """

    role: Role
    places: tuple[Place, ...]
    value: object
    label: str = ""
    slug: str = ""
    index: int = 0
    type: Type | None = None
    choices: tuple[str, ...] = ()
    is_required: bool = False
    is_random: bool = False
    note: str = ""


@dataclass
class Drafts:
    """Collect drafts and notes in the order in which a person reads them; no place is set twice."""

    drafts: list[Draft] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    taken: set[Place] = field(default_factory=set)

    def add(self, draft: Draft) -> bool:
        """Take a draft in, with the places that are still free; say whether there were any."""
        places = tuple(dict.fromkeys(place for place in draft.places if place not in self.taken))
        if not places:
            return False
        self.taken.update(places)
        self.drafts.append(Draft(**{**draft.__dict__, "places": places}))
        if draft.note:
            self.notes.append(draft.note)
        return True

    def note(self, sentence: str) -> None:
        """Tell the person something, once."""
        if sentence not in self.notes:
            self.notes.append(sentence)
