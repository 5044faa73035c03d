"""Rows that nobody hints at are taken along, looked at once more, and put right, as far as a call has time for it."""

from __future__ import annotations

import pytest

from chalicelib.complete import PUT_OFF_MS, STRANGERS_MOST
from chalicelib.contract.job import Job, job_id_of
from tests.fakes import MemoryLedger
from tests.jobs import NOW
from tests.paper import HEADER, PaperSheet
from tests.sheet_desk import AskedLedger, Desk, SternHerald, complete, row_of


def cut_short(desk: Desk) -> tuple[Job, PaperSheet]:
    """Show a job in its row, and then have the row show another's link: a mis-hit whose repair was cut short."""
    job, other = desk.done("mine"), desk.done("other")
    sheet = PaperSheet(row_of(job), row_of(other))
    assert complete(desk, sheet).show([job.job_id]) == {}
    sheet.grid[1][HEADER.index("Output URL")] = sheet.row("other")["Output URL"]
    return job, sheet


def test_a_row_that_was_left_with_anothers_link_is_put_right_with_the_next_that_is_written() -> None:
    """Nobody hints at it; it is seen when its tab is read for another row."""
    desk = Desk()
    job, sheet = cut_short(desk)
    late = desk.done("late")
    sheet.grid.append([row_of(late).get(name, "") for name in HEADER])
    assert complete(desk, sheet).show([late.job_id]) == {}
    assert job.job_id in sheet.row("mine")["Output URL"] and sheet.row("late")["Status"] == "done"
    assert desk.now(job).is_shown


def test_a_second_look_puts_anothers_link_right() -> None:
    """Also where Status says "done", as it should."""
    desk = Desk()
    job, sheet = cut_short(desk)
    assert complete(desk, sheet).show([], [job.job_id]) == {}
    assert job.job_id in sheet.row("mine")["Output URL"]


def test_a_link_in_the_row_of_a_job_that_made_nothing_is_its_persons_own() -> None:
    """The last good picture stays in a row; who calls it done means that one."""
    desk = Desk()
    done, canceled = desk.done("done"), desk.submitted("canceled")
    desk.ledger.cancel(canceled.job_id, now=NOW)
    sheet = PaperSheet(row_of(done), row_of(canceled))
    complete(desk, sheet).show([done.job_id])
    late = desk.done("late")
    row = sheet.grid[2]
    row[HEADER.index("Status")], row[HEADER.index("Output URL")] = "done", sheet.row("done")["Output URL"]
    kept = list(row)
    sheet.grid.append([row_of(late).get(name, "") for name in HEADER])
    complete(desk, sheet).show([late.job_id])
    assert sheet.grid[2] == kept and sheet.row("late")["Status"] == "done"


def test_a_row_with_anothers_link_waits_until_its_own_job_is_announced() -> None:
    """Its end is news that somebody is to be told first, as with any row."""
    desk = Desk()
    mine, other = desk.done("mine"), desk.done("other")
    link = f"https://host/api/o/{other.job_id}/0?t=x"
    sheet = PaperSheet({**row_of(mine, **{"Output URL": link}), "Status": "done"}, row_of(other))
    desk.herald = SternHerald(mine.job_id)
    assert complete(desk, sheet).show([other.job_id]) == {}
    assert not desk.now(mine).is_shown and sheet.row("mine")["Output URL"] == link


def test_rows_with_their_own_links_cost_no_reads_of_the_table() -> None:
    """A sheet of 10,000 results is looked through for every new one."""
    desk = Desk()
    desk.ledger = ledger = AskedLedger()
    shown, late = [desk.done(f"p{number}") for number in range(3)], desk.done("late")
    sheet = PaperSheet(*map(row_of, [*shown, late]))
    complete(desk, sheet).show([job.job_id for job in shown])
    sheet.grid[4][HEADER.index("Status")] = "queued"
    assert ledger.show_again(late.job_id, now=NOW) is not None
    ledger.asked.clear()
    complete(desk, sheet).show([late.job_id])
    assert [job_id for ids in ledger.asked for job_id in ids] == [late.job_id]


def test_a_look_at_a_row_that_was_never_shown_writes_it() -> None:
    """Whatever its Status says."""
    desk = Desk()
    job = desk.done("p")
    sheet = PaperSheet({**row_of(job), "Status": "mine"})
    assert complete(desk, sheet).show([], [job.job_id]) == {}
    assert sheet.row("p")["Status"] == "done" and job.job_id in sheet.row("p")["Output URL"]


@pytest.mark.parametrize(("wait_ms", "taken"), [(PUT_OFF_MS - 1, True), (PUT_OFF_MS, False)])
def test_rows_that_were_put_off_are_not_taken_along(wait_ms: int, taken: bool) -> None:
    """They are those of a tab that refused: they wait for their time, lest every hint tries them again."""
    desk = Desk()
    asked, lags = desk.done("asked"), desk.done("lags")
    desk.ledger.look_later(lags, due_at=NOW + wait_ms)
    sheet = PaperSheet(row_of(asked), row_of(lags))
    assert complete(desk, sheet).show([asked.job_id]) == {}
    assert (sheet.row("lags")["Status"] == "done") is desk.now(lags).is_shown is taken
    assert complete(desk, sheet).show([lags.job_id]) == {} and desk.now(lags).is_shown, "who asks for it has it"


def test_what_the_index_still_calls_lagging_is_not_written_again() -> None:
    """It may be late by a moment, and a person may have typed into the row since: the job itself decides."""

    class Late(MemoryLedger):
        def unshown(self, spreadsheet_id: str) -> list[str]:
            return [shown.job_id]

    desk = Desk()
    desk.ledger = Late()
    shown, asked = desk.done("shown"), desk.done("asked")
    sheet = PaperSheet(row_of(shown), row_of(asked))
    complete(desk, sheet).show([shown.job_id])
    sheet.grid[1][HEADER.index("Status")] = "mine: keep"
    complete(desk, sheet).show([asked.job_id])
    assert (sheet.row("shown")["Status"], sheet.row("asked")["Status"]) == ("mine: keep", "done")


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
        desk.time = NOW + look * every_min * 60_000
        assert complete(desk, sheet).show([job.job_id], check=[job.job_id]) == {}
        assert max(map(len, ledger.asked)) == STRANGERS_MOST
        looked |= {job_id for ids in ledger.asked for job_id in ids}
    assert looked >= {job_id_of("client-1", key) for key in copied}
