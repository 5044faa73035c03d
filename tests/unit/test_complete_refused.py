"""A row, a tab or a sheet that refuses to be written holds up nothing else, and costs no result."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from chalicelib.cells import Cell, Moved, Tab, Unreachable
from chalicelib.complete import HEAL_MS, REFUSED_MOST
from chalicelib.contract.counts import Metric
from chalicelib.contract.errors import Unavailable
from chalicelib.contract.ports import Claimed
from chalicelib.contract.sheets import Parked
from tests.jobs import NOW
from tests.paper import SHEET, PaperSheet
from tests.sheet_desk import Desk, complete, row_of


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


def test_a_parked_spreadsheet_costs_no_call_and_says_why() -> None:
    """Until its time; a good write then takes the reason away."""
    desk = Desk()
    job = desk.done("p")
    sheet = PaperSheet(row_of(job))
    sheet.trouble.append(Unreachable("Not shared.", may_heal=True))
    complete(desk, sheet).show([job.job_id])
    parked = desk.registry.get(SHEET).parked
    assert parked is not None and parked.reason == "Not shared."
    desk.ledger.look_later(job, due_at=NOW)
    assert complete(desk, sheet).show([job.job_id]) == {} and sheet.reads == 1
    assert desk.now(job).due_at == parked.until, "nobody asks for it before that"
    desk.time = NOW + HEAL_MS
    assert complete(desk, sheet).show([job.job_id]) == {}
    assert sheet.row("p")["Status"] == "done" and desk.registry.get(SHEET).parked is None


def test_a_spreadsheet_that_refuses_once_more_stays_parked() -> None:
    """With its newest reason, and the time from now on; one that never refused is not taken out of anything."""
    desk = Desk()
    job = desk.done("p")
    sheet = PaperSheet(row_of(job))
    for reason in ("Not shared.", "Deleted."):
        sheet.trouble.append(Unreachable(reason, may_heal=True))
        complete(desk, sheet).show([job.job_id])
        assert desk.registry.get(SHEET).parked == Parked(reason=reason, since=desk.time, until=desk.time + HEAL_MS)
        desk.time += HEAL_MS
    complete(desk, sheet).show([job.job_id])
    complete(desk, sheet).show([desk.done("q").job_id])
    assert desk.registry.unparked == [SHEET]


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
    assert desk.counts.noted.count((Metric.ROWS_GIVEN_UP, 1)) == 1


def test_the_first_row_may_be_the_one_that_refuses() -> None:
    """Though nothing was written before it that would speak for the tab."""
    desk = Desk()
    jobs = [desk.done(f"p{number}") for number in range(3)]
    sheet = PaperSheet(*map(row_of, jobs))
    sheet.cursed = {"p0"}
    assert complete(desk, sheet).show([jobs[0].job_id]) == {}
    assert [sheet.row(f"p{number}")["Status"] for number in range(3)] == ["queued", "done", "done"]
    assert desk.ledger.gone(SHEET) == [jobs[0].job_id] and desk.registry.get(SHEET).parked is None


@pytest.mark.parametrize("bad", [REFUSED_MOST, REFUSED_MOST + 1])
def test_a_few_rows_that_refuse_are_bad_rows_and_more_are_a_bad_tab(bad: int) -> None:
    """Of a bad tab no result is given up: all that was not written waits."""
    desk = Desk()
    jobs = [desk.done(f"p{number:02}") for number in range(2 * bad)]
    sheet = PaperSheet(*map(row_of, jobs))
    sheet.cursed = {f"p{number:02}" for number in range(1, 2 * bad, 2)}
    assert complete(desk, sheet).show([jobs[0].job_id]) == {}
    given_up = [job.job_id for job in jobs[1::2]] if bad == REFUSED_MOST else []
    assert sorted(desk.ledger.gone(SHEET)) == sorted(given_up)
    assert (desk.registry.get(SHEET).parked is None) is bool(given_up)


def test_a_row_that_moves_while_a_bad_one_is_looked_for_gets_its_result() -> None:
    """In whichever half it is."""
    desk = Desk()
    jobs = [desk.done(f"p{number}") for number in range(4)]
    sheet = PaperSheet(*map(row_of, jobs))
    sheet.cursed = {"p3"}

    def leave() -> None:
        pass

    def swap() -> None:
        sheet.grid[1], sheet.grid[2] = sheet.grid[2], sheet.grid[1]

    sheet.between += [leave, leave, swap]
    assert complete(desk, sheet).show([jobs[0].job_id]) == {}
    assert [sheet.row(f"p{number}")["Status"] for number in range(4)] == ["done", "done", "done", "queued"]
    assert all(job.job_id in sheet.row(str(job.inputs["prompt"]))["Output URL"] for job in jobs[:3])


def test_a_tab_that_is_renamed_while_a_bad_row_is_looked_for_has_no_bad_row() -> None:
    """The name made the writes invalid, twice: the rows are read again and written."""
    desk = Desk()
    jobs = [desk.done(f"p{number}") for number in range(2)]
    sheet = PaperSheet(*map(row_of, jobs))

    def refused() -> None:
        raise Moved

    def renamed() -> None:
        sheet.title = "Renamed"
        raise Moved

    sheet.between += [refused, refused, renamed]
    assert complete(desk, sheet).show([jobs[0].job_id]) == {}
    assert [sheet.row(f"p{number}")["Status"] for number in range(2)] == ["done", "done"]
    assert desk.ledger.gone(SHEET) == [] and desk.registry.get(SHEET).parked is None


def test_a_tab_that_refuses_every_row_is_found_out_soon() -> None:
    """Protected: a few tries, then a reason; the results wait."""
    desk = Desk()
    jobs = [desk.done(f"p{number}") for number in range(40)]
    sheet = PaperSheet(*map(row_of, jobs))
    sheet.cursed = {f"p{number}" for number in range(40)}
    assert complete(desk, sheet).show([jobs[0].job_id]) == {}
    parked = desk.registry.get(SHEET).parked
    assert parked is not None and "protected" in parked.reason
    assert sheet.writes == 1 + 6 + 1, "down to one row and the one beside it"
    assert sum(desk.now(job).is_shown for job in jobs) <= 1


def test_a_sheet_that_refuses_is_tried_until_the_deadline() -> None:
    """From then on a result whose sheet does not heal counts as one without a row."""
    desk = Desk()
    job = desk.done("p")
    desk.time = job.deadline
    sheet = PaperSheet(row_of(job))
    sheet.trouble.append(Unreachable("Not shared.", may_heal=True))
    assert complete(desk, sheet).show([job.job_id]) == {}
    assert desk.now(job).is_shown and desk.ledger.gone(SHEET) == [job.job_id]


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


def test_a_result_whose_sheet_is_gone_for_good_is_listed_as_without_a_row() -> None:
    """It can be fetched into another; what still runs is in no such list."""
    desk = Desk()
    ended, begun = desk.done("p"), desk.submitted("q")
    assert isinstance(desk.ledger.claim(begun.job_id, 1, owner="w", token="t", now=NOW, lease_ms=1000), Claimed)
    sheet = PaperSheet(row_of(ended), row_of(begun))
    sheet.trouble.append(Unreachable("Deleted.", may_heal=False))
    assert complete(desk, sheet).show([ended.job_id, begun.job_id]) == {}
    assert desk.ledger.gone(SHEET) == [ended.job_id]
    assert desk.counts.noted == [(Metric.ROWS_PARKED, 1)] * 2
