"""Whatever people move in the sheet while rows are written, each row gets its own result and nobody loses a cell."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.cells import Moved, Tab, Text
from chalicelib.contract.job import JobError
from chalicelib.contract.ports import Claimed
from chalicelib.mend import write
from tests.jobs import NOW
from tests.paper import HEADER, SHEET, PaperSheet
from tests.sheet_desk import Desk, complete, row_of
from tests.sizes import before_release, examples


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
    assert complete(desk, sheet).show([job.job_id]) == {job.job_id: 5}
    assert not desk.now(job).is_shown


def test_a_row_that_was_hit_is_followed_through_sixteen_rounds() -> None:
    """Before the write, and before fifteen of the sixteen that are to put it right, the rows change places."""
    sheet = PaperSheet({"Prompt": "mine", "Job ID": "a"}, {"Prompt": "other", "Job ID": "b", "Status": "idea"})

    def swap() -> None:
        sheet.grid[1], sheet.grid[2] = sheet.grid[2], sheet.grid[1]

    sheet.between += [swap] * 16
    tab = sheet.read(SHEET, 0)
    missed = write(sheet, tab, {1: {HEADER.index("Status"): Text("done")}})
    assert missed == {1}
    assert sheet.row("other")["Status"] == "idea" and sheet.row("mine")["Status"] == ""


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


def test_a_blank_row_that_was_put_right_takes_no_other_rows_repair() -> None:
    """
    A link goes astray twice: into a row of somebody's, and with that row's repair into a blank one.

    When the blank row is blank again, the row that still shows the link is that somebody's, and gets its own back.
    """
    desk = Desk()
    jobs = [desk.done(f"p{number}") for number in range(3)]
    mine = {"Prompt": "mine", "Status": "idea", "Error": "keep", "Seed": "9"}
    sheet = PaperSheet(*map(row_of, jobs[:2]), mine, {}, row_of(jobs[2]), {"Prompt": "a twin"})
    kept = sheet.row("mine")

    def ordered(*prompts: str) -> Callable[[], None]:
        def move() -> None:
            lines = {line[0]: line for line in sheet.grid[1:]}
            sheet.grid[1:] = [lines[prompt] for prompt in prompts]

        return move

    sheet.between += [
        ordered("a twin", "p1", "mine", "", "p2", "p0"),
        lambda: None,
        ordered("a twin", "p1", "mine", "", "p0", "p2"),
        ordered("a twin", "p1", "", "p2", "p0", "mine"),
        lambda: sheet.grid.insert(1, [""] * len(HEADER)),
        lambda: sheet.grid.insert(1, sheet.grid.pop()),
    ]
    work = complete(desk, sheet)
    while work.show([job.job_id for job in jobs]):
        pass
    assert sheet.row("mine") == kept
    assert all(
        sheet.row(f"p{n}")["Status"] == "done" and job.job_id in str(sheet.row(f"p{n}")) for n, job in enumerate(jobs)
    )


def test_a_new_prompt_typed_while_a_row_is_put_right_leaves_it_its_own_result() -> None:
    """It is known by its Job ID: what it is given back is not taken for a mistake in somebody's new row."""
    desk = Desk()
    first = desk.done("first")
    sheet = PaperSheet(row_of(first))
    work = complete(desk, sheet)
    assert work.show([first.job_id]) == {}
    second = desk.done("second")
    sheet.grid.append([row_of(second).get(name, "") for name in HEADER])

    def swap() -> None:
        sheet.grid[1], sheet.grid[2] = sheet.grid[2], sheet.grid[1]

    def typed() -> None:
        sheet.grid[2][HEADER.index("Prompt")] = "another"

    sheet.between += [swap, typed]
    work.show([second.job_id])
    assert sheet.row("another")["Status"] == "done" and first.job_id in sheet.row("another")["Output URL"]


def test_notes_typed_while_a_row_is_put_right_leave_it_what_it_held() -> None:
    """A row without a Job ID is known by its prompt, and of several with that prompt it is the one that is likest."""
    desk = Desk()
    job = desk.done("p")
    mine = [{"Prompt": "mine", "Workflow": name, "Status": name} for name in ("a", "b")]
    sheet = PaperSheet(row_of(job), *mine)

    def moved_and_typed() -> None:
        sheet.grid.insert(1, sheet.grid.pop(3))
        sheet.grid[1][HEADER.index("Notes")] = "typed"

    sheet.between.append(moved_and_typed)
    complete(desk, sheet).show([job.job_id])
    kept = [dict(zip(HEADER, line, strict=True)) for line in sheet.grid[1:] if line[0] == "mine"]
    assert [(row["Workflow"], row["Status"], row["Output URL"]) for row in kept] == [("b", "b", ""), ("a", "a", "")]
    assert job.job_id in sheet.row("p")["Output URL"]


OWN = [
    {"Prompt": f"s{n}", "Status": "done", "Job ID": f"k{n}", "Output URL": f"https://host/o/s{n}", "Seed": f"{n}"}
    for n in (1, 2)
]
"""Two rows of jobs that are over."""


def ups(sheet: PaperSheet, line: Sequence[str] | None = None, **texts: str) -> None:
    """Put a row above all others: *line*, else a new one, with *texts* typed into it."""
    new = list(line or [""] * len(HEADER))
    for name, text in texts.items():
        new[HEADER.index(name)] = text
    sheet.grid.insert(1, new)


def shown_after(*rows: Mapping[str, str], moves: Sequence[Callable[[PaperSheet], None]]) -> list[dict[str, str]]:
    """Show two results, with *moves* before the first writes; the other rows as they are then, top down."""
    desk = Desk()
    jobs = [desk.done("p0"), desk.done("p1")]
    sheet = PaperSheet(*map(row_of, jobs), *rows)
    sheet.between += [partial(move, sheet) for move in moves]
    assert complete(desk, sheet).show([job.job_id for job in jobs]) == {}
    for number, job in enumerate(jobs):
        assert job.job_id in sheet.row(f"p{number}")["Output URL"]
    lines = [dict(zip(HEADER, line, strict=True)) for line in sheet.grid[1:]]
    return [{name: text for name, text in line.items() if text} for line in lines if line["Prompt"][:1] != "p"]


def to_the_top(sheet: PaperSheet) -> None:
    sheet.grid[1:] = sheet.grid[3:] + sheet.grid[1:3]


def test_a_copy_with_another_prompt_costs_no_row_its_repair() -> None:
    """Two rows are put right while somebody makes a variant of the second above them: both have their links again."""
    rows = shown_after(*OWN, moves=[to_the_top, lambda sheet: ups(sheet, sheet.grid[2], Prompt="a variant")])
    assert [row for row in rows if row["Prompt"] != "a variant"] == OWN


def test_a_new_row_with_the_same_prompt_is_given_nothing() -> None:
    """The row that had this prompt is still there, as it was: the one that was hit is another."""
    pending = {"Prompt": "cat", "Status": "pending", "Seed": "7", "Notes": "old"}
    rows = shown_after(pending, moves=[lambda sheet: ups(sheet, Prompt="cat", Notes="new")])
    assert rows == [{"Prompt": "cat", "Notes": "new"}, pending]


def test_a_job_id_pasted_into_another_row_brings_nothing_along() -> None:
    """More of the row is what it was than that one cell."""

    def pasted(sheet: PaperSheet) -> None:
        sheet.grid.insert(1, sheet.grid.pop())
        sheet.grid[1][HEADER.index("Job ID")] = OWN[0]["Job ID"]

    texts = [{**OWN[0], "Notes": "a"}, {**OWN[1], "Workflow": "w", "Notes": "b"}]
    rows = shown_after(*texts, moves=[pasted])
    assert rows == [{**texts[1], "Job ID": "k1"}, texts[0]]


def test_rows_of_one_prompt_that_change_places_keep_their_own() -> None:
    """Without a Job ID they are told apart by their other cells, also while they are put right."""
    twins = [{"Prompt": "cat", "Workflow": f"w{n}", "Status": f"idea {n}", "Seed": f"{n}"} for n in (1, 2)]

    def swap(sheet: PaperSheet) -> None:
        sheet.grid[1], sheet.grid[2] = sheet.grid[2], sheet.grid[1]

    assert shown_after(*twins, moves=[to_the_top, swap]) == twins[::-1]


def moved_about(chance: Random, moves: int) -> None:
    """
    Show three results while rows are moved before up to *moves* of our writes, those that put things right included.

    Rows are shuffled, swapped and inserted; one is somebody's own, one a twin by its prompt, one blank.
    """
    desk = Desk()
    jobs = [desk.done(f"p{number}") for number in range(3)]
    rows: list[Mapping[str, str]] = [row_of(job, Notes=f"note {number}") for number, job in enumerate(jobs)]
    rows += [{"Prompt": "mine", "Status": "idea", "Error": "keep", "Seed": "9"}]
    rows += [{"Prompt": "p1", "Notes": "a twin"}, {}]
    chance.shuffle(rows)
    sheet = PaperSheet(*rows)
    kept = {"mine": sheet.row("mine"), "a twin": ["p1", "", "", "", "", "", "", "", "a twin"]}

    def move() -> None:
        lines = sheet.grid[1:]
        match chance.choice(["shuffle", "insert", "leave", "swap"]):
            case "shuffle":
                chance.shuffle(lines)
            case "insert":
                lines.insert(chance.randint(0, len(lines)), [""] * len(HEADER))
            case "swap":
                lines[0], lines[-1] = lines[-1], lines[0]
        sheet.grid[1:] = lines

    sheet.between += [move] * chance.randint(1, moves)
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


@settings(max_examples=examples(300), deadline=None)
@given(st.randoms(use_true_random=False))
def test_whatever_people_move_while_we_write_nobody_gets_anothers_result(chance: Random) -> None:
    """Each row has its own result at the end, and nobody's cell is lost."""
    moved_about(chance, 7)


@before_release
def test_nor_in_fifty_thousand_histories(caplog: pytest.LogCaptureFixture) -> None:
    """What goes wrong once in twelve thousand times is not seen in a sample."""
    caplog.set_level(logging.CRITICAL)
    for seed in range(50_000):
        moved_about(Random(seed), 7 + seed % 8)


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
