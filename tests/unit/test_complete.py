"""Rows come up to what the ledger says, whatever people do to the sheet meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.cells import Cell, Image, Moved, Tab, Text, Unreachable
from chalicelib.complete import CHECK_MS, HEAL_MS, OTHERS_MOST, STRANGERS_MOST, Complete
from chalicelib.contract.counts import Metric
from chalicelib.contract.errors import Unavailable
from chalicelib.contract.job import Job, JobError, Timings, job_id_of
from chalicelib.contract.ports import Claimed
from tests.delivery_fakes import QuietHerald
from tests.fakes import MemoryLedger
from tests.jobs import NOW, new_job, output, target
from tests.paper import HEADER, SHEET, PaperSheet
from tests.sheet_fakes import FreeTurns, MemoryRegistry, NoteBook
from tests.sizes import examples


class Desk:
    """Hold a ledger and make jobs for rows."""

    def __init__(self) -> None:
        self.ledger = MemoryLedger()
        self.registry, self.turns, self.books = MemoryRegistry(), FreeTurns(), NoteBook()
        self.herald: QuietHerald = QuietHerald()

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
    return Complete(desk.ledger, sheet, desk.registry, desk.turns, desk.books, desk.herald, lambda: NOW)


def test_all_lagging_rows_of_a_tab_go_into_one_read_and_one_write() -> None:
    """One hint is enough for every row that lags."""
    desk = Desk()
    jobs = [desk.done(f"p{number}") for number in range(40)]
    sheet = PaperSheet(*map(row_of, jobs))
    assert complete(desk, sheet).show([jobs[0].job_id]) == {}
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


@settings(max_examples=examples(60), deadline=None)
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
    assert complete(desk, sheet).show([job.job_id]) == {}
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


class Restless(PaperSheet):
    """Have somebody do something right before each reading, the first one left out."""

    def __init__(self, *rows: Mapping[str, str], do: Callable[[list[list[str]]], None]) -> None:
        super().__init__(*rows)
        self._do = do

    def read(self, spreadsheet_id: str, sheet_id: int, *, with_values: bool = False, urgent: bool = False) -> Tab:
        if self.reads:
            self._do(self.grid)
        return super().read(spreadsheet_id, sheet_id, with_values=with_values, urgent=urgent)


def test_a_blank_row_that_was_hit_and_typed_into_keeps_no_picture() -> None:
    """Somebody picks a status there before we take away what landed: their word stays, another's result does not."""

    def pick(grid: list[list[str]]) -> None:
        status = HEADER.index("Status")
        for line in grid[1:]:
            if not line[HEADER.index("Job ID")]:
                line[status] = "pending"

    desk = Desk()
    job = desk.done("mine")
    sheet = Restless(row_of(job), do=pick)
    sheet.between.append(lambda: sheet.grid.insert(1, [""] * len(HEADER)))
    complete(desk, sheet).show([job.job_id])
    assert dict(zip(HEADER, sheet.grid[1], strict=True)) == {**dict.fromkeys(HEADER, ""), "Status": "pending"}
    assert sheet.row("mine")["Status"] == "done"


@pytest.mark.parametrize("column", ["Job ID", "Status", "Prompt"])
def test_a_row_that_was_hit_and_typed_over_keeps_its_own_picture(column: str) -> None:
    """Somebody pastes another Job ID there, picks a status, or changes the prompt, before we take back what landed."""

    def type_over(grid: list[list[str]]) -> None:
        for line in grid[1:]:
            if line[HEADER.index("Notes")] == "hit":
                line[HEADER.index(column)] = "typed"

    desk = Desk()
    job, other = desk.done("mine"), desk.done("other")
    was = {**row_of(other, Notes="hit", Status="done"), "Output URL": "https://host/api/o/other"}
    sheet = Restless(row_of(job), was, do=type_over)
    assert desk.ledger.mark_synced(other)
    sheet.between.append(lambda: sheet.grid.insert(1, sheet.grid.pop(2)))
    complete(desk, sheet).show([job.job_id])
    assert dict(zip(HEADER, sheet.grid[1], strict=True)) == {**dict.fromkeys(HEADER, ""), **was, column: "typed"}
    assert sheet.row("mine")["Status"] == "done" and job.job_id in sheet.row("mine")["Output URL"]


def test_a_copy_of_a_row_that_was_hit_keeps_no_picture_of_anothers() -> None:
    """Its Job ID is not the one that was rendered for its prompt, so that nothing else would put it right."""
    desk = Desk()
    job = desk.done("mine")
    link = "https://host/api/o/other"
    was = {"Prompt": "other", "Status": "done", "Job ID": "pasted", "Output URL": link, "Notes": "hit"}

    def copy(grid: list[list[str]]) -> None:
        if len(grid) == 3:
            grid.append([*grid[1][:-1], "copy"])

    sheet = Restless(row_of(job), was, do=copy)
    sheet.between.append(lambda: sheet.grid.insert(1, sheet.grid.pop(2)))
    complete(desk, sheet).show([job.job_id])
    rows = [dict(zip(HEADER, line, strict=True)) for line in sheet.grid[1:]]
    assert [row["Output URL"] for row in rows if row["Prompt"] == "other"] == [link, link]
    assert [row["Status"] for row in rows] == ["done"] * 3 and job.job_id in sheet.row("mine")["Output URL"]


@pytest.mark.parametrize("column", ["Job ID", "Prompt"])
def test_a_row_that_has_its_own_picture_is_never_taken_for_one_that_was_hit(column: str) -> None:
    """What hit another row by mistake was taken back by somebody's undo; the row that was meant was typed over."""

    def meanwhile(grid: list[list[str]]) -> None:
        hit, mine = grid[1], grid[2]
        link = hit[HEADER.index("Output URL")]
        if link:
            for name in ("Status", "Output URL", "Preview", "Seed", "Error"):
                hit[HEADER.index(name)] = ""
            mine[HEADER.index("Output URL")], mine[HEADER.index(column)] = link, "typed"

    desk = Desk()
    job, other = desk.done("mine"), desk.submitted("other")
    sheet = Restless(row_of(job, Notes="keep"), row_of(other, Status=""), do=meanwhile)
    sheet.between.append(lambda: sheet.grid.insert(1, sheet.grid.pop(2)))
    complete(desk, sheet).show([job.job_id])
    assert job.job_id in sheet.grid[2][HEADER.index("Output URL")]


def test_a_copy_of_a_blank_row_that_was_hit_ends_blank() -> None:
    """Whoever copies the row in that moment copies nobody's result."""
    desk = Desk()
    job = desk.done("mine")
    sheet = PaperSheet(row_of(job))
    sheet.between.append(lambda: sheet.grid.insert(1, [""] * len(HEADER)))
    sheet.between.append(lambda: sheet.grid.append(list(sheet.grid[1])))
    complete(desk, sheet).show([job.job_id])
    assert sheet.grid[1] == sheet.grid[3] == [""] * len(HEADER)
    assert sheet.row("mine")["Status"] == "done"


def test_rows_that_never_hold_still_come_again_later() -> None:
    """The flush gives up after some rounds and marks nothing that it did not see in place."""
    desk = Desk()
    job, other = desk.done("mine"), desk.submitted("other")
    sheet = PaperSheet(row_of(job), row_of(other))

    def swap() -> None:
        sheet.grid[1], sheet.grid[2] = sheet.grid[2], sheet.grid[1]

    sheet.between += [swap] * 200
    assert complete(desk, sheet).show([job.job_id]).keys() == {job.job_id}
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
    assert complete(desk, sheet).show([gone.job_id, there.job_id]) == {}
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
    assert complete(desk, sheet).show([job.job_id]).keys() == {job.job_id}
    assert not desk.now(job).is_shown
    assert complete(desk, sheet).show([job.job_id]) == {}


@pytest.mark.parametrize("may_heal", [True, False])
def test_a_sheet_that_refuses_us_is_left_in_peace(may_heal: bool) -> None:
    """Not shared: tried again after a while; deleted: never; other sheets are not held up."""
    desk = Desk()
    job = desk.done("p")
    sheet = PaperSheet(row_of(job))
    sheet.trouble.append(Unreachable("no", may_heal=may_heal))
    assert complete(desk, sheet).show([job.job_id]) == {}
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
    assert complete(desk, sheet).show([job.job_id]) == {}
    assert sheet.row("p")["Status"] == "done" and sheet.reads == 2


def test_a_spreadsheet_waits_for_its_turn() -> None:
    """Told to wait: nothing is read or written, and the wait is handed on."""
    desk = Desk()
    job = desk.done("p")
    sheet = PaperSheet(row_of(job))
    desk.turns.waits.append(2500)
    assert complete(desk, sheet).show([job.job_id]) == {job.job_id: 2.5}
    assert (sheet.reads, sheet.writes) == (0, 0)
    assert complete(desk, sheet).show([job.job_id]) == {}


def test_a_parked_spreadsheet_costs_no_call_and_says_why() -> None:
    """Until its time; a good write then takes the reason away."""
    desk = Desk()
    job = desk.done("p")
    sheet = PaperSheet(row_of(job))
    sheet.trouble.append(Unreachable("Not shared.", may_heal=True))
    complete(desk, sheet).show([job.job_id])
    parked = desk.registry.get(SHEET).parked
    assert parked is not None and parked.reason == "Not shared."
    assert complete(desk, sheet).show([job.job_id]) == {} and sheet.reads == 1
    later = Complete(desk.ledger, sheet, desk.registry, desk.turns, desk.books, desk.herald, lambda: NOW + HEAL_MS)
    assert later.show([job.job_id]) == {}
    assert sheet.row("p")["Status"] == "done" and desk.registry.get(SHEET).parked is None


def test_a_row_that_refuses_does_not_hold_up_the_others() -> None:
    """Halving finds it; its result is kept for later."""
    desk = Desk()
    jobs = [desk.done(f"p{number}") for number in range(40)]
    sheet = PaperSheet(*map(row_of, jobs))
    sheet.cursed = {"p17"}
    assert complete(desk, sheet).show([jobs[0].job_id]) == {}
    assert [sheet.row(f"p{number}")["Status"] for number in range(40)].count("done") == 39
    assert desk.ledger.gone(SHEET) == [jobs[17].job_id]
    assert sheet.writes <= 2 + 2 * 6


def test_a_tab_that_refuses_every_row_is_found_out_soon() -> None:
    """Protected: a few tries, then a reason; the results wait."""
    desk = Desk()
    jobs = [desk.done(f"p{number}") for number in range(40)]
    sheet = PaperSheet(*map(row_of, jobs))
    sheet.cursed = {f"p{number}" for number in range(40)}
    assert complete(desk, sheet).show([jobs[0].job_id]) == {}
    parked = desk.registry.get(SHEET).parked
    assert parked is not None and "protected" in parked.reason
    assert sheet.writes <= 14
    assert sum(desk.now(job).is_shown for job in jobs) <= 1


def test_a_row_is_looked_at_once_more_and_put_right() -> None:
    """Somebody's undo brought "processing" back: ten minutes later the row says done again."""
    desk = Desk()
    job, fine = desk.done("undone"), desk.done("fine")
    sheet = PaperSheet(row_of(job), row_of(fine))
    complete(desk, sheet).show([job.job_id])
    assert desk.now(job).due_at == NOW + CHECK_MS
    sheet.grid[1][HEADER.index("Status")] = "processing"
    sheet.grid[1][HEADER.index("Output URL")] = ""
    sheet.grid[2][HEADER.index("Status")] = "mine: keep"
    assert complete(desk, sheet).show([], [job.job_id, fine.job_id]) == {}
    assert sheet.row("undone")["Status"] == "done" and job.job_id in sheet.row("undone")["Output URL"]
    assert sheet.row("fine")["Status"] == "mine: keep"
    assert desk.now(job).due_at is None and desk.now(fine).due_at is None


def test_a_row_that_is_put_right_on_the_way_still_has_its_second_look() -> None:
    """It shows another job's link when another row of the tab is written: till then its row may be deleted, too."""
    desk = Desk()
    job, other = desk.done("mine"), desk.done("other")
    sheet = PaperSheet(row_of(job), row_of(other))
    complete(desk, sheet).show([job.job_id, other.job_id])
    sheet.grid[1][HEADER.index("Output URL")] = sheet.row("other")["Output URL"]
    assert desk.ledger.show_again(other.job_id, now=NOW) is not None
    complete(desk, sheet).show([other.job_id])
    assert job.job_id in sheet.row("mine")["Output URL"]
    assert desk.now(job).due_at == NOW + CHECK_MS and job.job_id in desk.ledger.fresh(SHEET)


def test_what_is_used_is_booked_once() -> None:
    """Repeated hints, second looks and results that are fetched again do not count twice."""
    desk = Desk()
    job = desk.done("p")
    sheet = PaperSheet(row_of(job))
    complete(desk, sheet).show([job.job_id])
    complete(desk, sheet).show([job.job_id], [job.job_id])
    assert desk.ledger.show_again(job.job_id, now=NOW) is not None
    complete(desk, sheet).show([job.job_id])
    assert desk.books.noted == [job.job_id]


def test_a_result_that_is_fetched_before_it_was_ever_shown_is_booked_all_the_same() -> None:
    """Its sheet refused us; its owner shares it and fetches the result: announced and counted once, as any other."""
    desk = Desk()
    job = desk.done("p")
    sheet = PaperSheet(row_of(job))
    sheet.trouble.append(Unreachable("Not shared.", may_heal=True))
    assert complete(desk, sheet).show([job.job_id]) == {} and desk.books.noted == []
    desk.registry.unpark(SHEET)
    again = desk.ledger.show_again(job.job_id, now=NOW)
    assert again is not None and not again.is_shown
    assert complete(desk, sheet).show([job.job_id]) == {} and sheet.row("p")["Status"] == "done"
    assert desk.books.noted == [job.job_id]


def test_the_error_cell_carries_a_note_and_other_peoples_notes_stay() -> None:
    """Details and the job's id are in the note; it goes when the row is well again."""
    desk = Desk()
    job = desk.submitted("p", link_base="https://host/api")
    claimed = desk.ledger.claim(job.job_id, 1, owner="w", token="t", now=NOW, lease_ms=1000)
    assert isinstance(claimed, Claimed)
    error = JobError(code="x", text="It broke. " * 40, node_class="KSampler", node="3")
    desk.ledger.fail(claimed.lease, now=NOW, error=error)
    sheet = PaperSheet(row_of(job), {"Prompt": "q"})
    complete(desk, sheet).show([job.job_id])
    note = sheet.note("p", "Error")
    assert note.startswith("ComfySheet: It broke.") and "KSampler (3)" in note and job.job_id in note
    assert len(sheet.row("p")["Error"]) <= 200
    sheet.notes[1, HEADER.index("Error")] = "ask Anna"
    assert desk.ledger.show_again(job.job_id, now=NOW) is not None
    complete(desk, sheet).show([job.job_id])
    assert sheet.note("p", "Error") == "ask Anna"


def test_several_files_are_listed_in_a_note() -> None:
    """The first is in the row, all are in the note, with the page that shows them."""
    desk = Desk()
    job = desk.submitted("p", link_base="https://host/api")
    claimed = desk.ledger.claim(job.job_id, 1, owner="w", token="t", now=NOW, lease_ms=1000)
    assert isinstance(claimed, Claimed)
    made = [output(f"outputs/{job.job_id}/1/{number}.png") for number in range(3)]
    assert desk.ledger.commit(claimed.lease, now=NOW, outputs=made, timings=Timings())
    sheet = PaperSheet(row_of(job))
    complete(desk, sheet).show([job.job_id])
    note = sheet.note("p", "Output URL")
    assert note.startswith("ComfySheet: 3 files") and f"/o/{job.job_id}?t=" in note
    assert all(f"/o/{job.job_id}/{number}?t=" in note for number in range(3))


def test_a_renamed_header_is_known_by_its_label() -> None:
    """Set-up labels the columns; a word of ours in another header wins over the label."""
    desk = Desk()
    job = desk.done("p")
    sheet = PaperSheet(row_of(job))
    sheet.labels = {HEADER.index("Status"): "status", HEADER.index("Notes"): "error", 3: "outputUrl"}
    sheet.grid[0][3] = "Bild"
    sheet.grid[0][HEADER.index("Status")] = "Zustand"
    complete(desk, sheet).show([job.job_id])
    assert sheet.grid[1][HEADER.index("Status")] == "done" and job.job_id in sheet.grid[1][3]


def test_notes_that_hit_the_wrong_row_are_taken_back() -> None:
    """A sort between read and write: cells and notes of the row that was hit are as before."""
    desk = Desk()
    job, other = desk.submitted("mine", link_base="https://host/api"), desk.submitted("other")
    claimed = desk.ledger.claim(job.job_id, 1, owner="w", token="t", now=NOW, lease_ms=1000)
    assert isinstance(claimed, Claimed)
    desk.ledger.fail(claimed.lease, now=NOW, error=JobError(code="x", text="It broke."))
    sheet = PaperSheet(row_of(job), row_of(other, Error="old error"))

    def swap() -> None:
        sheet.grid[1], sheet.grid[2] = sheet.grid[2], sheet.grid[1]

    sheet.between.append(swap)
    complete(desk, sheet).show([job.job_id])
    assert sheet.row("other")["Error"] == "old error" and sheet.note("other", "Error") == ""
    assert sheet.row("mine")["Error"] == "It broke." and job.job_id in sheet.note("mine", "Error")


@settings(max_examples=examples(300), deadline=None)
@given(st.data())
def test_whatever_people_move_while_we_write_nobody_gets_anothers_result(data: st.DataObject) -> None:
    """Rows are shuffled, inserted and deleted before any of our writes, those that put things right included."""
    desk = Desk()
    jobs = [desk.done(f"p{number}") for number in range(3)]
    rows = [row_of(job, Notes=f"note {number}") for number, job in enumerate(jobs)]
    rows += [{"Prompt": "mine", "Status": "idea", "Error": "keep", "Seed": "9"}]
    rows += [{"Prompt": "p1", "Notes": "a twin"}, {}]
    sheet = PaperSheet(*data.draw(st.permutations(rows)))
    kept = {"mine": dict(sheet.row("mine")), "a twin": ["p1", "", "", "", "", "", "", "", "a twin"]}

    def move() -> None:
        lines = sheet.grid[1:]
        match data.draw(st.sampled_from(["shuffle", "insert", "leave", "swap"])):
            case "shuffle":
                lines = data.draw(st.permutations(lines))
            case "insert":
                lines.insert(data.draw(st.integers(0, len(lines))), [""] * len(HEADER))
            case "swap":
                lines[0], lines[-1] = lines[-1], lines[0]
        sheet.grid[1:] = [list(line) for line in lines]

    sheet.between += [move] * data.draw(st.integers(1, 7))
    work = complete(desk, sheet)
    for _ in range(6):
        if not work.show([job.job_id for job in jobs]):
            break
    for number, job in enumerate(jobs):
        [line] = [line for line in sheet.grid[1:] if line[HEADER.index("Notes")] == f"note {number}"]
        row = dict(zip(HEADER, line, strict=True))
        assert row["Status"] == "done" and job.job_id in row["Output URL"] and row["Job ID"] == job.job_key
    assert sheet.row("mine") == kept["mine"]
    assert kept["a twin"] in sheet.grid
    assert sum(any(line) for line in sheet.grid[1:]) == 5, "nothing is left in a blank row"


def test_a_fault_of_ours_stays_with_its_spreadsheet() -> None:
    """What is wrong with one neither stops the others nor is lost: it comes again, and ends in the dead letters."""
    desk = Desk()
    bad = desk.ledger.submit(new_job(target=target("another"), synced_version=0)).job
    good = desk.done("p")
    sheet = PaperSheet(row_of(good))
    sheet.trouble.append(KeyError("sheets"))
    assert complete(desk, sheet).show([bad.job_id, good.job_id]) == {bad.job_id: None}
    assert sheet.row("p")["Status"] == "done"


def test_no_spreadsheet_is_begun_near_the_calls_end() -> None:
    """Google was slow for the first: the second comes again at once, in a call of its own."""
    desk = Desk()
    first, second = desk.done("p"), desk.ledger.submit(new_job(target=target("another"), synced_version=0)).job
    sheet, clock = PaperSheet(row_of(first)), [NOW]
    sheet.between.append(lambda: clock.__setitem__(0, NOW + 40_000))
    completion = Complete(desk.ledger, sheet, desk.registry, desk.turns, desk.books, desk.herald, lambda: clock[0])
    assert completion.show([first.job_id, second.job_id]) == {second.job_id: 1.0}
    assert sheet.row("p")["Status"] == "done" and sheet.reads == 1


@pytest.mark.parametrize("rows", [1, 2, 9])
def test_a_protected_tab_costs_no_result(rows: int) -> None:
    """Every row, also the first that refused, is written when the protection is gone."""
    desk = Desk()
    jobs = [desk.done(f"p{number}") for number in range(rows)]
    sheet = PaperSheet(*map(row_of, jobs))
    sheet.cursed = {f"p{number}" for number in range(rows)}
    assert complete(desk, sheet).show([jobs[0].job_id]) == {}
    assert desk.ledger.gone(SHEET) == [] and {desk.now(job).due_at for job in jobs} == {NOW + HEAL_MS}
    parked = desk.registry.get(SHEET).parked
    assert parked is not None and "protected" in parked.reason
    sheet.cursed.clear()
    assert complete(desk, sheet).show([job.job_id for job in jobs]) == {}
    assert all(sheet.row(f"p{number}")["Status"] == "done" for number in range(rows))
    assert desk.registry.get(SHEET).parked is None


def test_a_bad_row_that_was_found_stays_found_when_the_calls_are_spent() -> None:
    """Halving may take more calls than a minute has: each minute finds some, so it ends."""
    desk = Desk()
    jobs = [desk.done(f"p{number:02}") for number in range(16)]
    sheet = PaperSheet(*map(row_of, jobs))
    sheet.cursed = {"p01", "p15"}
    plain = sheet.write

    def spent(tab: Tab, rows: Mapping[int, Mapping[int, Cell]]) -> Tab:
        if sheet.writes == 7:
            raise Unavailable("This minute's writes are spent.", retry_in_s=40)
        return plain(tab, rows)

    sheet.write = spent  # type: ignore[method-assign]
    assert complete(desk, sheet).show([jobs[0].job_id]) == {jobs[0].job_id: 40}
    assert desk.ledger.gone(SHEET) == [jobs[1].job_id]


def test_of_very_many_lagging_rows_a_part_is_taken_along() -> None:
    """A call has 60 seconds; the others have hints of their own."""
    desk = Desk()
    jobs = [desk.done(f"p{number}") for number in range(OTHERS_MOST + 60)]
    sheet = PaperSheet(*map(row_of, jobs))
    assert complete(desk, sheet).show([jobs[0].job_id]) == {}
    assert sum(desk.now(job).is_shown for job in jobs) == OTHERS_MOST + 1


def test_a_former_owners_results_are_not_written_any_more() -> None:
    """The spreadsheet was released and connected by another client while these rendered: asked for, or taken along."""
    desk = Desk()
    asked, along = desk.done("p"), desk.done("q")
    sheet = PaperSheet(row_of(asked), row_of(along))
    desk.registry.bind(SHEET, "another", "k", "")
    theirs = desk.ledger.submit(new_job(client_id="another", target=target(SHEET, prompt="r"), synced_version=0)).job
    assert complete(desk, sheet).show([asked.job_id]) == {} and sheet.writes == 0
    sheet.grid.append([{"Prompt": "r", "Job ID": theirs.job_key}.get(name, "") for name in HEADER])
    assert complete(desk, sheet).show([theirs.job_id]) == {}
    assert [sheet.row(prompt)["Status"] for prompt in "pqr"] == ["queued", "queued", "queued"]
    assert all(desk.now(job).is_shown for job in (asked, along)) and desk.ledger.gone(SHEET) == []


class SternHerald(QuietHerald):
    """Fail to announce the jobs named."""

    def __init__(self, *failing: str, wait_s: float | None = 7.0) -> None:
        super().__init__()
        self.failing = dict.fromkeys(failing, wait_s)

    def announce(self, jobs: Iterable[Job]) -> dict[str, float | None]:
        asked = list(jobs)
        super().announce(asked)
        return {job.job_id: self.failing[job.job_id] for job in asked if job.job_id in self.failing}


def test_a_job_without_a_row_is_settled_once_it_is_announced() -> None:
    """Not before: it stays in the sweeper's sight until those who are to be told are."""
    desk = Desk()
    job = desk.ledger.submit(new_job(target=None, synced_version=1)).job
    assert desk.ledger.cancel(job.job_id, now=NOW) is not None
    desk.herald = SternHerald(job.job_id)
    assert complete(desk, PaperSheet()).show([job.job_id]) == {job.job_id: 7.0}
    assert not desk.now(job).is_shown and list(desk.ledger.due(NOW + 10**6, 9)) == [job.job_id]
    desk.herald = QuietHerald()
    assert complete(desk, PaperSheet()).show([job.job_id]) == {}
    assert desk.now(job).is_shown and list(desk.ledger.due(NOW + 10**6, 9)) == []


class Abacus:
    """Note what is counted."""

    def __init__(self) -> None:
        self.added: list[Metric] = []

    def add(self, metric: Metric, value: float = 1) -> None:
        self.added.append(metric)


def test_a_job_without_a_row_is_counted_once_when_it_has_ended() -> None:
    """Not while it runs, and not again with a repeated hint."""
    desk, abacus = Desk(), Abacus()
    job = desk.ledger.submit(new_job(target=None, synced_version=0)).job
    clock = lambda: NOW  # noqa: E731
    work = Complete(desk.ledger, PaperSheet(), desk.registry, desk.turns, desk.books, desk.herald, clock, abacus)
    work.show([job.job_id])
    assert abacus.added == []
    assert desk.ledger.cancel(job.job_id, now=NOW) is not None
    for _ in range(2):
        work.show([job.job_id])
    assert abacus.added == [Metric.JOBS_CANCELED]


def test_a_result_whose_sheet_is_gone_for_good_is_listed_as_without_a_row() -> None:
    """It can be fetched into another; what still runs is in no such list."""
    desk, abacus = Desk(), Abacus()
    ended, begun = desk.done("p"), desk.submitted("q")
    assert isinstance(desk.ledger.claim(begun.job_id, 1, owner="w", token="t", now=NOW, lease_ms=1000), Claimed)
    sheet = PaperSheet(row_of(ended), row_of(begun))
    sheet.trouble.append(Unreachable("Deleted.", may_heal=False))
    clock = lambda: NOW  # noqa: E731
    work = Complete(desk.ledger, sheet, desk.registry, desk.turns, desk.books, desk.herald, clock, abacus)
    assert work.show([ended.job_id, begun.job_id]) == {}
    assert desk.ledger.gone(SHEET) == [ended.job_id]
    assert abacus.added == [Metric.ROWS_PARKED] * 2


def test_no_row_is_shown_before_its_job_is_announced() -> None:
    """Neither the one that was hinted at nor one that is taken along; the others of the tab go on."""
    desk = Desk()
    hinted, along, well = desk.done("hinted"), desk.done("along"), desk.done("well")
    sheet = PaperSheet(*map(row_of, (hinted, along, well)))
    desk.herald = SternHerald(hinted.job_id, along.job_id)
    assert complete(desk, sheet).show([hinted.job_id, well.job_id]) == {hinted.job_id: 7.0}
    assert [desk.now(job).is_shown for job in (hinted, along, well)] == [False, False, True]
    assert {job.job_id for job in desk.herald.heard} == {hinted.job_id, along.job_id, well.job_id}
    assert sheet.row("along")["Status"] == sheet.row("hinted")["Status"] == "queued"


class AskedLedger(MemoryLedger):
    """Note which jobs are read."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Sequence[str]] = []

    def get_many(self, job_ids: Sequence[str]) -> list[Job]:
        self.asked.append(job_ids)
        return super().get_many(job_ids)


@pytest.mark.parametrize("every_min", [1, 2, 5])
def test_a_copied_sheet_has_not_all_its_rows_looked_at_each_time(every_min: int) -> None:
    """Its rows show links of jobs that are not theirs: some are looked at, others the next time, till all were."""
    desk = Desk()
    desk.ledger = ledger = AskedLedger()
    jobs = [desk.done(f"p{number}") for number in range(16)]
    copied = [f"copied-{number}" for number in range(2 * STRANGERS_MOST + 50)]
    link = "https://host/api/o/00000000-0000-4000-8000-000000000000/0?t=x"
    rows = [{"Prompt": key, "Status": "done", "Job ID": key, "Output URL": link} for key in copied]
    sheet = PaperSheet(*map(row_of, jobs), *rows)
    looked: set[str] = set()
    for look, job in enumerate(jobs):
        ledger.asked.clear()
        now = NOW + look * every_min * 60_000
        using = Complete(ledger, sheet, desk.registry, desk.turns, desk.books, desk.herald, lambda now=now: now)
        assert using.show([job.job_id], check=[job.job_id]) == {}
        assert max(map(len, ledger.asked)) == STRANGERS_MOST
        looked |= {job_id for ids in ledger.asked for job_id in ids}
    assert looked >= {job_id_of("client-1", key) for key in copied}
