"""Judge what a person is told: a sentence that says what happened and what to do, and nothing of the machine (P20)."""

from __future__ import annotations

import re
from typing import Final

LEAKS: Final[tuple[tuple[str, re.Pattern[str]], ...]] = (
    ("a stack trace", re.compile(r"Traceback|\bFile \"|\bline \d+, in\b")),
    ("an exception's name", re.compile(r"\b[A-Za-z_.]*(?:Error|Exception)\b(?! cell| column)")),
    ("a path", re.compile(r"(?:^|[\s\"'(=:])(?:~|[A-Za-z]:)?[/\\](?:[\w.-]+[/\\])+[\w.-]*")),
    ("an object's address", re.compile(r"0x[0-9a-f]{6,}|<class |<function |object at 0x")),
    ("a signed link", re.compile(r"X-Amz-|Signature=|AWSAccessKeyId")),
    ("a key", re.compile(r"\b(?:ck|cs|whsec)_[0-9a-f]{6,}|AKIA[0-9A-Z]{8,}|PRIVATE KEY")),
    ("a formula", re.compile(r"^\s*[=+@]|^\s*-(?!\d)")),
)
_REMEDIES: Final = (
    "use|choose|check|generate|ask|try|give|send|set|shorten|copy|install|export|share|press|must|need|needs"
    "|needed|select|type|add|remove|repeat|make|look|wait|allowed|connect|create|cancel|sign|leave|name|take"
    "|correct|fill|split|start|call|change|only|required|again|known|belongs|upload|delete|nearest"
)
NEXT: Final = re.compile(
    rf"\b(?:{_REMEDIES}|did you mean|at most|at least|there (?:is|are)|it has|one of|shows what is right)\b",
    re.IGNORECASE,
)
MOST_CHARS: Final = 500


def leaks_of(text: str) -> list[str]:
    """Say what *text* gives away of the machine."""
    return [f"holds {name}" for name, pattern in LEAKS if pattern.search(text)]


def breaches_of(text: str) -> list[str]:
    """Say what is wrong with *text* as a sentence for a person; nothing is."""
    found = leaks_of(text)
    if not text.strip():
        return ["is empty"]
    if text.strip()[-1] not in ".?!…":
        found.append("is no whole sentence")
    if len(text) > MOST_CHARS:
        found.append(f"is longer than {MOST_CHARS} characters")
    if not NEXT.search(text):
        found.append("does not say what to do")
    return found
