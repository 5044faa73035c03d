"""Rows come up to what the ledger says, each once, and whatever is hinted at."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.cells import Cell, Image, Tab, Text
from chalicelib.complete import BEGUN_WITHIN_MS, CHECK_MS, OTHERS_MOST
from chalicelib.contract.counts import Metric
from chalicelib.contract.errors import Unavailable
from chalicelib.contract.job import JobError, Timings
from chalicelib.contract.ports import Claimed
from tests.jobs import NOW, new_job, output, target
from tests.paper import HEADER, SHEET, PaperSheet
from tests.sheet_desk import Desk, SternHerald, complete, row_of
from tests.sizes import examples


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


def test_a_changed_prompt_gets_a_sentence_and_no_picture() -> None:
    """The picture of another prompt does not belong into the row."""
    desk = Desk()
    job = desk.done("old prompt")
    sheet = PaperSheet({**row_of(job), "Prompt": "new prompt"})
    complete(desk, sheet).show([job.job_id])
    row = sheet.row("new prompt")
    assert row["Status"] == "error" and "was changed after it was sent" in row["Error"] and row["Output URL"] == ""


def test_a_changed_prompt_of_a_job_that_still_runs_is_nobodys_business() -> None:
    """Its row is left as it is, and the rows below it are written."""
    desk = Desk()
    running, done = desk.submitted("old prompt"), desk.done("p")
    assert isinstance(desk.ledger.claim(running.job_id, 1, owner="w", token="t", now=NOW, lease_ms=1000), Claimed)
    sheet = PaperSheet({**row_of(running), "Prompt": "new prompt"}, row_of(done))
    assert complete(desk, sheet).show([running.job_id]) == {}
    assert sheet.row("new prompt")["Status"] == "queued" and sheet.row("p")["Status"] == "done"


def test_a_deleted_row_holds_up_nobody() -> None:
    """Its job counts as shown; the neighbours are written."""
    desk = Desk()
    gone, there = desk.done("gone"), desk.done("there")
    sheet = PaperSheet(row_of(there))
    assert complete(desk, sheet).show([gone.job_id, there.job_id]) == {}
    assert desk.now(gone).is_shown and sheet.row("there")["Status"] == "done"
    assert desk.ledger.gone(SHEET) == [gone.job_id], "whoever asks for it can have it in another row"


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


def test_a_spreadsheet_waits_for_its_turn() -> None:
    """Told to wait: nothing is read or written, and the wait is handed on."""
    desk = Desk()
    job = desk.done("p")
    sheet = PaperSheet(row_of(job))
    desk.turns.waits.append(2500)
    assert complete(desk, sheet).show([job.job_id]) == {job.job_id: 2.5}
    assert (sheet.reads, sheet.writes) == (0, 0)
    assert complete(desk, sheet).show([job.job_id]) == {}
    assert desk.turns.asked == [(SHEET, NOW)] * 2


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


def test_a_fault_of_ours_stays_with_its_spreadsheet() -> None:
    """What is wrong with one neither stops the others nor is lost: it comes again, and ends in the dead letters."""
    desk = Desk()
    bad = desk.ledger.submit(new_job(target=target("another"), synced_version=0)).job
    good = desk.done("p")
    sheet = PaperSheet(row_of(good))
    sheet.trouble.append(KeyError("sheets"))
    assert complete(desk, sheet).show([bad.job_id, good.job_id]) == {bad.job_id: None}
    assert sheet.row("p")["Status"] == "done"
    assert desk.counts.noted[0] == (Metric.COMPLETION_FAULTS, 1), "it raises an alarm"


@pytest.mark.parametrize(("slow_ms", "late"), [(BEGUN_WITHIN_MS, False), (BEGUN_WITHIN_MS + 1, True)])
def test_no_spreadsheet_is_begun_near_the_calls_end(slow_ms: int, late: bool) -> None:
    """Google was slow for the first: the others come again at once, in a call of their own."""
    desk = Desk()
    first = desk.done("p")
    others = [desk.ledger.submit(new_job(target=target(f"another {n}"), synced_version=0)).job for n in range(2)]
    sheet = PaperSheet(row_of(first))
    sheet.between.append(lambda: setattr(desk, "time", NOW + slow_ms))
    wait = {job.job_id: 1.0 for job in others} if late else {}
    assert complete(desk, sheet).show([first.job_id, *(job.job_id for job in others)]) == wait
    assert sheet.row("p")["Status"] == "done" and sheet.reads == (1 if late else 3)


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
