"""
Do for a spreadsheet what is not a row: prove an editor, check the sharing, prepare filter views, find rows for results.

Completion does it, for it alone talks to Google; what came of it is noted where the script asks for it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Protocol

from chalicelib.auto import AutoStart
from chalicelib.cells import Tab, Unreachable
from chalicelib.contract.errors import Unavailable
from chalicelib.contract.events import Errand
from chalicelib.contract.ports import Ledger
from chalicelib.contract.sheets import ErrandNote, Proof, Registration
from chalicelib.relink import Relink, Tabs

log = logging.getLogger(__name__)


class Books(Tabs, Protocol):
    """Reach all of a spreadsheet (`chalicelib.sheet.Sheets`)."""

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
        self._relinking = Relink(ledger, books, now_ms)
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

    def _relink(self, errand: Errand) -> str:
        owner = self._spreadsheets.get(errand.spreadsheet_id).client_id
        return self._relinking.relink(errand.spreadsheet_id, owner)

    def _start(self, errand: Errand) -> None:
        try:
            self._auto.start(errand.spreadsheet_id)
        except Unavailable as reason:
            # The sweeper asks again in a minute; until then the spreadsheet's other news must not wait behind this.
            log.info("auto later", extra={"action": "auto", "reason": reason.message})
