"""Find rows for results that have none: where their Job IDs are now, or in a tab of our own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, Protocol

from chalicelib.cells import Cell, Moved, Tab, Text, Unreachable, cells_of, find_columns, match_rows, prompt_of
from chalicelib.complete import linked, of_owner
from chalicelib.contract.errors import Unavailable
from chalicelib.contract.job import Job
from chalicelib.contract.ports import Ledger
from chalicelib.mend import SheetStore, write

RESULTS: Final = "Results"
"""Title of the tab for results whose rows are gone."""
RESULT_COLUMNS: Final = {
    "Prompt": "prompt",
    "Workflow": "workflow",
    "Seed": "seed",
    "Status": "status",
    "Preview": "preview",
    "Output URL": "output_url",
    "Started at": "started_at",
    "Finished at": "finished_at",
    "Error": "error",
    "Job ID": "job_id",
}
RELINKED_AT_ONCE: Final = 400
FRESH_MOST: Final = 2000
"""Results of the last ten minutes whose rows are looked for; the second look finds out about the others."""
TABS_MOST: Final = 20
LOOKED_MOST_MS: Final = 20_000
"""No further tab is looked into after this time: a call has 60 seconds, and a large tab takes Google ten."""


class Tabs(SheetStore, Protocol):
    """Reach all tabs of a spreadsheet (`chalicelib.sheet.Sheets`)."""

    def tabs(self, spreadsheet_id: str) -> dict[int, str]:
        """Give the titles of all tabs by id."""

    def add_tab(self, spreadsheet_id: str, title: str) -> int:
        """Make a tab."""

    def append(self, spreadsheet_id: str, sheet_id: int, rows: Sequence[Sequence[Cell]]) -> None:
        """Add rows below the last one."""


class Relink:
    """Bring results back that no row shows."""

    def __init__(self, ledger: Ledger, books: Tabs, now_ms: Callable[[], int]) -> None:
        self._ledger = ledger
        self._books = books
        self._now_ms = now_ms

    def relink(self, spreadsheet_id: str, owner: str | None) -> str:
        """
        Write results whose rows were not found where their Job IDs are now; the others go to a tab of their own.

        Answer what came of it, as a sentence. *owner*: the client that the spreadsheet is connected to. Raise
        `Unreachable` (not shared, deleted, no tab may be made) or `Unavailable` (Google is busy, rows keep moving).
        """
        ids = self._ledger.gone(spreadsheet_id)
        gone = of_owner(self._ledger, self._ledger.get_many(ids[:RELINKED_AT_ONCE]), owner)
        fresh = self._fresh(spreadsheet_id, owner)
        if not gone and not fresh:
            return "No result is without a row."
        tabs = self._books.tabs(spreadsheet_id)
        lost = self._without_row(spreadsheet_id, tabs, fresh)
        gone += lost
        more = max(0, len(ids) - RELINKED_AT_ONCE) + max(0, len(gone) - RELINKED_AT_ONCE)
        gone = gone[:RELINKED_AT_ONCE]
        if not gone:
            return "No result is without a row."
        left = {job.job_id: job for job in gone}
        began = self._now_ms()
        for sheet_id in _likeliest_first(tabs, gone):
            if not left or self._now_ms() - began > LOOKED_MOST_MS:
                break
            for job_id in self._found_in(spreadsheet_id, sheet_id, list(left.values()), {job.job_id for job in lost}):
                self._ledger.mark_synced(left.pop(job_id))
        found = len(gone) - len(left)
        title = self._append(spreadsheet_id, tabs, [*left.values()]) if left else ""
        for job in left.values():
            self._ledger.mark_synced(job)
        parts = [f"{found} found again"] if found else []
        parts += [f"{len(left)} put into the tab {title}"] if left else []
        rest = f" {more} more are left: fetch missing results again." if more > 0 else ""
        return f"Results whose rows were gone: {', '.join(parts)}.{rest}"

    def _fresh(self, spreadsheet_id: str, owner: str | None) -> list[Job]:
        """
        Read the results that rows showed a moment ago. Who deletes such a row takes the result out of sight, and it is
        listed as without a row only at the second look.
        """
        jobs = self._ledger.get_many(self._ledger.fresh(spreadsheet_id)[:FRESH_MOST])
        # The index may be late: what is to be shown again is completion's.
        return of_owner(self._ledger, [job for job in jobs if job.is_shown and job.outputs], owner)

    def _without_row(self, spreadsheet_id: str, tabs: Mapping[int, str], jobs: Sequence[Job]) -> list[Job]:
        """Say which of *jobs* no row of their own tab shows; where the tab cannot be read as a table, none."""
        homes: dict[int, list[Job]] = defaultdict(list)
        for job in jobs:
            if job.target is not None:
                homes[job.target.sheet_id].append(job)
        missing: list[Job] = []
        for sheet_id, own in homes.items():
            try:
                missing += _not_in(self._books.read(spreadsheet_id, sheet_id), own) if sheet_id in tabs else own
            except Unreachable as trouble:
                if not trouble.of_tab:
                    raise
        return missing

    def _found_in(self, spreadsheet_id: str, sheet_id: int, jobs: Sequence[Job], lost: Collection[str]) -> set[str]:
        """
        Write the rows of *jobs* that stand in a tab, and name the jobs that it shows then; a tab that is no table, or
        refuses, shows none of them. Nor does another tab than their own (a copy of it) without a column for links.
        A row of *lost* ones (ids: they were shown before) is written only if its Output URL is empty, as in `_not_in`.
        """
        try:
            tab = self._books.read(spreadsheet_id, sheet_id)
            matches = match_rows(tab.column_texts("job_id") or {}, tab.column_texts("prompt"), jobs)
            plan: dict[int, dict[int, Cell]] = {}
            found: set[str] = set()
            for match in matches:
                if not match.same_prompt:
                    continue
                there = tab.text(match.row, "output_url")
                if match.job.job_id in lost and there:
                    if linked(there) in (None, match.job.job_id):
                        found.add(match.job.job_id)
                    continue
                plan[match.row] = tab.placed(cells_of(match.job, tab.time_zone))
                if "output_url" in tab.columns or not match.job.outputs or _is_home(match.job, sheet_id):
                    found.add(match.job.job_id)
            missed = write(self._books, tab, plan) if plan else set()
        except Unreachable as trouble:
            if not trouble.of_tab:
                raise
            return set()
        except Moved:
            return set()
        if missed:
            raise Unavailable("Rows keep moving while they are written.", retry_in_s=5)
        return found

    def _append(self, spreadsheet_id: str, tabs: Mapping[int, str], jobs: Sequence[Job]) -> str:
        """Add rows to our tab of results, below its own headers; the tab's title."""
        tab, title = self._results_tab(spreadsheet_id, tabs)
        header = tab.header or tuple(RESULT_COLUMNS)
        columns = find_columns(header, tab.labels)
        rows: list[list[Cell]] = [] if tab.header else [[Text(text) for text in header]]
        # Killed after this very write, an earlier round did not note it.
        there = {text.strip() for text in (tab.column_texts("job_id") or {}).values()}
        for job in jobs:
            if job.job_key in there:
                continue
            cells: dict[str, Cell] = {
                "prompt": Text(prompt_of(job.inputs)),
                "workflow": Text(job.workflow_id),
                "job_id": Text(job.job_key),
                **cells_of(job, tab.time_zone),
            }
            by_column = {columns[name]: cell for name, cell in cells.items() if name in columns}
            rows.append([by_column.get(at, Text("")) for at in range(max(columns.values()) + 1)])
        if rows:
            self._books.append(spreadsheet_id, tab.sheet_id, rows)
        return title

    def _results_tab(self, spreadsheet_id: str, tabs: Mapping[int, str]) -> tuple[Tab, str]:
        """Find our tab of results, or make it. A tab of that name without Job IDs is somebody's own."""
        there = {title.casefold(): sheet_id for sheet_id, title in tabs.items()}
        for title in (RESULTS, f"{RESULTS} (ComfySheet)"):
            sheet_id = there.get(title.casefold())
            if sheet_id is None:
                sheet_id = self._books.add_tab(spreadsheet_id, title)
            tab = self._books.read(spreadsheet_id, sheet_id)
            if "job_id" in tab.columns or not tab.texts:
                return tab, title
        reason = f"Rename your tab {title}: results without a row are kept in a tab of this name."
        raise Unreachable(reason, may_heal=False)


def _not_in(tab: Tab, jobs: Sequence[Job]) -> list[Job]:
    """
    Leave out the jobs that have a row in *tab*: their own (by Job ID and prompt) unless its Output URL is empty, or,
    where no row is their own, one with their link.

    A Job ID alone is not enough: somebody may have pasted it over another row's. Nor is a link that stands elsewhere:
    who cuts a row, and takes that back when the result has come, parts the two. What somebody typed over a link stays.
    """
    keys = tab.column_texts("job_id")
    if keys is None:
        return []
    links = tab.column_texts("output_url")
    own = [match for match in match_rows(keys, tab.column_texts("prompt"), jobs) if match.same_prompt]
    there = {match.job.job_id for match in own if links is None or links.get(match.row)}
    elsewhere = {linked(text) for text in (links or {}).values()} - {match.job.job_id for match in own}
    return [job for job in jobs if job.job_id not in there | elsewhere]


def _is_home(job: Job, sheet_id: int) -> bool:
    return job.target is not None and job.target.sheet_id == sheet_id


def _likeliest_first(tabs: Mapping[int, str], jobs: Sequence[Job]) -> list[int]:
    """Say in which order to look: where the rows were, where we put some, then the other tabs; not in too many."""
    homes = {job.target.sheet_id for job in jobs if job.target is not None}
    is_ours = {sheet_id: title.startswith(RESULTS) for sheet_id, title in tabs.items()}
    return sorted(tabs, key=lambda sheet_id: (sheet_id not in homes, not is_ours[sheet_id]))[:TABS_MOST]
