"""Rows come up to what the ledger says, whatever people do to the sheet meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.cells import Cell, Image, Moved, Number, Tab, Text, Time, Unreachable
from chalicelib.complete import HEAL_MS, Complete
from chalicelib.contract.errors import Unavailable
from chalicelib.contract.job import Job, JobError, Timings
from chalicelib.contract.ports import Claimed
from tests.fakes import MemoryLedger
from tests.jobs import NOW, new_job, output, target

HEADER = ["Prompt", "Workflow", "Status", "Output URL", "Preview", "Seed", "Error", "Job ID", "Notes"]
SHEET = "sheet-1"


class PaperSheet:
    """Be one tab on paper: rows of texts; *between* is what somebody does right before each write."""

    def __init__(self, *rows: Mapping[str, str]) -> None:
        self.grid: list[list[str]] = [list(HEADER), *([row.get(name, "") for name in HEADER] for row in rows)]
        self.reads = 0
        self.writes = 0
        self.between: list[Callable[[], None]] = []
        self.trouble: list[Exception] = []

    def read(self, spreadsheet_id: str, sheet_id: int) -> Tab:
        self.reads += 1
        if self.trouble:
            raise self.trouble.pop(0)
        return self._tab()

    def write(self, tab: Tab, rows: Mapping[int, Mapping[int, Cell]]) -> Tab:
        self.writes += 1
        if self.between:
            self.between.pop(0)()
        for row, cells in rows.items():
            for column, cell in cells.items():
                self._put(row, column, shown(cell))
        return self._tab()

    def restore(self, tab: Tab, rows: Mapping[int, Mapping[int, Mapping[str, Any] | None]]) -> None:
        for row, cells in rows.items():
            for column, value in cells.items():
                self._put(row, column, str(value["stringValue"]) if value else "")

    def row(self, prompt: str) -> dict[str, str]:
        """Give the row of *prompt*, by header."""
        header = self.grid[0]
        [found] = [line for line in self.grid[1:] if line[header.index("Prompt")] == prompt]
        return dict(zip(header, found, strict=True))

    def _put(self, row: int, column: int, text: str) -> None:
        while len(self.grid) <= row:
            self.grid.append([""] * len(self.grid[0]))
        self.grid[row][column] = text

    def _tab(self) -> Tab:
        texts = {(r, c): text for r, line in enumerate(self.grid) for c, text in enumerate(line) if text}
        entered = {place: {"stringValue": text} for place, text in texts.items()}
        return Tab(SHEET, 0, "Tab", "UTC", tuple(self.grid[0]), texts, entered)


def shown(cell: Cell) -> str:
    match cell:
        case Text(text):
            return text
        case Number(number):
            return str(number)
        case Time(serial):
            return str(serial)
        case Image():
            return cell.formula


class Desk:
    """Hold a ledger and make jobs for rows."""

    def __init__(self) -> None:
        self.ledger = MemoryLedger()

    def submitted(self, prompt: str, **fields: Any) -> Job:
        job = new_job(
            target=target(SHEET, prompt=prompt), inputs={"prompt": prompt, "seed": 5}, synced_version=1, **fields
        )
        return self.ledger.submit(job).job

    def done(self, prompt: str) -> Job:
        job = self.submitted(prompt, link_base="https://host/api")
        claimed = self.ledger.claim(job.job_id, 1, owner="w", token="t", now=NOW, lease_ms=1000)
        assert isinstance(claimed, Claimed)
        made = output(f"outputs/{job.job_id}/1/0.png").model_copy(
            update={"thumbnail_key": "x", "thumbnail_type": "image/jpeg"}
        )
        assert self.ledger.commit(claimed.lease, now=NOW + 9, outputs=[made], timings=Timings())
        return self.now(job)

    def now(self, job: Job) -> Job:
        there = self.ledger.get(job.job_id)
        assert there is not None
        return there


def row_of(job: Job, **cells: str) -> dict[str, str]:
    return {"Prompt": str(job.inputs["prompt"]), "Status": "queued", "Job ID": job.job_key, **cells}


def complete(desk: Desk, sheet: PaperSheet) -> Complete:
    return Complete(desk.ledger, sheet, lambda: NOW)


def test_all_lagging_rows_of_a_tab_go_into_one_read_and_one_write() -> None:
    """One hint is enough for every row that lags."""
    desk = Desk()
    jobs = [desk.done(f"p{number}") for number in range(40)]
    sheet = PaperSheet(*map(row_of, jobs))
    assert complete(desk, sheet).show([jobs[0].job_id]) == set()
    assert (sheet.reads, sheet.writes) == (1, 1)
    for job in jobs:
        row = sheet.row(str(job.inputs["prompt"]))
        assert row["Status"] == "done" and job.job_id in row["Output URL"] and row["Seed"] == "5"
        assert row["Preview"] == f'=IMAGE("https://host/api/o/{job.job_id}/0/thumb?t={job.view_token}")'
        assert desk.now(job).is_shown


def test_hints_for_what_is_shown_cost_nothing() -> None:
    """A repeated hint reads the item and leaves the sheet alone."""
    desk = Desk()
    job = desk.done("p")
    sheet = PaperSheet(row_of(job))
    for _ in range(3):
        complete(desk, sheet).show([job.job_id])
    assert (sheet.reads, sheet.writes) == (1, 1)


@settings(max_examples=60)
@given(st.data())
def test_no_order_of_hints_changes_the_sheet(data: st.DataObject) -> None:
    """Duplicated, reversed, interleaved with the jobs' own progress: the end is the same."""
    desk = Desk()
    jobs = [desk.done(f"p{number}") for number in range(4)]
    sheet = PaperSheet(*map(row_of, jobs))
    for job in data.draw(st.lists(st.sampled_from(jobs), max_size=12)) + jobs:
        complete(desk, sheet).show([job.job_id])
    assert all(sheet.row(str(job.inputs["prompt"]))["Status"] == "done" for job in jobs)
    assert all(job.job_id in sheet.row(str(job.inputs["prompt"]))["Output URL"] for job in jobs)


def test_a_sort_between_read_and_write_is_undone_and_followed() -> None:
    """The row that was hit by mistake gets back what it held; the result goes to its own row."""
    desk = Desk()
    job, other = desk.done("mine"), desk.submitted("zz other")
    sheet = PaperSheet(row_of(job), {**row_of(other), "Output URL": "old link", "Notes": "dear"})

    def swap() -> None:
        sheet.grid[1], sheet.grid[2] = sheet.grid[2], sheet.grid[1]

    sheet.between.append(swap)
    assert complete(desk, sheet).show([job.job_id]) == set()
    assert sheet.row("mine")["Status"] == "done" and job.job_id in sheet.row("mine")["Output URL"]
    assert sheet.row("zz other") == {
        **sheet.row("zz other"),
        "Status": "queued",
        "Output URL": "old link",
        "Notes": "dear",
    }
    assert desk.now(job).is_shown


def test_a_column_moved_between_read_and_write_loses_nothing() -> None:
    """Cells of a person's own column that were hit come back, and the result is written where its column is now."""
    desk = Desk()
    job = desk.done("mine")
    sheet = PaperSheet({**row_of(job), "Notes": "dear", "Workflow": "flux"})

    def move() -> None:
        for line in sheet.grid:
            line.insert(2, line.pop())

    sheet.between.append(move)
    complete(desk, sheet).show([job.job_id])
    row = sheet.row("mine")
    assert (row["Notes"], row["Workflow"], row["Status"], row["Job ID"]) == ("dear", "flux", "done", job.job_key)


def test_columns_that_swap_with_the_rows_names_lose_nothing() -> None:
    """Even where prompt and Job ID themselves were hit, the rest of the row tells which one it is."""
    desk = Desk()
    jobs = [desk.done(f"p{number}") for number in range(3)]
    sheet = PaperSheet(*({**row_of(job), "Notes": "same", "Workflow": "same"} for job in jobs))

    def turn() -> None:
        for line in sheet.grid:
            line[:] = line[5:] + line[:5]

    sheet.between.append(turn)
    complete(desk, sheet).show([jobs[0].job_id])
    for job in jobs:
        row = sheet.row(str(job.inputs["prompt"]))
        assert (row["Job ID"], row["Status"], row["Notes"]) == (job.job_key, "done", "same")


def test_a_blank_row_inserted_between_read_and_write_ends_blank() -> None:
    """What lands in a new row is taken away again."""
    desk = Desk()
    job = desk.done("mine")
    sheet = PaperSheet(row_of(job))
    sheet.between.append(lambda: sheet.grid.insert(1, [""] * len(HEADER)))
    complete(desk, sheet).show([job.job_id])
    assert sheet.grid[1] == [""] * len(HEADER)
    assert sheet.row("mine")["Status"] == "done"


def test_rows_that_never_hold_still_come_again_later() -> None:
    """The flush gives up after some rounds and marks nothing that it did not see in place."""
    desk = Desk()
    job, other = desk.done("mine"), desk.submitted("other")
    sheet = PaperSheet(row_of(job), row_of(other))

    def swap() -> None:
        sheet.grid[1], sheet.grid[2] = sheet.grid[2], sheet.grid[1]

    sheet.between += [swap] * 20
    assert complete(desk, sheet).show([job.job_id]) == {job.job_id}
    assert not desk.now(job).is_shown


def test_a_changed_prompt_gets_a_sentence_and_no_picture() -> None:
    """The picture of another prompt does not belong into the row."""
    desk = Desk()
    job = desk.done("old prompt")
    sheet = PaperSheet({**row_of(job), "Prompt": "new prompt"})
    complete(desk, sheet).show([job.job_id])
    row = sheet.row("new prompt")
    assert row["Status"] == "error" and "was changed after it was sent" in row["Error"] and row["Output URL"] == ""


def test_a_deleted_row_holds_up_nobody() -> None:
    """Its job counts as shown; the neighbours are written."""
    desk = Desk()
    gone, there = desk.done("gone"), desk.done("there")
    sheet = PaperSheet(row_of(there))
    assert complete(desk, sheet).show([gone.job_id, there.job_id]) == set()
    assert desk.now(gone).is_shown and sheet.row("there")["Status"] == "done"


def test_an_error_text_that_looks_like_a_formula_stays_text() -> None:
    """Foreign words are typed as text, cut to one line and 200 characters."""
    desk = Desk()
    job = desk.submitted("p")
    claimed = desk.ledger.claim(job.job_id, 1, owner="w", token="t", now=NOW, lease_ms=1000)
    assert isinstance(claimed, Claimed)
    text = '=IMPORTXML("http://x","//y")\n' + "x" * 300
    desk.ledger.fail(claimed.lease, now=NOW, error=JobError(code="x", text=text))
    sheet = PaperSheet(row_of(job))
    written: list[Cell] = []
    plain = sheet.write

    class Watching(PaperSheet):
        def write(self, tab: Tab, rows: Mapping[int, Mapping[int, Cell]]) -> Tab:
            written.extend(rows[1].values())
            return plain(tab, rows)

    watching = Watching()
    watching.grid = sheet.grid
    complete(desk, watching).show([job.job_id])
    [error] = [cell for cell in written if isinstance(cell, Text) and cell.text.startswith("=")]
    assert len(error.text) == 200 and "\n" not in error.text
    assert not any(isinstance(cell, Image) for cell in written)


def test_a_busy_google_means_later() -> None:
    """Nothing is marked, the ids are handed back."""
    desk = Desk()
    job = desk.done("p")
    sheet = PaperSheet(row_of(job))
    sheet.trouble.append(Unavailable("busy"))
    assert complete(desk, sheet).show([job.job_id]) == {job.job_id}
    assert not desk.now(job).is_shown
    assert complete(desk, sheet).show([job.job_id]) == set()


@pytest.mark.parametrize("may_heal", [True, False])
def test_a_sheet_that_refuses_us_is_left_in_peace(may_heal: bool) -> None:
    """Not shared: tried again after a while; deleted: never; other sheets are not held up."""
    desk = Desk()
    job = desk.done("p")
    sheet = PaperSheet(row_of(job))
    sheet.trouble.append(Unreachable("no", may_heal=may_heal))
    assert complete(desk, sheet).show([job.job_id]) == set()
    there = desk.now(job)
    assert there.is_shown is not may_heal
    assert there.due_at == (NOW + HEAL_MS if may_heal else None)


def test_a_renamed_tab_is_read_again() -> None:
    """A write that the tab's old name made invalid is repeated after another read."""
    desk = Desk()
    job = desk.done("p")
    sheet = PaperSheet(row_of(job))

    def renamed() -> None:
        raise Moved

    sheet.between.append(renamed)
    assert complete(desk, sheet).show([job.job_id]) == set()
    assert sheet.row("p")["Status"] == "done" and sheet.reads == 2
