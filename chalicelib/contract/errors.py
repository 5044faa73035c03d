"""
Name what can go wrong, by what the reader can do about it.

Two families decide the HTTP status, the queue verb and the cell text:

- `Rejected`: never repeat it. The message is read in a cell or a terminal and names the remedy.
- `Unavailable`: the same thing may work later.

Anything else is a bug and rises.
"""

from __future__ import annotations


class Rejected(Exception):
    """
    Refuse for good, with a sentence for the person who asked.

    *code* is a short snake_case word for programs; *message* says what happened and what to do.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Unavailable(Exception):
    """Say that it did not work now and may in *retry_in_s* seconds (None: the caller's own backoff)."""

    def __init__(self, message: str, retry_in_s: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.retry_in_s = retry_in_s
