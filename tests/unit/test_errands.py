"""What completion does beside rows, and what it notes for the person who waits."""

from __future__ import annotations

import pytest

from chalicelib.auto import AutoStart
from chalicelib.cells import Moved, Unreachable
from chalicelib.contract.errors import Unavailable
from chalicelib.contract.events import Errand
from chalicelib.contract.job import Job, JobError, Timings
from chalicelib.contract.ports import Claimed, Lease
from chalicelib.contract.sheets import ErrandNote, Parked, Proof
from chalicelib.errands import Errands
from chalicelib.relink import RESULT_COLUMNS
from tests.fakes import MemoryLedger
from tests.jobs import NOW, new_job, output, target
from tests.paper import HEADER, SHEET, PaperSheet
from tests.sheet_fakes import FreeTurns, MemoryRegistry


class Nobody:
    """Start nothing."""

    def rows(self, *_: object) -> list[object]:
        return []


class Desk:
    """Hold a spreadsheet and its errands."""

    def __init__(self, *rows: dict[str, str]) -> None:
        self.ledger, self.registry, self.sheet = MemoryLedger(), MemoryRegistry(), PaperSheet(*rows)
        auto = AutoStart(self.ledger, self.sheet, self.registry, Nobody(), "", lambda: NOW)  # type: ignore[arg-type]
        self.turns = FreeTurns()
        self.errands = Errands(
            self.ledger, self.sheet, self.registry, auto, self.turns, lambda: "robot@google", lambda: NOW
        )

    def run(self, what: str, *, allow_images: bool = False) -> ErrandNote | None:
        errand = Errand.model_validate(
            {"errand": what, "spreadsheet_id": SHEET, "id": "e1", "allow_images": allow_images}
        )
        self.errands.run(errand)
        return self.registry.get(SHEET).errand

    def lost(self, prompt: str) -> Job:
        """Make a result whose row was not found."""
        job = self.done(prompt)
        assert self.ledger.mark_synced(job, gone=True)
        return job

    def fresh(self, prompt: str, **cells: str) -> Job:
        """Make a result that its row showed, which is to be looked at once more; *cells*: what is there of it."""
        job = self.done(prompt)
        assert self.ledger.mark_synced(job, look_at=NOW + 600_000)
        if cells:
            cells = {name: text.format(key=job.job_key, id=job.job_id) for name, text in cells.items()}
            self.sheet.grid.append([cells.get(name, "") for name in HEADER])
        return job

    def done(self, prompt: str) -> Job:
        """Make a result."""
        lease = self._claimed(prompt)
        assert self.ledger.commit(lease, now=NOW, outputs=[output()], timings=Timings())
        return self._now(lease.job_id)

    def failed(self, prompt: str) -> Job:
        """Make a failure."""
        lease = self._claimed(prompt)
        assert self.ledger.fail(lease, now=NOW, error=JobError(code="x", text="It broke."))
        return self._now(lease.job_id)

    def _claimed(self, prompt: str) -> Lease:
        job = self.ledger.submit(
            new_job(target=target(SHEET, prompt=prompt), inputs={"prompt": prompt, "seed": 5}, link_base="https://h")
        ).job
        claimed = self.ledger.claim(job.job_id, 1, owner="w", token="t", now=NOW, lease_ms=1000)
        assert isinstance(claimed, Claimed)
        return claimed.lease

    def _now(self, job_id: str) -> Job:
        there = self.ledger.get(job_id)
        assert there is not None
        return there


def proof(desk: Desk) -> Proof:
    there = desk.registry.get(SHEET).proof
    assert there is not None
    return there


def test_a_proof_is_seen_only_where_it_stands() -> None:
    """Not written: told; written: seen; too late: nothing."""
    desk = Desk()
    desk.registry.start_proof(SHEET, Proof(text="right", code_id="c", until=NOW + 1))
    desk.sheet.proofs_there = ["wrong"]
    desk.run("prove")
    assert not proof(desk).is_seen and "not written" in proof(desk).trouble
    desk.sheet.proofs_there = ["wrong", "right"]
    desk.run("prove")
    assert proof(desk).is_seen and proof(desk).trouble == ""
    desk.registry.start_proof(SHEET, Proof(text="right", code_id="c", until=NOW))
    desk.run("prove")
    assert not proof(desk).is_seen


def test_a_spreadsheet_that_is_not_shared_is_told_with_whom_to_share_it() -> None:
    """In the proof's trouble and in an errand's message."""
    desk = Desk()
    desk.registry.start_proof(SHEET, Proof(text="right", code_id="c", until=NOW + 1))
    desk.sheet.trouble.append(Unreachable("It is not shared.", may_heal=True))
    desk.run("prove")
    assert proof(desk).trouble.endswith("Share the spreadsheet with robot@google as an editor, then try again.")
    desk.sheet.trouble.append(Unreachable("It is not shared.", may_heal=True))
    note = desk.run("check")
    assert note is not None and note.state == "failed" and "robot@google" in note.message


def test_a_good_check_ends_the_parking() -> None:
    """The person shared the sheet and pressed Test: rows are written again at once."""
    desk = Desk()
    desk.registry.park(SHEET, Parked(reason="Not shared.", since=NOW, until=NOW + 600_000))
    note = desk.run("check")
    assert note is not None and note.state == "done" and desk.registry.get(SHEET).parked is None
    assert desk.sheet.writes == 1


def test_prepare_opens_the_gate_only_when_told() -> None:
    """True cannot be undone: it is the person's word."""
    desk = Desk()
    desk.run("prepare")
    note = desk.run("prepare", allow_images=True)
    assert desk.sheet.prepared == [False, True] and note is not None and "Pictures" in note.message


def test_results_without_rows_are_found_again_or_kept_in_a_tab() -> None:
    """A row that was cut and pasted into another tab gets its result; the others go to Results, each once."""
    desk = Desk()
    moved, gone = desk.lost("moved"), desk.lost("gone")
    desk.sheet.add_tab(SHEET, "Other tab")
    row = {"Prompt": "moved", "Job ID": moved.job_key, "Status": "processing"}
    desk.sheet.others[1][1].extend([list(HEADER), [row.get(name, "") for name in HEADER]])
    note = desk.run("relink")
    assert desk.sheet.others[1][1][1][HEADER.index("Status")] == "done"
    title, results = desk.sheet.others[2]
    assert title == "Results" and results[0] == list(RESULT_COLUMNS)
    assert len(results) == 2 and dict(zip(results[0], results[1], strict=True))["Job ID"] == gone.job_key
    assert dict(zip(results[0], results[1], strict=True))["Prompt"] == "gone"
    assert note is not None and "1 found again" in note.message and "1 put into the tab Results" in note.message
    assert desk.ledger.gone(SHEET) == []
    desk.run("relink")
    assert len(desk.sheet.others[2][1]) == 2


def test_a_result_whose_row_was_deleted_after_it_was_shown_comes_back() -> None:
    """Before the second look nothing lists it as without a row: its row, or its Job ID, is looked for now."""
    desk = Desk()
    link = "https://h/o/{id}?t=x"
    kept = [
        desk.fresh("a", **{"Prompt": "a", "Job ID": "{key}", "Status": "done", "Output URL": link}),
        desk.fresh("b", **{"Prompt": "b", "Job ID": "{key}", "Status": "approved", "Output URL": link}),
        desk.fresh("c", **{"Prompt": "edited", "Job ID": "{key}", "Output URL": link}),
        desk.fresh("d", **{"Prompt": "d", "Job ID": "typed over", "Output URL": link}),
    ]
    deleted = desk.fresh("deleted")
    pasted = desk.fresh("pasted", **{"Prompt": "another row", "Job ID": "{key}", "Output URL": "https://x"})
    before = [list(line) for line in desk.sheet.grid]
    note = desk.run("relink")
    assert note is not None and note.message == "Results whose rows were gone: 2 put into the tab Results."
    assert {row["Job ID"] for row in results_of(desk, 1)} == {deleted.job_key, pasted.job_key}
    assert desk.sheet.grid == before and set(desk.ledger.fresh(SHEET)) == {job.job_id for job in kept}
    note = desk.run("relink")
    assert note is not None and note.message == "No result is without a row." and len(results_of(desk, 1)) == 2


def test_a_row_that_lost_its_shown_result_gets_it_back() -> None:
    """Cut, pasted elsewhere and taken back after the result had come: what was written stays in a row of nobody's."""
    desk = Desk()
    job = desk.fresh("cut", **{"Prompt": "cut", "Job ID": "{key}", "Status": "error"})
    desk.sheet.grid.append([f"https://h/o/{job.job_id}?t=x" if name == "Output URL" else "" for name in HEADER])
    stray = list(desk.sheet.grid[-1])
    note = desk.run("relink")
    assert note is not None and note.message == "Results whose rows were gone: 1 found again."
    row = desk.sheet.row("cut")
    assert (row["Status"], job.job_id in row["Output URL"]) == ("done", True)
    assert desk.sheet.grid[-1] == stray


def test_a_shown_row_that_was_moved_to_another_tab_is_found_there() -> None:
    """Also in a copy that was made before the result came: it is written there, and nothing goes to Results."""
    desk = Desk()
    moved = desk.fresh("moved")
    desk.sheet.add_tab(SHEET, "Copy of Tab")
    row = {"Prompt": "moved", "Job ID": moved.job_key, "Status": "queued"}
    desk.sheet.others[1][1].extend([list(HEADER), [row.get(name, "") for name in HEADER]])
    note = desk.run("relink")
    assert note is not None and note.message == "Results whose rows were gone: 1 found again."
    assert moved.job_id in results_of(desk, 1)[0]["Output URL"] and list(desk.sheet.others) == [1]


def test_a_copied_tab_that_shows_no_links_holds_no_result() -> None:
    """Its column has another name there: what goes into Results instead is seen."""
    desk = Desk()
    job = desk.fresh("deleted")
    desk.sheet.add_tab(SHEET, "Copy of Tab")
    row = {"Prompt": "deleted", "Job ID": job.job_key, "Status": "queued"}
    header = ["Mine" if name == "Output URL" else name for name in HEADER]
    desk.sheet.others[1][1].extend([header, [row.get(name, "") for name in HEADER]])
    note = desk.run("relink")
    assert note is not None and note.message == "Results whose rows were gone: 1 put into the tab Results."
    assert [row["Job ID"] for row in results_of(desk, 2)] == [job.job_key]
    assert desk.sheet.others[1][1][1][HEADER.index("Status")] == "done"


def test_of_what_was_shown_nothing_is_missing_in_a_tab_without_job_ids() -> None:
    """Somebody renamed or deleted the column for a moment: not every result of the last minutes goes to Results."""
    desk = Desk()
    shown = desk.fresh("a", Prompt="a")
    desk.sheet.grid[0][HEADER.index("Job ID")] = "Number"
    note = desk.run("relink")
    assert note is not None and note.message == "No result is without a row." and desk.sheet.others == {}
    assert desk.ledger.fresh(SHEET) == [shown.job_id]


@pytest.mark.parametrize(
    "typed", ["https://drive/final.png", "open", "https://h/o/00000000-0000-5000-8000-000000000000?t=x"]
)
def test_what_somebody_typed_over_a_link_stays(typed: str) -> None:
    """A row that shows something as its output misses nothing, whosever it is."""
    desk = Desk()
    desk.fresh("a", **{"Prompt": "a", "Job ID": "{key}", "Status": "approved", "Output URL": typed})
    before = [list(line) for line in desk.sheet.grid]
    note = desk.run("relink")
    assert note is not None and note.message == "No result is without a row."
    assert desk.sheet.grid == before


@pytest.mark.parametrize(
    ("there", "told"),
    [
        ("https://drive/final.png", "1 found again"),
        ("https://h/o/00000000-0000-5000-8000-000000000000?t=x", "1 put into the tab Results"),
    ],
    ids=["typed", "of another job"],
)
def test_what_stands_in_a_row_that_was_moved_to_another_tab_stays(there: str, told: str) -> None:
    """A result that had been shown is written over nothing; the link of another job is no result of this one."""
    desk = Desk()
    moved = desk.fresh("moved")
    desk.sheet.add_tab(SHEET, "Archive")
    row = {"Prompt": "moved", "Job ID": moved.job_key, "Status": "approved", "Output URL": there}
    lines = [list(HEADER), [row.get(name, "") for name in HEADER]]
    desk.sheet.others[1][1].extend([list(line) for line in lines])
    note = desk.run("relink")
    assert note is not None and note.message == f"Results whose rows were gone: {told}."
    assert desk.sheet.others[1][1] == lines


def test_of_rows_with_the_same_job_one_that_shows_it_is_enough() -> None:
    """Somebody copied the row and cleared the copy."""
    desk = Desk()
    job = desk.fresh("a", **{"Prompt": "a", "Job ID": "{key}", "Output URL": "https://h/o/{id}?t=x"})
    desk.sheet.grid.append(["a" if name == "Prompt" else job.job_key if name == "Job ID" else "" for name in HEADER])
    note = desk.run("relink")
    assert note is not None and note.message == "No result is without a row."


def test_a_failure_is_told_in_a_tab_without_links_too() -> None:
    """It has none; its row was moved there."""
    desk = Desk()
    failed = desk.failed("p")
    assert desk.ledger.mark_synced(failed, gone=True)
    header, row = ["Prompt", "Job ID", "Status"], ["p", failed.job_key, "processing"]
    desk.sheet.add_tab(SHEET, "Moved here")
    desk.sheet.others[1][1].extend([header, row])
    note = desk.run("relink")
    assert note is not None and note.message == "Results whose rows were gone: 1 found again."
    assert desk.sheet.others[1][1] == [header, ["p", failed.job_key, "error"]]


def test_in_a_tab_without_links_a_row_is_known_by_its_job_id_and_prompt() -> None:
    """Nothing is written again into a tab that has no column for what would be missing."""
    desk = Desk()
    desk.fresh("a", **{"Prompt": "a", "Job ID": "{key}"})
    desk.sheet.grid[0][HEADER.index("Output URL")] = "Mine"
    note = desk.run("relink")
    assert note is not None and note.message == "No result is without a row."


def test_nobody_fetches_a_failure() -> None:
    """A failed row that was generated again has another Job ID; the old failure is no result."""
    desk = Desk()
    failed = desk.failed("p")
    assert desk.ledger.mark_synced(failed, look_at=NOW + 600_000)
    note = desk.run("relink")
    assert note is not None and note.message == "No result is without a row." and desk.sheet.others == {}


def test_results_that_were_written_but_not_noted_are_not_written_twice() -> None:
    """Killed between the tab and the note: the next round finds them in Results by their Job IDs."""
    desk = Desk()
    gone = desk.lost("gone")
    desk.run("relink")
    assert desk.ledger.mark_synced(gone, gone=True)
    desk.run("relink")
    assert [line[-1] for line in desk.sheet.others[1][1]].count(gone.job_key) == 1


def test_a_busy_google_means_later() -> None:
    """The errand rises, to come again."""
    desk = Desk()
    desk.sheet.trouble.append(Unavailable("busy"))
    with pytest.raises(Unavailable):
        desk.run("check")


def results_of(desk: Desk, tab: int) -> list[dict[str, str]]:
    header, *rows = desk.sheet.others[tab][1]
    return [dict(zip(header, row + [""] * len(header), strict=False)) for row in rows]


@pytest.mark.parametrize("trouble", [Moved(), Unreachable("Refused (status 400).", may_heal=False, of_tab=True)])
def test_a_tab_that_refuses_hides_no_result(trouble: Exception) -> None:
    """A chart's tab, a protected one: what is not found elsewhere goes to Results. Nothing rises."""
    desk = Desk()
    gone = desk.lost("gone")
    desk.sheet.grid.append([{"Prompt": "gone", "Job ID": gone.job_key}.get(name, "") for name in HEADER])
    desk.sheet.between.append(lambda: (_ for _ in ()).throw(trouble))
    note = desk.run("relink")
    assert note is not None and note.state == "done" and "1 put into the tab Results" in note.message
    assert [row["Job ID"] for row in results_of(desk, 1)] == [gone.job_key]


def test_somebodys_own_tab_of_results_stays_as_it_is() -> None:
    """Ours gets another title; where columns were moved in ours, cells go below their headers."""
    desk = Desk()
    gone = desk.lost("gone")
    desk.sheet.add_tab(SHEET, "results")
    desk.sheet.others[1][1].append(["Team", "Goals"])
    note = desk.run("relink")
    assert desk.sheet.others[1][1] == [["Team", "Goals"]] and desk.sheet.others[2][0] == "Results (ComfySheet)"
    assert note is not None and "tab Results (ComfySheet)" in note.message
    desk.sheet.others[2][1][0] = ["My notes", "Job ID", "Prompt"]
    del desk.sheet.others[2][1][1:]
    other = desk.lost("other")
    desk.run("relink")
    assert results_of(desk, 2) == [{"My notes": "", "Job ID": other.job_key, "Prompt": "other"}]
    assert gone.job_key != other.job_key


def test_a_former_owners_results_stay_theirs() -> None:
    """The spreadsheet was released and connected by another client: their prompts do not appear in it."""
    desk = Desk()
    theirs = desk.lost("secret")
    desk.registry.bind(SHEET, "another", "k2", "")
    note = desk.run("relink")
    assert desk.sheet.others == {} and note is not None and note.message == "No result is without a row."
    assert desk.ledger.gone(SHEET) == [] and desk.ledger.get(theirs.job_id) is not None


def test_very_many_results_are_put_away_in_parts() -> None:
    """The rest is told."""
    desk = Desk()
    for number in range(401):
        desk.lost(f"p{number}")
    desk.fresh("deleted")
    note = desk.run("relink")
    assert note is not None and "400 put into" in note.message and "2 more are left" in note.message
    note = desk.run("relink")
    assert note is not None and "2 put into" in note.message and "left" not in note.message
    assert len(results_of(desk, 1)) == 402


def test_no_further_tab_is_looked_into_when_time_runs_out() -> None:
    """A spreadsheet of huge tabs: where the row was and our own tab come first, the rest is not needed."""
    desk = Desk()
    gone = desk.lost("gone")
    for number in range(30):
        desk.sheet.add_tab(SHEET, f"Tab {number}")
    desk.run("relink")
    assert desk.ledger.mark_synced(gone, gone=True)
    desk.sheet.reads, ticks = 0, iter(range(NOW, NOW + 10**9, 15_000))
    desk.errands._relinking._now_ms = lambda: next(ticks)
    desk.run("relink")
    assert [row["Job ID"] for row in results_of(desk, 31)] == [gone.job_key] and desk.sheet.reads <= 4


def test_what_came_of_an_errand_does_not_hide_a_newer_one() -> None:
    """Two people press Test: the second waits for its own answer."""
    desk = Desk()
    newer = ErrandNote(id="e2", state="waiting")
    desk.registry.note_errand(SHEET, newer)
    assert desk.run("check") == newer


def test_a_fault_is_told_to_whoever_waits() -> None:
    """A sentence, no trace."""
    desk = Desk()
    desk.errands.give_up(Errand(errand="check", spreadsheet_id=SHEET, id="e1"))
    note = desk.registry.get(SHEET).errand
    assert note is not None and note.state == "failed" and "operator" in note.message
    desk.registry.note_errand(SHEET, ErrandNote(id="e2", state="waiting"))
    desk.errands.give_up(Errand(errand="auto", spreadsheet_id=SHEET, id="1"))
    assert desk.registry.get(SHEET).errand == ErrandNote(id="e2", state="waiting")


def test_auto_mode_that_has_to_wait_holds_up_no_row() -> None:
    """The menu starts rows, or the minute's calls are spent: the next minute asks again."""
    desk = Desk({"Prompt": "a", "Workflow": "w", "Status": "pending"})
    desk.registry.bind(SHEET, "studio", "k", "")
    desk.registry.set_auto(SHEET, 0, on=True)
    desk.registry.hold(SHEET, "menu", now=NOW, until=NOW + 60_000)
    desk.run("auto")
    desk.registry.let_go(SHEET, "menu")
    desk.sheet.trouble.append(Unavailable("spent", retry_in_s=40))
    desk.run("auto")
    assert desk.sheet.reads == 1 and desk.registry.hold(SHEET, "menu", now=NOW, until=NOW)


def test_who_asks_without_end_waits_for_turns() -> None:
    """Google's calls are for all spreadsheets; the wait that is told is the turn's."""
    desk = Desk()
    desk.turns.waits = [3000]
    with pytest.raises(Unavailable) as caught:
        desk.run("check")
    assert caught.value.retry_in_s == 3 and desk.sheet.writes == 0
    assert desk.run("check") is not None and desk.sheet.writes == 1
    desk.run("auto")
    assert desk.turns.taken == [SHEET], "the sweeper counts these itself"
