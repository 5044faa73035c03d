"""
Be a spreadsheet of a running farm, with the real script bound to it and the people before it; and judge its rows.

A desk's spreadsheet belongs to the tenant whose programs the farm's other scenarios are, so that a key of the API can
ask for the jobs of its rows.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Final
from uuid import uuid4

from chalicelib.contract.job import Job, job_id_of
from faults.cells import shown_text
from faults.editor import COPY
from faults.farm import TENANT, Farm
from faults.strays import LINK, Strays
from faults.verdict import Look, Verdict, judged
from sandbox.apps_script import PropertyStore, ScriptProject, Selection
from sandbox.waiting import wait_until
from sandbox.workbook import Change, Metadata, Sheet, Workbook
from sandbox.world import ROOT

HEADERS: Final = (
    "Prompt", "Workflow", "Steps", "Width", "Height", "Color", "Kind", "Seconds", "Shape", "Seed", "Status", "Preview",
    "Output URL", "Started at", "Finished at", "Error", "Job ID", "Notes",
)  # fmt: skip
ENDED: Final = frozenset({"done", "error", "cancelled"})


class Listener:
    """Be somebody who says yes to everything, and remembers what was said."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def alert(self, title: str, text: str, buttons: str) -> str:
        self.told.append(text)
        return "OK" if buttons == "OK" else "YES" if "YES" in buttons else "OK"

    def prompt(self, title: str, text: str, buttons: str) -> tuple[str, str]:
        self.told.append(text)
        return "CANCEL", ""

    def toast(self, message: str, title: str, seconds: float) -> None:
        self.told.append(message)

    def sidebar(self, title: str, html: str) -> None:
        return

    def dialog(self, title: str, html: str, width: int | None = None, height: int | None = None) -> None:
        return

    def select(self, sheet_id: int, ranges: tuple[tuple[int, int, int, int], ...]) -> None:
        return


class Desk:
    """Hold one spreadsheet: type, press the menu, wait, and judge. Its changes are heard as they happen."""

    def __init__(self, farm: Farm, title: str) -> None:
        self.farm = farm
        self.said = Listener()
        self.keys: dict[str, None] = {}
        """Job IDs that were ever bound to a row here."""
        self.done_at: dict[str, float] = {}
        """When a row first showed a job's end (Unix seconds), by Job ID."""
        self.linked: set[str] = set()
        """Job ids whose output any row ever showed."""
        self._heard = threading.Lock()
        world = farm.world
        self.book = Workbook(f"{title}-{uuid4().hex[:8]}", title, time_zone="Europe/Berlin")
        self.book.shared_with |= world.book.shared_with
        world.server.sheets.books.add(self.book)
        self._strays = Strays(self.book)
        self.sheet = self._lay_out()
        key = world.keys.new_sheet(TENANT, self.book.spreadsheet_id)
        known = {"document": {"API_URL": world.cloud.api_url, "SHEET_KEY": key}}
        properties = PropertyStore(known)
        self.project = ScriptProject(ROOT / "apps_script", self.book, properties=properties, ui=self.said)
        self.end = self.book.listen(self._hear)

    def _lay_out(self) -> Sheet:
        sheet = self.book.add_sheet("Renders", rows=300, cols=len(HEADERS) + 6)
        with self.book.editing("script"):
            for column, header in enumerate(HEADERS):
                sheet.set_cell(0, column, header)
                label = Metadata(self.book.new_id(), "comfysheet-column", header, "DOCUMENT")
                sheet.set_dimension("COLUMNS", column, 1, metadata=(label,))
            self.book.allow_external_images()
        return sheet

    def close(self) -> None:
        """Stop listening, and take the spreadsheet out of Google's hands."""
        self.end()
        self.farm.world.server.sheets.faults.clear(self.book.spreadsheet_id)
        self.farm.world.server.sheets.books.remove(self.book.spreadsheet_id)

    # -- what people do -----------------------------------------------------------------------------------------

    def type_rows(self, rows: Sequence[Mapping[str, str]], first: int = 1) -> range:
        """Type *rows* from row *first* (0-based) on; nobody's undo takes them back."""
        with self.book.editing("script"):
            columns = columns_of(self.sheet)
            for number, row in enumerate(rows, start=first):
                for header, value in row.items():
                    self.sheet.enter(number, columns[header], value)
        return range(first, first + len(rows))

    def press(self, function: str, rows: range, user: str | None = None) -> list[str]:
        """Select *rows* and press a menu entry; what the script said."""
        listener = Listener()
        selection = Selection(self.sheet.gid, ((rows[0], 0, rows[-1], 0),)) if rows else Selection(self.sheet.gid, ())
        self.project.run(function, selection, user=user, ui=listener)
        self.note_keys()
        return listener.told

    def generate(self, rows: range, user: str | None = None) -> list[str]:
        """Press Generate selected rows."""
        return self.press("generateSelectedRows", rows, user)

    def render(self, count: int, **row: str) -> range:
        """Type *count* rows, each with a prompt of its own, and generate them."""
        base = {"Workflow": "txt2img-sdxl", "Width": "64", "Height": "64", "Steps": "4", **row}
        rows = self.type_rows([{"Prompt": f"{self.book.title} {number}", **base} for number in range(1, count + 1)])
        self.generate(rows)
        return rows

    def note_keys(self) -> None:
        """Remember the Job IDs that rows carry now."""
        self.keys |= dict.fromkeys(line["Job ID"] for line in self.lines() if line.get("Job ID"))

    # -- what is seen -------------------------------------------------------------------------------------------

    def lines(self, *, copied: bool = False) -> list[dict[str, str]]:
        """
        Give the rows of our tabs as texts, by our names of the columns; *copied*: of the copies that people made.

        A copy is as the tab was in that moment, and nobody writes into it.
        """
        with self.book.lock:
            sheets = [sheet for sheet in self.book.sheets if sheet.title.startswith(COPY) == copied]
            return [line for sheet in sheets for line in lines_of(sheet)]

    def jobs(self) -> dict[str, Job]:
        """Read the jobs of all Job IDs that were ever bound here, by Job ID."""
        ids = {job_id_of(TENANT, key): key for key in self.keys}
        return {ids[job.job_id]: job for job in self.farm.ledger.get_many(list(ids))}

    def all_ended(self, patience_s: float = 60) -> bool:
        """Wait until every row that has a Job ID shows an end."""

        def over() -> bool:
            bound = [line for line in self.lines() if line.get("Job ID")]
            return bool(bound) and all(line.get("Status") in ENDED for line in bound)

        return wait_until(over, patience_s)

    def lags_s(self) -> list[float]:
        """Give, for each job whose end a row has shown, the seconds from its commit to the cell."""
        ended = self.jobs()
        return [max(0.0, at - (ended[key].finished_at or 0) / 1000) for key, at in self.done_at.items() if key in ended]

    def calls(self, since: float = 0.0) -> int:
        """Count the calls to Google for this spreadsheet since then (Unix seconds)."""
        log = self.farm.world.server.sheets.log.calls
        return sum(self.book.spreadsheet_id in call.path and call.at >= since for call in tuple(log))

    def _hear(self, change: Change) -> None:
        with self._heard:
            now, lines = time.time(), self.lines()
            self._strays.look(change, lines)
            for line in lines:
                for found in LINK.findall(line.get("Output URL", "") + line.get("Preview", "")):
                    self.linked.add(found)
                if line.get("Status") in ENDED and line.get("Job ID"):
                    self.done_at.setdefault(line["Job ID"], now)

    # -- the judge ----------------------------------------------------------------------------------------------

    def judge(self, *, by_people: bool = False) -> Verdict:
        """Compare every row with the ledger (`faults.verdict`); *by_people*: people wrote into our own cells."""
        jobs = self.jobs()
        with self.book.lock:
            copies, peoples = self.lines(copied=True), self._strays.of_people()
            look = Look(self.book.title, self.book.time_zone, self.lines(), copies, peoples)
        return judged(look, jobs, by_people=by_people)


def columns_of(sheet: Sheet) -> dict[str, int]:
    """Say where our columns are, by the names that they were given at first."""
    _, columns = sheet.data_extent()
    found: dict[str, int] = {}
    for column in range(columns):
        labels = [each.value for each in sheet.dimension("COLUMNS", column).metadata if each.key == "comfysheet-column"]
        name = str(labels[0] if labels else sheet.cell(0, column).formatted)
        if name:
            found.setdefault(name, column)
    return found


def lines_of(sheet: Sheet) -> list[dict[str, str]]:
    """Give the rows of a tab as texts, by our names of the columns."""
    rows, _ = sheet.data_extent()
    columns = columns_of(sheet)
    return [{name: shown_text(sheet.cell(row, column)) for name, column in columns.items()} for row in range(1, rows)]
