"""Give drafts their names, labels and aliases: each word that a header may hold means one parameter only."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from chalicelib.contract.infer import known
from chalicelib.contract.infer.draft import Draft
from chalicelib.contract.words import fold

_OWN: Final = {"prompt": {fold(one) for one in ("prompt", *known.PROMPT.aliases)}, "seed": {"seed"}}
"""Headers of the sheet's own columns that mean the parameter of this name."""
SHARED: Final = frozenset(
    {
        *("prompt", "negative_prompt", "seed", "steps", "cfg", "sampler", "scheduler", "width", "height", "model"),
        *("lora", "lora_strength", "color"),
    }
)
"""What base.yaml defines: fields that a proposal leaves out are filled in from there."""


class Names:
    """Hold the words that are taken."""

    def __init__(self) -> None:
        self._words: set[str] = set()

    def name(self, draft: Draft) -> tuple[str, str, tuple[str, ...]]:
        """Give name, label and aliases of a draft: its own, where they are free."""
        role = draft.role
        name, number = self._name(draft)
        self._words.add(fold(name))
        numbered = f"{role.label} {number}" if number > 1 else role.label
        tries = (draft.label, f"{draft.label} {number}" if draft.label and number > 1 else "", numbered)
        own = fold(name.replace("_", " "))
        label = next((one for one in tries if one and (fold(one) == own or self._is_free(one, name))), "")
        if not label:
            label = name.replace("_", " ").capitalize()
        self._words.add(fold(label))
        aliases = []
        for alias in role.aliases if name == role.name else ():
            if fold(alias) == fold(label):
                aliases.append(alias)
            elif self._is_free(alias, name):
                aliases.append(alias)
                self._words.add(fold(alias))
        return name, label, tuple(aliases)

    def _name(self, draft: Draft) -> tuple[str, int]:
        """Give the first free name, and its number (1: none)."""
        if draft.slug and self._is_free(draft.slug, draft.slug) and draft.slug not in SHARED:
            return draft.slug, 1
        number = max(draft.index, 1)
        while True:
            name = draft.role.name if number == 1 else f"{draft.role.name}_{number}"
            if self._is_free(name, name):
                return name, number
            number += 1

    def _is_free(self, word: str, name: str) -> bool:
        """Say whether a header may mean the parameter called *name*."""
        folded = fold(word)
        return folded not in self._words and (folded not in known.RESERVED or folded in _OWN.get(name, ()))


def in_naming_order(drafts: Iterable[Draft]) -> list[Draft]:
    """Put those first that have a name of their own in any case, so that titles cannot take it from them."""
    return sorted(drafts, key=lambda draft: bool(draft.slug))
