"""
Bring the rows up to what the ledger says.

A hint only says "look": the items are read anew, all lagging rows of a tab go into one write, the same call answers
which rows it hit, and a row that was hit by mistake (somebody sorted in between) gets back what it held. Only then a
job counts as shown. Repeating any of this changes nothing.

Each spreadsheet waits for its turn (Google's quota is one for all), and one that refuses us is left in peace for a
while, with a reason that its menu shows. A row that alone refuses is found by halving, so that the others go on.
"""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from chalicelib.cells import UNDER_WAY, Cell, Moved, RowMatch, Tab, Unreachable, cells_of, changed_cells, match_rows
from chalicelib.contract.counts import NOWHERE, Counts, Metric
from chalicelib.contract.errors import Unavailable
from chalicelib.contract.job import SHOWN_BEFORE, Job, job_id_of
from chalicelib.contract.ports import Ledger
from chalicelib.contract.sheets import Parked, Registration
from chalicelib.contract.states import CELL_WORD, TERMINAL, State
from chalicelib.contract.words import fold
from chalicelib.mend import Held, SheetStore, write

log = logging.getLogger(__name__)

ROUNDS: Final = 4
"""How often one flush follows rows that move away under its hands, before it leaves the rest to the next hint."""

HEAL_MS: Final = 10 * 60 * 1000
"""How long a sheet that refuses us is left in peace."""

CHECK_MS: Final = 10 * 60 * 1000
"""When a row is looked at once more: an undo, or an older script, may have brought "processing" back."""

PUT_OFF_MS: Final = 6 * 60 * 1000
"""Lagging rows whose next look is further away than this were put off, and wait for it."""

BEGUN_WITHIN_MS: Final = 25_000
"""No spreadsheet is begun later than this in a call, which has 60 seconds."""

OTHERS_MOST: Final = 500
"""Rows that one flush takes along: each is noted by itself, and a call has 60 seconds."""

STRANGERS_MOST: Final = 200
"""Rows with another job's link that one look asks the table about. A copied sheet is full of them, at every look."""

REFUSED_MOST: Final = 5
"""So many rows that refuse one by one are not a bad row but a bad tab."""

TAB_REFUSES: Final = Unreachable(
    "The tab refuses to be written: is one of our columns protected? Protect it with a warning only.",
    may_heal=True,
    of_tab=True,
)
_ENDS: Final = {
    State.SUCCEEDED: Metric.JOBS_SUCCEEDED,
    State.FAILED: Metric.JOBS_FAILED,
    State.CANCELED: Metric.JOBS_CANCELED,
}
_LINK: Final = re.compile(r"/o/([0-9a-f]{8}-[0-9a-f-]{27})[/?]")


class Spreadsheets(Protocol):
    """Know the spreadsheets (`chalicelib.registry.Registry`)."""

    def get(self, spreadsheet_id: str) -> Registration:
        """Read what is known of one."""

    def park(self, spreadsheet_id: str, parked: Parked) -> None:
        """Note why its rows are not written."""

    def unpark(self, spreadsheet_id: str) -> None:
        """Note that they are."""


class Turns(Protocol):
    """Give turns (`chalicelib.rates.SheetsBudget`)."""

    def turn(self, spreadsheet_id: str, now: int) -> int:
        """Take a turn: 0, or how many ms to wait."""


class Books(Protocol):
    """Add up what is used (`chalicelib.rates.UsageBook`)."""

    def note(self, job: Job, now: int) -> None:
        """Note what an ended job has used."""


class Herald(Protocol):
    """Tell others than the sheet (`chalicelib.herald.Herald`)."""

    def announce(self, jobs: Iterable[Job]) -> dict[str, float | None]:
        """Announce what is news; answer the jobs for which it could not be done, as `Complete.show` does."""


@dataclass
class _Flush:
    """Hold what one flush of a tab is at."""

    spreadsheet_id: str
    sheet_id: int
    left: list[Job]
    checks: Collection[str]
    """Ids of the jobs that were shown before: their rows are only looked at."""
    strangers: set[str] = field(default_factory=set)
    """Ids of those of them for which nobody asked: their second look is still to come."""
    refused: list[Job] = field(default_factory=list)
    has_written: bool = False
    """Whether some row was written since one refused: then it is not the tab."""


GOLDEN: Final = (5**0.5 - 1) / 2


def _some(ids: Sequence[str], now: int) -> Sequence[str]:
    """Give `STRANGERS_MOST` of *ids*, others every minute until all had their turn."""
    if len(ids) <= STRANGERS_MOST:
        return ids
    # Steps of the golden ratio fall everywhere alike, also when a look comes in every second minute only.
    begin = int(now // 60_000 * GOLDEN % 1 * len(ids))
    return [*ids[begin : begin + STRANGERS_MOST], *ids[: max(0, begin + STRANGERS_MOST - len(ids))]]


def linked(text: str) -> str | None:
    """Name the job whose output a link leads to."""
    found = _LINK.search(text)
    return None if found is None else found[1]


def _shows_another(tab: Tab, row: int, job_id: str) -> bool:
    """Say whether the row's link is another job's than *job_id*."""
    return linked(tab.text(row, "output_url")) not in (None, job_id)


def of_owner(ledger: Ledger, jobs: Sequence[Job], owner: str | None) -> list[Job]:
    """Leave out the jobs of a client whose spreadsheet it was: it was released, and is somebody else's now."""
    for job in jobs:
        if owner not in (None, job.client_id):
            log.warning("row of a former owner", extra={"job_id": job.job_id, "action": "left out"})
            ledger.mark_synced(job)
    return [job for job in jobs if owner in (None, job.client_id)]


def _of(job: Job) -> dict[str, object]:
    """Name a job in a line of the log."""
    return {"job_id": job.job_id, "attempt": job.attempt, "client_id": job.client_id, "state": job.state.value}


class Complete:
    """Show jobs in their rows."""

    def __init__(
        self,
        ledger: Ledger,
        sheets: SheetStore,
        spreadsheets: Spreadsheets,
        turns: Turns,
        books: Books,
        herald: Herald,
        now_ms: Callable[[], int],
        counts: Counts = NOWHERE,
    ) -> None:
        self._counts = counts
        self._ledger = ledger
        self._sheets = sheets
        self._spreadsheets = spreadsheets
        self._turns = turns
        self._books = books
        self._herald = herald
        self._now_ms = now_ms

    def show(self, job_ids: Iterable[str], check: Iterable[str] = ()) -> dict[str, float | None]:
        """
        Bring the rows of these jobs, and all other lagging rows of their spreadsheets, up to date.

        The rows of *check* were shown before and are looked at once more. Answer the ids that could not be shown now
        (quota, Google down), and in how many seconds to hint at them again (None: after a while).
        """
        checks = set(check)
        waiting: dict[str, list[Job]] = defaultdict(list)
        jobs = self._ledger.get_many([*job_ids, *checks])
        # Before anything counts as shown: whoever dies in between leaves the job in the sweeper's sight.
        later = self._herald.announce(jobs)
        for job in jobs:
            if job.job_id in later:
                continue
            if job.target is None:
                self._told(job)
            elif not job.is_shown or job.job_id in checks:
                waiting[job.target.spreadsheet_id].append(job)
        began = self._now_ms()
        for spreadsheet_id, asked in waiting.items():
            if self._now_ms() - began > BEGUN_WITHIN_MS:
                later.update(dict.fromkeys((job.job_id for job in asked), 1.0))
                continue
            try:
                self._take_turn(spreadsheet_id, asked, checks)
            except Unavailable as reason:
                log.info("sheet later", extra={"action": "later", "reason": reason.message, "jobs": len(asked)})
                later.update({job.job_id: reason.retry_in_s for job in asked})
            except Exception:
                # A fault of ours: it stays this spreadsheet's own, and its messages end in the dead letters.
                log.exception("sheet failed", extra={"action": "failed", "jobs": len(asked)})
                self._counts.add(Metric.COMPLETION_FAULTS)
                later.update({job.job_id: None for job in asked})
        return later

    def _take_turn(self, spreadsheet_id: str, asked: Sequence[Job], checks: Collection[str]) -> None:
        now = self._now_ms()
        there = self._spreadsheets.get(spreadsheet_id)
        parked, owner = there.parked, there.client_id
        asked = of_owner(self._ledger, asked, owner)
        if not asked:
            return
        if parked is not None and now < parked.until:
            for job in asked:
                self._ledger.look_later(job, due_at=parked.until)
            return
        if wait_ms := self._turns.turn(spreadsheet_id, now):
            raise Unavailable("Other spreadsheets have their turn first.", retry_in_s=wait_ms / 1000)
        if self._flush(spreadsheet_id, asked, checks, owner) and parked is not None:
            self._spreadsheets.unpark(spreadsheet_id)

    def _flush(self, spreadsheet_id: str, asked: Sequence[Job], checks: Collection[str], owner: str | None) -> bool:
        """Show every lagging job of one spreadsheet, tab by tab; False when a tab refused."""
        known = {job.job_id: job for job in asked}
        tabs: dict[int, list[Job]] = defaultdict(list)
        put_off = self._now_ms() + PUT_OFF_MS
        for job in [*asked, *of_owner(self._ledger, self._others(spreadsheet_id, known), owner)]:
            # The index may be late: the strongly read item decides.
            wanted = job.job_id in checks or (not job.is_shown and (job.job_id in known or (job.due_at or 0) < put_off))
            if job.target is not None and wanted and job.target.spreadsheet_id == spreadsheet_id:
                tabs[job.target.sheet_id].append(job)
        reached = True
        for sheet_id, jobs in tabs.items():
            flush = _Flush(spreadsheet_id, sheet_id, jobs, checks)
            try:
                self._flush_tab(flush)
            except Unreachable as trouble:
                reached = False
                self._park(spreadsheet_id, flush.left, trouble)
        return reached

    def _others(self, spreadsheet_id: str, known: Collection[str]) -> list[Job]:
        """Read the other jobs that lag; of very many some, for each is hinted at by itself too."""
        ids = [job_id for job_id in self._ledger.unshown(spreadsheet_id) if job_id not in known]
        others = self._ledger.get_many(ids[:OTHERS_MOST])
        later = self._herald.announce(others)
        return [job for job in others if job.job_id not in later]

    def _flush_tab(self, flush: _Flush) -> None:
        before: Tab | None = None
        for _ in range(ROUNDS):
            tab = self._sheets.read(flush.spreadsheet_id, flush.sheet_id)
            self._add_strangers(flush, tab)
            matches = match_rows(tab.column_texts("job_id") or {}, tab.column_texts("prompt"), flush.left)
            matches = [match for match in matches if self._is_due(match, tab, flush)]
            refuses = before is not None and (before.title, before.names) == (tab.title, tab.names)
            try:
                missed = self._halved(tab, matches, flush) if refuses else self._write(tab, matches)
            except Moved:
                before = tab
                continue
            except Unavailable:
                if flush.has_written:
                    self._give_up_refused(flush)
                raise
            if flush.refused and not flush.has_written:
                raise TAB_REFUSES
            self._give_up_refused(flush)
            # Of a row that was only looked at nothing was written: it is there all the same.
            there = {text.strip() for text in (tab.column_texts("job_id") or {}).values()}
            for job in flush.left:
                if job.job_id not in missed:
                    look_at = job.due_at if job.job_id in flush.strangers else None
                    self._shown(job, found=job.job_key in there, look_at=look_at)
            flush.left = [job for job in flush.left if job.job_id in missed]
            if not flush.left:
                return
            before = None
        raise Unavailable("Rows keep moving while they are written.", retry_in_s=5)

    def _is_due(self, match: RowMatch, tab: Tab, flush: _Flush) -> bool:
        """Say whether a row is to be written: one that is only looked at, if it fell back to before the end."""
        if match.job.job_id not in flush.checks or not match.job.is_shown:
            return True
        fell_back = fold(tab.text(match.row, "status")) in UNDER_WAY
        return match.same_prompt and (fell_back or _shows_another(tab, match.row, match.job.job_id))

    def _add_strangers(self, flush: _Flush, tab: Tab) -> None:
        """
        Have rows looked at that show the link of another job than their own as done.

        So ends a mis-hit whose repair was cut short; it happens when Google fails us in just that moment.
        """
        if not flush.left:
            return
        client_id, known = flush.left[0].client_id, {job.job_id for job in flush.left}
        own = {row: job_id_of(client_id, text.strip()) for row, text in (tab.column_texts("job_id") or {}).items()}
        done = [row for row in own if fold(tab.text(row, "status")) == CELL_WORD[State.SUCCEEDED]]
        strangers = {own[row] for row in done if _shows_another(tab, row, own[row])} - known
        for job in self._ledger.get_many(_some(sorted(strangers), self._now_ms())):
            if job.state in TERMINAL and job.is_shown and job.outputs:
                flush.left.append(job)
                flush.checks = {*flush.checks, job.job_id}
                flush.strangers.add(job.job_id)

    def _halved(self, tab: Tab, matches: Sequence[RowMatch], flush: _Flush) -> set[str]:
        """Write what can be written, half by half; answer as `_write` does. A row that alone refuses is given up."""
        try:
            missed = self._write(tab, matches)
        except Moved:
            if len(matches) > 1:
                middle = len(matches) // 2
                return self._halved(tab, matches[:middle], flush) | self._halved(tab, matches[middle:], flush)
            now = self._sheets.read(tab.spreadsheet_id, tab.sheet_id)
            if (now.title, now.names) != (tab.title, tab.names):
                return {match.job.job_id for match in matches}  # it was the tab that changed, not the row that refuses
            flush.refused.append(matches[0].job)
            if len(flush.refused) > REFUSED_MOST or (not flush.has_written and len(flush.refused) > 1):
                raise TAB_REFUSES from None
            return set()
        if self._plan(tab, matches):
            flush.has_written = True
        return missed

    def _give_up_refused(self, flush: _Flush) -> None:
        """Give up the rows that alone refused while others of their tab were written: it is not the tab."""
        for job in flush.refused:
            log.warning("row refused", extra={"job_id": job.job_id, "action": "refused"})
            self._counts.add(Metric.ROWS_GIVEN_UP)
            self._ledger.mark_synced(job, gone=job.state in TERMINAL)
        flush.left = [job for job in flush.left if job not in flush.refused]
        flush.refused.clear()

    def _write(self, tab: Tab, matches: Sequence[RowMatch]) -> set[str]:
        """Write the matched rows; answer the jobs whose row had moved away, after putting back what was hit."""
        plan = self._plan(tab, matches)
        if not plan:
            return set()
        missed = write(self._sheets, tab, plan)
        return {match.job.job_id for match in matches if match.row in missed}

    def _plan(self, tab: Tab, matches: Sequence[RowMatch]) -> dict[int, dict[int, Cell | Held]]:
        """Say which cells the matched rows get; a row that gets none is left out."""
        plan: dict[int, dict[int, Cell | Held]] = {}
        for match in matches:
            if match.same_prompt:
                cells = cells_of(match.job, tab.time_zone)
            elif match.job.state in TERMINAL:
                cells = changed_cells()
            else:
                continue
            plan[match.row] = {**tab.placed(cells)}
        return {row: cells for row, cells in plan.items() if cells}

    def _shown(self, job: Job, *, found: bool, look_at: int | None) -> None:
        """Note that a row was written or looked at; *look_at*: when one that was shown before is looked at again."""
        now = self._now_ms()
        has_ended = job.state in TERMINAL
        is_new = has_ended and not job.is_shown
        is_first = is_new and job.synced_version != SHOWN_BEFORE
        if is_new and found:
            look_at = now + CHECK_MS
        if self._ledger.mark_synced(job, look_at=look_at, gone=has_ended and not found) and is_first:
            self._books.note(job, now)
            self._counts.add(_ENDS[job.state])
            self._counts.add(Metric.ROWS_WRITTEN if found else Metric.ROWS_GONE)
            if found and job.finished_at is not None:
                self._counts.add(Metric.COMMIT_TO_CELL, max(0, now - job.finished_at))
        log.info("row", extra={"action": "shown" if found else "row gone", **_of(job)})

    def _told(self, job: Job) -> None:
        """Note that a job without a row is announced: there is nothing else to do for it."""
        is_first = job.state in TERMINAL and not job.is_shown
        if self._ledger.mark_synced(job) and is_first:
            self._counts.add(_ENDS[job.state])
            log.info("told", extra={"action": "told", **_of(job)})

    def _park(self, spreadsheet_id: str, jobs: Sequence[Job], trouble: Unreachable) -> None:
        """Leave a sheet that refuses us: try again now and then until the deadline, or never. Results stay."""
        now = self._now_ms()
        until = now if trouble.of_tab else now + HEAL_MS
        self._spreadsheets.park(spreadsheet_id, Parked(reason=trouble.reason, since=now, until=until))
        for job in jobs:
            log.warning("row parked", extra={"job_id": job.job_id, "action": "parked", "reason": trouble.reason})
            self._counts.add(Metric.ROWS_PARKED)
            if trouble.may_heal and now < job.deadline:
                self._ledger.look_later(job, due_at=now + HEAL_MS)
            else:
                self._ledger.mark_synced(job, gone=job.state in TERMINAL)
