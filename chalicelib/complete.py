"""
Bring the rows up to what the ledger says.

A hint only says "look": the items are read anew, all lagging rows of a tab go into one write, the same call answers
which rows it hit, and a row that was hit by mistake (somebody sorted in between) gets back what it held. Only then a
job counts as shown. Repeating any of this changes nothing.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Protocol

from chalicelib.cells import Cell, Moved, RowMatch, Tab, Unreachable, cells_of, changed_cells, match_rows, repairs
from chalicelib.contract.errors import Unavailable
from chalicelib.contract.job import Job
from chalicelib.contract.ports import Ledger
from chalicelib.contract.states import TERMINAL

log = logging.getLogger(__name__)

ROUNDS: Final = 4
"""How often one flush follows rows that move away under its hands, before it leaves the rest to the next hint."""

HEAL_MS: Final = 10 * 60 * 1000
"""How long a sheet that refuses us is left in peace."""


class SheetStore(Protocol):
    """Read and write tabs (`chalicelib.sheet.Sheets`)."""

    def read(self, spreadsheet_id: str, sheet_id: int) -> Tab:
        """Read a tab."""

    def write(self, tab: Tab, rows: Mapping[int, Mapping[int, Cell]]) -> Tab:
        """Write cells by row and column; answer what header and rows hold now."""

    def restore(self, tab: Tab, rows: Mapping[int, Mapping[int, Mapping[str, object] | None]]) -> None:
        """Put back what was there."""


class Complete:
    """Show jobs in their rows."""

    def __init__(self, ledger: Ledger, sheets: SheetStore, now_ms: Callable[[], int]) -> None:
        self._ledger = ledger
        self._sheets = sheets
        self._now_ms = now_ms

    def show(self, job_ids: Iterable[str]) -> set[str]:
        """
        Bring the rows of these jobs, and all other lagging rows of their spreadsheets, up to date.

        Answer the ids that could not be shown now (quota, Google down): hint at them again later.
        """
        jobs = self._ledger.get_many(list(job_ids))
        for job in jobs:
            if job.target is None:
                self._ledger.mark_synced(job)
        waiting: dict[str, list[Job]] = defaultdict(list)
        for job in jobs:
            if job.target is not None and not job.is_shown:
                waiting[job.target.spreadsheet_id].append(job)
        later: set[str] = set()
        for spreadsheet_id, asked in waiting.items():
            try:
                self._flush(spreadsheet_id, asked)
            except Unavailable as reason:
                log.warning("sheet later", extra={"action": "later", "reason": reason.message, "jobs": len(asked)})
                later.update(job.job_id for job in asked)
        return later

    def _flush(self, spreadsheet_id: str, asked: Sequence[Job]) -> None:
        """Show every lagging job of one spreadsheet, tab by tab."""
        known = {job.job_id: job for job in asked}
        others = [job_id for job_id in self._ledger.unshown(spreadsheet_id) if job_id not in known]
        tabs: dict[int, list[Job]] = defaultdict(list)
        for job in [*asked, *self._ledger.get_many(others)]:
            # The index may be late: the strongly read item decides.
            if job.target is not None and not job.is_shown and job.target.spreadsheet_id == spreadsheet_id:
                tabs[job.target.sheet_id].append(job)
        for sheet_id, jobs in tabs.items():
            try:
                self._flush_tab(spreadsheet_id, sheet_id, jobs)
            except Unreachable as trouble:
                self._park(jobs, trouble)

    def _flush_tab(self, spreadsheet_id: str, sheet_id: int, jobs: Sequence[Job]) -> None:
        left = list(jobs)
        refused = 0
        for _ in range(ROUNDS):
            tab = self._sheets.read(spreadsheet_id, sheet_id)
            matches = match_rows(tab.column_texts("job_id") or {}, tab.column_texts("prompt"), left)
            try:
                missed = self._write(tab, matches)
            except Moved:
                refused += 1
                continue
            for job in left:
                if job.job_id not in missed:
                    self._shown(job, found=any(match.job.job_id == job.job_id for match in matches))
            left = [job for job in left if job.job_id in missed]
            if not left:
                return
        if refused == ROUNDS:
            raise Unreachable("The tab refuses every write: is one of our columns protected?", may_heal=True)
        raise Unavailable("Rows keep moving while they are written.", retry_in_s=5)

    def _write(self, tab: Tab, matches: Sequence[RowMatch]) -> set[str]:
        """Write the matched rows; answer the jobs whose row had moved away, after putting back what was hit."""
        plan: dict[int, dict[int, Cell]] = {}
        for match in matches:
            if match.same_prompt:
                cells = cells_of(match.job, tab.time_zone)
            elif match.job.state in TERMINAL:
                cells = changed_cells()
            else:
                continue
            columns = tab.columns
            plan[match.row] = {columns[name]: cell for name, cell in cells.items() if name in columns}
        plan = {row: cells for row, cells in plan.items() if cells}
        if not plan:
            return set()
        wrong = repairs(tab, plan, self._sheets.write(tab, plan))
        if wrong:
            self._sheets.restore(tab, wrong)
            log.info("rows moved", extra={"action": "restored", "rows": len(wrong)})
        return {match.job.job_id for match in matches if match.row in wrong}

    def _shown(self, job: Job, *, found: bool) -> None:
        self._ledger.mark_synced(job)
        log.info("row", extra={"job_id": job.job_id, "action": "shown" if found else "row gone", "state": job.state})

    def _park(self, jobs: Sequence[Job], trouble: Unreachable) -> None:
        """Leave a sheet that refuses us: try again now and then until the deadline, or never. Results stay."""
        now = self._now_ms()
        for job in jobs:
            log.warning("row parked", extra={"job_id": job.job_id, "action": "parked", "reason": trouble.reason})
            if trouble.may_heal and now < job.deadline:
                self._ledger.look_later(job, due_at=now + HEAL_MS)
            else:
                self._ledger.mark_synced(job)
