"""What has ended is announced, booked and counted once."""

from __future__ import annotations

import logging

import pytest

from chalicelib.cells import Unreachable
from chalicelib.contract.counts import Metric
from tests.delivery_fakes import QuietHerald
from tests.jobs import NOW, new_job
from tests.paper import SHEET, PaperSheet
from tests.sheet_desk import Desk, SternHerald, complete, row_of


def test_what_is_used_is_booked_once() -> None:
    """Repeated hints, second looks and results that are fetched again do not count twice."""
    desk = Desk()
    job = desk.done("p")
    sheet = PaperSheet(row_of(job))
    complete(desk, sheet).show([job.job_id])
    complete(desk, sheet).show([job.job_id], [job.job_id])
    assert desk.ledger.show_again(job.job_id, now=NOW) is not None
    complete(desk, sheet).show([job.job_id])
    assert desk.books.noted == [job.job_id] and desk.books.noted_at == [NOW]


@pytest.mark.parametrize(("later_ms", "counted"), [(509, 500), (0, 0)])
def test_the_time_from_a_result_to_its_cell_is_counted(later_ms: int, counted: int) -> None:
    """With how it ended, and that its row was written; a clock that is behind counts as no time."""
    desk = Desk()
    job = desk.done("p")
    desk.time = NOW + later_ms
    complete(desk, PaperSheet(row_of(job))).show([job.job_id])
    assert desk.counts.noted == [
        (Metric.JOBS_SUCCEEDED, 1),
        (Metric.ROWS_WRITTEN, 1),
        (Metric.COMMIT_TO_CELL, counted),
    ]


def test_a_result_whose_row_is_gone_is_counted_as_such() -> None:
    """It has ended, and there was no cell that its way took any time to."""
    desk = Desk()
    job = desk.done("p")
    complete(desk, PaperSheet()).show([job.job_id])
    assert desk.counts.noted == [(Metric.JOBS_SUCCEEDED, 1), (Metric.ROWS_GONE, 1)]


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


def test_a_job_without_a_row_is_counted_once_when_it_has_ended() -> None:
    """Not while it runs, and not again with a repeated hint."""
    desk = Desk()
    job = desk.ledger.submit(new_job(target=None, synced_version=0)).job
    work = complete(desk, PaperSheet())
    work.show([job.job_id])
    assert desk.counts.noted == []
    assert desk.ledger.cancel(job.job_id, now=NOW) is not None
    for _ in range(2):
        work.show([job.job_id])
        assert desk.counts.noted == [(Metric.JOBS_CANCELED, 1)]


def test_the_log_names_the_job_of_each_row(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever looks for a job in the log finds its row, or that the row is gone."""
    desk = Desk()
    shown, gone = desk.done("p"), desk.done("gone")
    with caplog.at_level(logging.INFO, "chalicelib.complete"):
        complete(desk, PaperSheet(row_of(shown))).show([shown.job_id, gone.job_id])
    told = [
        {name: getattr(line, name) for name in ("action", "job_id", "attempt", "client_id", "state")}
        for line in caplog.records
    ]
    common = {"attempt": 1, "client_id": "client-1", "state": "succeeded"}
    assert told == [
        {"action": "shown", "job_id": shown.job_id, **common},
        {"action": "row gone", "job_id": gone.job_id, **common},
    ]


@pytest.mark.parametrize(
    ("waits", "reason"),
    [([2500], "Other spreadsheets have their turn first."), ([], "Rows keep moving while they are written.")],
)
def test_the_log_says_why_a_sheet_comes_later(waits: list[int], reason: str, caplog: pytest.LogCaptureFixture) -> None:
    """In a sentence, with the number of rows that wait."""
    desk = Desk()
    desk.turns.waits += waits
    job = desk.done("p")
    sheet = PaperSheet(row_of(job), {})
    sheet.between += [lambda: sheet.grid.insert(1, sheet.grid.pop(2))] * 100
    with caplog.at_level(logging.INFO, "chalicelib.complete"):
        complete(desk, sheet).show([job.job_id])
    [told] = [line for line in caplog.records if line.message == "sheet later"]
    assert (getattr(told, "reason", None), getattr(told, "jobs", None)) == (reason, 1)
