"""Rows that ask for it start by themselves, once, whoever else starts rows and whatever dies in between."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from chalicelib.auto import GONE_MS, HEAL_MS, AutoStart
from chalicelib.cells import Cell, Tab, Unreachable
from chalicelib.contract.errors import Rejected, Unavailable
from chalicelib.contract.job import Timings, job_id_of
from chalicelib.contract.manifest import Workflow
from chalicelib.contract.ports import Claimed
from chalicelib.contract.sheets import Parked, Registration
from chalicelib.contract.states import State
from chalicelib.submit import Submit
from infra.workflow_files import read_folder
from tests.fakes import MemoryLedger
from tests.jobs import NOW
from tests.paper import SHEET, PaperSheet
from tests.sheet_fakes import MemoryRegistry, Post

HEADER = ["Run", "Prompt", "Workflow", "Steps", "Seed", "Status", "Error", "Job ID", "Notes"]
SHIPPED = {workflow.id: workflow for workflow in read_folder()}


class Desk:
    """Hold a spreadsheet with auto mode on its first tab."""

    def __init__(self, *rows: Mapping[str, str], auto: bool = True) -> None:
        self.ledger, self.registry, self.post = MemoryLedger(), MemoryRegistry(), Post()
        self.sheet = PaperSheet(*rows, header=HEADER)
        self.registry.bind(SHEET, "studio", "k", "")
        self.registry.set_auto(SHEET, 0, on=auto)
        self.submit = Submit(self.ledger, self, self.post, lambda: NOW)

    def find(self, name: str, client_id: str) -> Workflow:
        if name not in SHIPPED:
            raise Rejected("unknown_workflow", f"There is no workflow called {name}.")
        return SHIPPED[name]

    def start(self) -> int:
        auto = AutoStart(self.ledger, self.sheet, self.registry, self.submit, "https://host/api", lambda: NOW)
        return auto.start(SHEET)

    def job_of(self, prompt: str) -> Any:
        job = self.ledger.get(job_id_of("studio", self.sheet.row(prompt)["Job ID"]))
        assert job is not None
        return job


def wish(prompt: str, **cells: str) -> dict[str, str]:
    return {"Prompt": prompt, "Workflow": "txt2img-sdxl", "Status": "pending", **cells}


def test_pending_and_ticked_rows_start_and_no_others() -> None:
    """Status pending, or Run ticked and not under way; a blank row and a finished one stay as they are."""
    desk = Desk(
        wish("a"),
        wish("b", Status="done", Run="TRUE"),
        wish("c", Status="done", Run="FALSE"),
        wish("d", Status="processing", Run="TRUE"),
        wish("e", Status=""),
        {"Status": "pending"},
    )
    before = [list(line) for line in desk.sheet.grid]
    assert desk.start() == 2
    assert [desk.sheet.row(prompt)["Status"] for prompt in "abcde"] == ["queued", "queued", "done", "processing", ""]
    assert desk.sheet.row("b")["Run"] == "FALSE"
    assert [desk.job_of(prompt).inputs["prompt"] for prompt in "ab"] == ["a", "b"]
    assert [line for line in desk.sheet.grid if line[1] in ("c", "d", "e", "")] == [
        line for line in before if line[1] in ("c", "d", "e", "")
    ]
    assert desk.start() == 0 and len(desk.post.sent) == 2


def test_a_row_goes_where_the_sheet_says() -> None:
    """The job's target is the row's tab, and the sheet itself already shows what the job is."""
    desk = Desk(wish("a", Steps="7", Seed="5", Notes="mine"))
    desk.start()
    job = desk.job_of("a")
    assert job.target is not None and (job.target.spreadsheet_id, job.target.sheet_id) == (SHEET, 0)
    assert (job.inputs["steps"], job.inputs["seed"], job.link_base) == (7, 5, "https://host/api")
    assert job.is_shown and job.state is State.QUEUED


def test_numbers_of_formulas_count_and_dates_stay_text() -> None:
    """A formula's number is a number however it is shown; a prompt is what is shown."""
    desk = Desk(wish("a", Steps="$7.00"))
    desk.sheet.values[1, HEADER.index("Steps")] = {"numberValue": 7}
    desk.sheet.values[1, HEADER.index("Prompt")] = {"numberValue": 3}
    desk.start()
    assert desk.job_of("a").inputs["steps"] == 7 and desk.job_of("a").inputs["prompt"] == "a"


def test_a_wrong_value_is_told_in_the_row() -> None:
    """No job, no GPU: Status says error and Error says why."""
    desk = Desk(wish("a", Steps="abc"), wish("b", Workflow="nope"), wish("c", Workflow=""))
    assert desk.start() == 3
    assert {desk.sheet.row(prompt)["Status"] for prompt in "abc"} == {"error"}
    assert desk.sheet.row("a")["Error"] == 'Steps must be a whole number from 1 to 150, not "abc".'
    assert "nope" in desk.sheet.row("b")["Error"] and "Workflow cell is empty" in desk.sheet.row("c")["Error"]
    assert desk.post.sent == []


def test_it_waits_while_the_menu_starts_rows() -> None:
    """The menu holds the lease: nothing is read; afterwards what is still pending starts."""
    desk = Desk(wish("a"))
    desk.registry.hold(SHEET, "menu", now=NOW, until=NOW + 60_000)
    with pytest.raises(Unavailable):
        desk.start()
    assert desk.sheet.reads == 0
    desk.registry.let_go(SHEET, "menu")
    assert desk.start() == 1
    assert desk.registry.hold(SHEET, "menu", now=NOW, until=NOW + 1), "the lease is let go"


class Dies(Exception):
    pass


@pytest.mark.parametrize("after", ["first write", "submit", "second write"])
def test_what_dies_half_way_is_taken_up_and_started_once(after: str) -> None:
    """Killed between any two steps: the next round leads to one job, and the row shows it."""
    desk = Desk(wish("a"), wish("b", Status="", Run="TRUE"))
    real = desk.submit
    if after == "first write":
        desk.submit = Deadly(lambda: None)
    elif after == "submit":
        desk.submit = Deadly(real.rows)
    else:
        plain = desk.sheet.write

        def write(tab: Tab, rows: Mapping[int, Mapping[int, Cell]]) -> Tab:
            answer = plain(tab, rows)
            if desk.sheet.writes == 2:
                raise Dies
            return answer

        desk.sheet.write = write  # type: ignore[method-assign]
    with pytest.raises(Dies):
        desk.start()
    desk.submit = real
    desk.registry.holders.clear()  # its minute is over
    desk.start()
    for prompt in "ab":
        assert desk.sheet.row(prompt)["Status"] == "queued"
        assert desk.job_of(prompt).inputs["prompt"] == prompt
    assert len({job_id for job_id, _ in desk.post.sent}) == 2


class Deadly:
    """Die after *rows* was called."""

    def __init__(self, rows: Callable[..., object]) -> None:
        self._rows = rows

    def rows(self, *asked: Any) -> Any:
        if asked and self._rows.__name__ == "rows":
            self._rows(*asked)
        raise Dies


def test_a_copied_row_gets_a_job_of_its_own() -> None:
    """Two rows carry the same Job ID: neither takes the other's job."""
    desk = Desk(wish("a"))
    desk.start()
    desk.sheet.grid.append(list(desk.sheet.grid[1]))
    desk.sheet.grid[2][HEADER.index("Status")] = "pending"
    assert desk.start() == 1
    ids = [line[HEADER.index("Job ID")] for line in desk.sheet.grid[1:]]
    assert len(set(ids)) == 2 and len(desk.post.sent) == 2


def test_a_row_that_moves_away_is_left_to_the_next_round() -> None:
    """Sorted between read and write: the neighbour is as it was, and the row starts a minute later."""
    desk = Desk(wish("a"), {"Prompt": "other", "Notes": "x"})

    def swap() -> None:
        desk.sheet.grid[1], desk.sheet.grid[2] = desk.sheet.grid[2], desk.sheet.grid[1]

    desk.sheet.between.append(swap)
    before = desk.sheet.row("other")
    assert desk.start() == 0
    assert desk.sheet.row("other") == before and desk.post.sent == []
    assert desk.start() == 1 and desk.job_of("a").inputs["prompt"] == "a"


def test_off_is_off_and_parked_is_parked() -> None:
    """Without a registered tab nothing is read; a deleted tab is no trouble; an unshared sheet is."""
    desk = Desk(wish("a"), auto=False)
    assert desk.start() == 0 and desk.sheet.reads == 0
    desk = Desk(wish("a"))
    desk.registry.set_auto(SHEET, 7, on=True)
    desk.sheet.others[7] = ("Other", [])
    desk.sheet.trouble.append(Unreachable("The tab was deleted.", may_heal=False, of_tab=True))
    assert desk.start() == 0 and desk.registry.get(SHEET).auto_tabs == (7,), "a tab that is gone is asked for no more"
    assert desk.registry.get("unknown") == Registration(spreadsheet_id="unknown")


@pytest.mark.parametrize(("may_heal", "pause_ms"), [(True, HEAL_MS), (False, GONE_MS)])
def test_a_spreadsheet_that_refuses_is_left_in_peace_and_heals(may_heal: bool, pause_ms: int) -> None:
    """Its menu shows why; no read is spent until the pause is over, and then it starts rows again."""
    desk = Desk(wish("a"))
    desk.sheet.trouble.append(Unreachable("Not shared.", may_heal=may_heal))
    with pytest.raises(Unreachable):
        desk.start()
    parked = desk.registry.get(SHEET).parked
    assert parked is not None and (parked.reason, parked.until) == ("Not shared.", NOW + pause_ms)
    assert desk.start() == 0 and desk.sheet.reads == 1
    desk.registry.park(SHEET, parked.model_copy(update={"since": NOW - 9, "until": NOW}))
    assert desk.start() == 1 and desk.registry.get(SHEET).parked is None


def test_a_spreadsheet_that_can_only_be_read_stays_parked() -> None:
    """Shared for viewing: a good read is no healing."""
    desk = Desk(wish("a"))
    desk.registry.park(SHEET, Parked(reason="Not shared.", since=NOW - 9, until=NOW))
    desk.sheet.trouble.append(Unreachable("Not shared.", may_heal=True))
    with pytest.raises(Unreachable):
        desk.start()
    parked = desk.registry.get(SHEET).parked
    assert parked is not None and parked.until > NOW and desk.post.sent == []


@pytest.mark.parametrize("field", [{"spreadsheet_id": "copied-from"}, {"sheet_id": 5}])
def test_a_job_of_the_sheet_it_was_copied_from_is_not_its_own(field: dict[str, Any]) -> None:
    """A copied tab carries the Job IDs of open jobs: its rows get jobs of their own, or nothing would ever come."""
    desk = Desk(wish("a"))
    desk.start()
    job = desk.job_of("a")
    there = job.model_copy(update={"target": job.target.model_copy(update=field)})
    desk.ledger._jobs[job.job_id] = there
    line = desk.sheet.grid[1]
    line[HEADER.index("Status")] = "pending"
    assert desk.start() == 1 and desk.sheet.row("a")["Job ID"] != job.job_key and len(desk.post.sent) == 2


def test_a_job_that_ended_before_its_row_was_marked_is_not_started_again() -> None:
    """Killed after submitting; the picture is there before the next round, and completion has not come to it yet."""
    desk = Desk(wish("a"))
    desk.start()
    job = desk.job_of("a")
    desk.sheet.grid[1][HEADER.index("Status")] = "pending"
    claimed = desk.ledger.claim(job.job_id, 1, owner="w", token="t", now=NOW, lease_ms=1000)
    assert isinstance(claimed, Claimed)
    assert desk.ledger.commit(claimed.lease, now=NOW, outputs=[], timings=Timings())
    assert desk.start() == 1 and len(desk.post.sent) == 1
    assert desk.sheet.row("a")["Status"] == "done" and desk.sheet.row("a")["Job ID"] == job.job_key
    there = desk.ledger.get(job.job_id)
    assert there is not None and desk.ledger.mark_synced(there)
    desk.sheet.grid[1][HEADER.index("Status")] = "pending"
    assert desk.start() == 1 and len(desk.post.sent) == 2, "shown, and wished for again: a new picture"


def test_why_one_tab_is_not_written_stays_told() -> None:
    """Completion notes a protected tab for the menu; a minute of auto mode does not wipe it away."""
    desk = Desk(wish("a"))
    told = Parked(reason="The tab refuses to be written.", since=NOW, until=NOW)
    desk.registry.park(SHEET, told)
    assert desk.start() == 1 and desk.registry.get(SHEET).parked == told


def test_a_row_that_starts_by_itself_has_its_prompt_resolved() -> None:
    """Other columns of its row count, an empty one as empty text; the row is known by what its cell shows."""
    desk = Desk(wish("a {{Notes}} {{ steps }}{{Seed}}", Notes="fox", Steps="9", Seed="5"), wish("b{{notes}}{{Status}}"))
    assert desk.start() == 2
    job = desk.job_of("a {{Notes}} {{ steps }}{{Seed}}")
    assert job.inputs["prompt"] == "a fox 95" and "prompt" in job.templates
    refused = desk.sheet.row("b{{notes}}{{Status}}")
    assert refused["Status"] == "error" and 'asks for "Status"' in refused["Error"]
