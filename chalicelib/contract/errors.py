"""
Name what can go wrong, by what the reader can do about it.

Two families decide the HTTP status, the queue verb and the cell text:

- `Rejected`: never repeat it. The message is read in a cell or a terminal and names the remedy.
- `Unavailable`: the same thing may work later.

Anything else is a bug and rises.
"""

from __future__ import annotations

from collections.abc import Mapping


class Rejected(Exception):
    """
    Refuse for good, with a sentence for the person who asked.

    *code* is a short snake_case word for programs; *message* says what happened and what to do; *details* are more
    facts for programs (JSON-able).
    """

    def __init__(self, code: str, message: str, details: Mapping[str, object] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details


class Unavailable(Exception):
    """Say that it did not work now and may in *retry_in_s* seconds (None: the caller's own backoff)."""

    def __init__(self, message: str, retry_in_s: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.retry_in_s = retry_in_s


class Exhausted(Unavailable):
    """Say that somebody has used up what is theirs for now: their rate, their budget or their places in the queue."""

    def __init__(self, code: str, message: str, retry_in_s: float) -> None:
        super().__init__(message, retry_in_s)
        self.code = code
