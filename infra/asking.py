"""Ask the person at the terminal before something is done that cannot be undone, or costs."""

from __future__ import annotations

import sys

from chalicelib.contract.errors import Rejected


def agreed(question: str, *, yes: bool, word: str = "") -> bool:
    """
    Say whether the person agrees: types y, or *word* where there is one. With *yes* nobody is asked.

    Raises Rejected where nobody can be asked.
    """
    if yes:
        return True
    if not sys.stdin.isatty():
        raise Rejected("not_asked", f"{question} Nobody can be asked here; --yes says so beforehand.")
    if word:
        return input(f"{question} Type {word} to go on: ").strip() == word
    return input(f"{question} [y/N] ").strip().casefold() in ("y", "yes")
