"""Say what reading a document by its tag tells, for the file store and those who are handed one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Look:
    """Hold what was seen of a document: its *tag* (empty: there is none), and its content unless it was known."""

    tag: str
    content: bytes | None = None
