"""
Tell the rows that people left an output in from those that we wrote one into by mistake.

Who cuts a row, pastes it elsewhere and undoes that after the result has come takes back what he moved: prompt, Job ID
and settings. What was written meanwhile stays, in a row that has neither. That is his deed; a write of ours that hits
such a row is ours.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from sandbox.workbook import Change, Workbook

LINK: Final = re.compile(r"/o/([0-9a-f-]{36})[/?]")


def bare(line: Mapping[str, str]) -> str | None:
    """Give the job whose output a row shows that has neither Job ID nor prompt; None: it is no such row."""
    found = LINK.search(line.get("Output URL", ""))
    return found[1] if found is not None and not line.get("Prompt") and not line.get("Job ID") else None


class Strays:
    """Count such rows of a spreadsheet after each of its changes."""

    def __init__(self, book: Workbook) -> None:
        self._book = book
        self._there: Counter[str] = Counter()
        self._peoples: Counter[str] = Counter()

    def look(self, change: Change, lines: Iterable[Mapping[str, str]]) -> None:
        """Look at the rows as they are after *change*."""
        edits = self._book.last_changes
        # A change of structure (a sort, a deletion, an insertion) is a person's: we write cells alone.
        by_person = change.cells is None or not edits or edits[-1].who == "person"
        there = Counter(job_id for job_id in map(bare, lines) if job_id is not None)
        for job_id, rows in there.items():
            new = max(0, rows - self._there[job_id]) if by_person else 0
            self._peoples[job_id] = min(self._peoples[job_id], self._there[job_id], rows) + new
        self._peoples &= there
        self._there = there

    def of_people(self) -> Counter[str]:
        """Say how many rows of each job people left behind."""
        return Counter(self._peoples)
