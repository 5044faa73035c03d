"""
Do for a spreadsheet what is not a row: prove an editor, check the sharing, prepare filter views, find rows for results.

Completion does it, for it alone talks to Google; what came of it is noted where the script asks for it.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from chalicelib.auto import AutoStart
from chalicelib.cells import Cell, Moved, Tab, Text, Unreachable, cells_of, find_columns, match_rows, prompt_of
from chalicelib.complete import linked, of_owner
from chalicelib.contract.errors import Unavailable
from chalicelib.contract.events import Errand
from chalicelib.contract.job import Job
from chalicelib.contract.ports import Ledger
from chalicelib.contract.sheets import ErrandNote, Proof, Registration
from chalicelib.mend import SheetStore, write

log = logging.getLogger(__name__)

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


class Books(SheetStore, Protocol):
    """Reach all of a spreadsheet (`chalicelib.sheet.Sheets`)."""

    def tabs(self, spreadsheet_id: str) -> dict[int, str]:
        """Give the titles of all tabs by id."""

    def add_tab(self, spreadsheet_id: str, title: str) -> int:
        """Make a tab."""

    def append(self, spreadsheet_id: str, sheet_id: int, rows: Sequence[Sequence[Cell]]) -> None:
        """Add rows below the last one."""

    def proofs(self, spreadsheet_id: str) -> list[str]:
        """Read what connecting scripts wrote."""

    def try_write(self, spreadsheet_id: str) -> None:
        """Write something that nobody sees and take it away again."""

    def prepare(self, tab: Tab, *, allow_images: bool) -> None:
        """Add our filter views, open the gate before pictures."""


class Spreadsheets(Protocol):
    """Know the spreadsheets (`chalicelib.registry.Registry`)."""

    def get(self, spreadsheet_id: str) -> Registration:
        """Read what is known of one."""

    def note_proof(self, spreadsheet_id: str, proof: Proof) -> None:
        """Note what was seen of a proof."""

    def note_errand(self, spreadsheet_id: str, note: ErrandNote) -> None:
        """Note what became of an errand."""

    def unpark(self, spreadsheet_id: str) -> None:
        """Note that rows can be written."""


class Turns(Protocol):
    """Give turns (`chalicelib.rates.SheetsBudget`)."""

    def turn(self, spreadsheet_id: str, now: int) -> int:
        """Take a turn: 0, or how many ms to wait."""


class Errands:
    """Run errands. *account* names our service account."""

    def __init__(
        self,
        ledger: Ledger,
        books: Books,
        spreadsheets: Spreadsheets,
        auto: AutoStart,
        turns: Turns,
        account: Callable[[], str],
        now_ms: Callable[[], int],
    ) -> None:
        self._ledger = ledger
        self._books = books
        self._spreadsheets = spreadsheets
        self._auto = auto
        self._turns = turns
        self._account = account
        self._now_ms = now_ms
        self._deeds: Mapping[str, Callable[[Errand], str | None]] = {
            "prove": self._prove,
            "check": self._check,
            "prepare": self._prepare,
            "relink": self._relink,
            "auto": self._start,
        }

    def run(self, errand: Errand) -> None:
        """
        Run it and note what came of it. Raise `Unavailable` when it has to be tried again.

        It takes a turn as rows do, for people ask as often as they like. Of auto mode the sweeper asks, which counts.
        """
        wait_ms = 0 if errand.errand == "auto" else self._turns.turn(errand.spreadsheet_id, self._now_ms())
        if wait_ms:
            raise Unavailable("Other spreadsheets have their turn first.", retry_in_s=wait_ms / 1000)
        try:
            told = self._deeds[errand.errand](errand)
        except Unreachable as trouble:
            log.warning("errand failed", extra={"action": errand.errand, "reason": trouble.reason})
            if errand.errand in ("check", "prepare", "relink"):
                self._note(errand, "failed", self._advice(trouble))
            return
        log.info("errand", extra={"action": errand.errand})
        if told is not None:
            self._note(errand, "done", told)

    def give_up(self, errand: Errand) -> None:
        """Note that it cannot be done, by a fault of ours that is in the log."""
        if errand.errand in ("check", "prepare", "relink"):
            self._note(errand, "failed", "Something went wrong here. Try again; if it stays, tell the operator.")

    def _note(self, errand: Errand, state: str, message: str) -> None:
        there = self._spreadsheets.get(errand.spreadsheet_id).errand
        if there is not None and there.id != errand.id:
            return  # somebody asked for something else meanwhile, and waits for that
        note = ErrandNote.model_validate({"id": errand.id, "state": state, "message": message})
        self._spreadsheets.note_errand(errand.spreadsheet_id, note)

    def _advice(self, trouble: Unreachable) -> str:
        if not trouble.may_heal:
            return trouble.reason
        try:
            return f"{trouble.reason} Share the spreadsheet with {self._account()} as an editor, then try again."
        except Unreachable:
            # It is our key that is wrong: nothing that the sheet's people do helps.
            return trouble.reason

    def _prove(self, errand: Errand) -> None:
        proof = self._spreadsheets.get(errand.spreadsheet_id).proof
        if proof is None or proof.is_seen or proof.until <= self._now_ms():
            return
        try:
            seen = proof.text in self._books.proofs(errand.spreadsheet_id)
        except Unreachable as trouble:
            troubled = proof.model_copy(update={"trouble": self._advice(trouble)})
            self._spreadsheets.note_proof(errand.spreadsheet_id, troubled)
            return
        told = "" if seen else "The script has not written its proof yet."
        update = {"is_seen": seen, "trouble": told}
        self._spreadsheets.note_proof(errand.spreadsheet_id, proof.model_copy(update=update))

    def _check(self, errand: Errand) -> str:
        self._books.try_write(errand.spreadsheet_id)
        self._spreadsheets.unpark(errand.spreadsheet_id)
        return f"{self._account()} can read and write this spreadsheet."

    def _prepare(self, errand: Errand) -> str:
        tab = self._books.read(errand.spreadsheet_id, errand.sheet_id)
        self._books.prepare(tab, allow_images=errand.allow_images)
        shown = " Pictures may be shown." if errand.allow_images else ""
        return f"The filter views To do, Running and Failed are there.{shown}"

    def _start(self, errand: Errand) -> None:
        try:
            self._auto.start(errand.spreadsheet_id)
        except Unavailable as reason:
            # The sweeper asks again in a minute; until then the spreadsheet's other news must not wait behind this.
            log.info("auto later", extra={"action": "auto", "reason": reason.message})

    # -- results without a row ----------------------------------------------------------------------------------

    def _relink(self, errand: Errand) -> str:
        """Write results whose rows were not found where their Job IDs are now; the others go to a tab of their own."""
        spreadsheet_id = errand.spreadsheet_id
        ids = self._ledger.gone(spreadsheet_id)
        owner = self._spreadsheets.get(spreadsheet_id).client_id
        gone = of_owner(self._ledger, self._ledger.get_many(ids[:RELINKED_AT_ONCE]), owner)
        fresh = self._fresh(spreadsheet_id, owner)
        if not gone and not fresh:
            return "No result is without a row."
        tabs = self._books.tabs(spreadsheet_id)
        gone += self._without_row(spreadsheet_id, tabs, fresh)[: RELINKED_AT_ONCE - len(gone)]
        if not gone:
            return "No result is without a row."
        left = {job.job_id: job for job in gone}
        began = self._now_ms()
        for sheet_id in _likeliest_first(tabs, gone):
            if not left or self._now_ms() - began > LOOKED_MOST_MS:
                break
            for job_id in self._found_in(spreadsheet_id, sheet_id, list(left.values())):
                self._ledger.mark_synced(left.pop(job_id))
        found = len(gone) - len(left)
        title = self._append(spreadsheet_id, tabs, [*left.values()]) if left else ""
        for job in left.values():
            self._ledger.mark_synced(job)
        parts = [f"{found} found again"] if found else []
        parts += [f"{len(left)} put into the tab {title}"] if left else []
        more = len(ids) - RELINKED_AT_ONCE
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

    def _found_in(self, spreadsheet_id: str, sheet_id: int, jobs: Sequence[Job]) -> set[str]:
        """Write the rows of *jobs* that stand in a tab; a tab that is no table, or refuses, holds none of them."""
        try:
            tab = self._books.read(spreadsheet_id, sheet_id)
            matches = match_rows(tab.column_texts("job_id") or {}, tab.column_texts("prompt"), jobs)
            plan: dict[int, dict[int, Cell]] = {}
            for match in matches:
                if match.same_prompt:
                    plan[match.row] = tab.placed(cells_of(match.job, tab.time_zone))
            missed = write(self._books, tab, plan) if plan else set()
        except Unreachable as trouble:
            if not trouble.of_tab:
                raise
            return set()
        except Moved:
            return set()
        if missed:
            raise Unavailable("Rows keep moving while they are written.", retry_in_s=5)
        return {match.job.job_id for match in matches if match.row in plan}

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
    Leave out the jobs that have a row in *tab*: one with their link, or with their Job ID and their prompt.

    A Job ID alone is not enough: somebody may have pasted it over another row's.
    """
    keys = tab.column_texts("job_id")
    if keys is None:
        return []
    there = {linked(text) for text in (tab.column_texts("output_url") or {}).values()}
    there |= {match.job.job_id for match in match_rows(keys, tab.column_texts("prompt"), jobs) if match.same_prompt}
    return [job for job in jobs if job.job_id not in there]


def _likeliest_first(tabs: Mapping[int, str], jobs: Sequence[Job]) -> list[int]:
    """Say in which order to look: where the rows were, where we put some, then the other tabs; not in too many."""
    homes = {job.target.sheet_id for job in jobs if job.target is not None}
    is_ours = {sheet_id: title.startswith(RESULTS) for sheet_id, title in tabs.items()}
    return sorted(tabs, key=lambda sheet_id: (sheet_id not in homes, not is_ours[sheet_id]))[:TABS_MOST]
