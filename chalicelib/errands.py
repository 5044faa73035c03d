"""
Do for a spreadsheet what is not a row: prove an editor, check the sharing, prepare filter views, find rows for results.

Completion does it, for it alone talks to Google; what came of it is noted where the script asks for it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from chalicelib.auto import AutoStart
from chalicelib.cells import Cell, Tab, Text, Unreachable, cells_of, match_rows
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
TABS_MOST: Final = 20


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


class Errands:
    """Run errands. *account* names our service account."""

    def __init__(
        self,
        ledger: Ledger,
        books: Books,
        spreadsheets: Spreadsheets,
        auto: AutoStart,
        account: Callable[[], str],
        now_ms: Callable[[], int],
    ) -> None:
        self._ledger = ledger
        self._books = books
        self._spreadsheets = spreadsheets
        self._auto = auto
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
        """Run it and note what came of it. Raise `Unavailable` when it has to be tried again."""
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

    def _note(self, errand: Errand, state: str, message: str) -> None:
        note = ErrandNote.model_validate({"id": errand.id, "state": state, "message": message})
        self._spreadsheets.note_errand(errand.spreadsheet_id, note)

    def _advice(self, trouble: Unreachable) -> str:
        share = (
            f" Share the spreadsheet with {self._account()} as an editor, then try again." if trouble.may_heal else ""
        )
        return f"{trouble.reason}{share}"

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
        self._auto.start(errand.spreadsheet_id)

    # -- results without a row ----------------------------------------------------------------------------------

    def _relink(self, errand: Errand) -> str:
        """Write results whose rows were not found where their Job IDs are now; the others go to a tab of their own."""
        spreadsheet_id = errand.spreadsheet_id
        gone = self._ledger.get_many(self._ledger.gone(spreadsheet_id)[:RELINKED_AT_ONCE])
        if not gone:
            return "No result is without a row."
        tabs = self._books.tabs(spreadsheet_id)
        left = {job.job_id: job for job in gone}
        for sheet_id in list(tabs)[:TABS_MOST]:
            for job_id in self._found_in(spreadsheet_id, sheet_id, list(left.values())):
                self._ledger.mark_synced(left.pop(job_id))
        found = len(gone) - len(left)
        if left:
            self._append(
                spreadsheet_id, next((key for key, title in tabs.items() if title == RESULTS), None), [*left.values()]
            )
        for job in left.values():
            self._ledger.mark_synced(job)
        parts = [f"{found} found again"] if found else []
        parts += [f"{len(left)} put into the tab {RESULTS}"] if left else []
        return f"Results whose rows were gone: {', '.join(parts)}."

    def _found_in(self, spreadsheet_id: str, sheet_id: int, jobs: Sequence[Job]) -> set[str]:
        tab = self._books.read(spreadsheet_id, sheet_id)
        matches = match_rows(tab.column_texts("job_id") or {}, tab.column_texts("prompt"), jobs)
        plan: dict[int, dict[int, Cell]] = {}
        for match in matches:
            if match.same_prompt:
                cells = cells_of(match.job, tab.time_zone)
                plan[match.row] = {tab.columns[name]: cell for name, cell in cells.items() if name in tab.columns}
        if not plan:
            return set()
        if write(self._books, tab, plan):
            raise Unavailable("Rows keep moving while they are written.", retry_in_s=5)
        return {match.job.job_id for match in matches if match.row in plan}

    def _append(self, spreadsheet_id: str, sheet_id: int | None, jobs: Sequence[Job]) -> None:
        rows: list[list[Cell]] = []
        if sheet_id is None:
            sheet_id = self._books.add_tab(spreadsheet_id, RESULTS)
            rows.append([Text(header) for header in RESULT_COLUMNS])
        time_zone = self._books.read(spreadsheet_id, sheet_id).time_zone
        for job in jobs:
            cells: dict[str, Cell] = {
                "prompt": Text(str(job.inputs.get("prompt", ""))),
                "workflow": Text(job.workflow_id),
                "job_id": Text(job.job_key),
                **cells_of(job, time_zone),
            }
            rows.append([cells.get(name, Text("")) for name in RESULT_COLUMNS.values()])
        self._books.append(spreadsheet_id, sheet_id, rows)
