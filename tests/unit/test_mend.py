"""Which rows a write hit by mistake, what their cells get back, and how long that is tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from chalicelib.cells import Cell, Tab, Text, Time
from chalicelib.contract.errors import Unavailable
from chalicelib.mend import ROUNDS, Held, judge, write
from tests.paper import HEADER, SHEET, PaperSheet

STATUS = HEADER.index("Status")
DATE: Mapping[str, object] = {"type": "DATE_TIME"}
PERCENT: Mapping[str, object] = {"type": "PERCENT"}


def tab(*lines: Sequence[str], **more: Any) -> Tab:
    """Read a tab that shows *lines*, the header first."""
    texts = {(row, column): text for row, line in enumerate(lines) for column, text in enumerate(line) if text}
    entered = {place: {"stringValue": text} for place, text in texts.items()}
    return Tab(SHEET, 0, "Tab", "UTC", tuple(lines[0]), texts, entered, **more)


ROWS: tuple[dict[str, str], ...] = (
    {"Prompt": "mine", "Job ID": "a"},
    {"Prompt": "other", "Job ID": "b", "Status": "idea"},
)


def swap(sheet: PaperSheet) -> None:
    sheet.grid[1], sheet.grid[2] = sheet.grid[2], sheet.grid[1]


def show(sheet: PaperSheet) -> set[int]:
    """Write into the first row, which changes its place before that."""
    read = sheet.read(SHEET, 0)
    sheet.between.insert(0, lambda: swap(sheet))
    return write(sheet, read, {1: {STATUS: Text("done")}})


class Busy(PaperSheet):
    """Be a sheet of which reads are refused so often, each time with a wish when to come again."""

    def __init__(self, *rows: Mapping[str, str], times: int, retry_in_s: float | None) -> None:
        super().__init__(*rows)
        self.times, self.retry_in_s = times, retry_in_s
        self.rests: list[float] = []

    def rest(self, seconds: float) -> None:
        self.rests.append(seconds)

    def read(self, spreadsheet_id: str, sheet_id: int, *, with_values: bool = False, urgent: bool = False) -> Tab:
        if self.writes and self.times:
            self.times -= 1
            raise Unavailable("busy", self.retry_in_s)
        return super().read(spreadsheet_id, sheet_id)


@pytest.mark.parametrize(
    ("retry_in_s", "times", "rests"),
    [(3.0, 1, [3.0]), (None, 2, [2.0, 2.0]), (0.01, 1, [0.1]), (60.0, 1, [20.0]), (8.0, 3, [8.0, 8.0, 4.0])],
)
def test_a_busy_google_is_waited_for(retry_in_s: float | None, times: int, rests: list[float]) -> None:
    """As long as it wishes, within twenty seconds in all; then the row is put right."""
    sheet = Busy(*ROWS, times=times, retry_in_s=retry_in_s)
    assert show(sheet) == {1}
    assert sheet.rests == rests
    assert sheet.row("other")["Status"] == "idea"


def test_after_twenty_seconds_it_is_given_up() -> None:
    """The function that waits has a minute in all: its caller is told, and tries again later."""
    sheet = Busy(*ROWS, times=99, retry_in_s=8.0)
    with pytest.raises(Unavailable):
        show(sheet)
    assert sheet.rests == [8.0, 8.0, 4.0]


def test_rows_that_never_rest_are_followed_for_so_many_rounds() -> None:
    """One write, and as many as there are rounds."""
    sheet = PaperSheet(*ROWS)
    sheet.between += [lambda: swap(sheet)] * 50
    show(sheet)
    assert sheet.writes == 1 + ROUNDS


def test_what_puts_right_may_use_the_calls_that_are_kept_for_it() -> None:
    """The first write may not: it can be made later as well."""
    asked: list[tuple[str, bool]] = []

    class Noted(PaperSheet):
        def read(self, spreadsheet_id: str, sheet_id: int, *, with_values: bool = False, urgent: bool = False) -> Tab:
            asked.append(("read", urgent))
            return super().read(spreadsheet_id, sheet_id)

        def write(self, tab: Tab, rows: Mapping[int, Mapping[int, Cell | Held]], *, urgent: bool = False) -> Tab:
            asked.append(("write", urgent))
            return super().write(tab, rows)

    show(Noted(*ROWS))
    assert asked == [("read", False), ("write", False), ("read", True), ("write", True)]


BEFORE = tab(("Prompt", "Job ID", "Status", "Seed"), ("mine", "a", "", ""), ("other", "b", "idea", "7"))


@pytest.mark.parametrize(
    ("cell", "note", "form"),
    [
        (Text("done"), None, None),
        (Text("done", note="ComfySheet: how"), "theirs", None),
        (Time(46_000.5), None, PERCENT),
        (Held({"stringValue": "x"}), None, None),
        (Held({"stringValue": "x"}, note="", form=DATE), "theirs", PERCENT),
    ],
)
def test_a_cell_gets_back_what_was_hit_of_it(cell: Cell | Held, note: str | None, form: object) -> None:
    """Its value always; its note or number format if what was written there brought one."""
    place = (2, 2)
    seen = tab(
        ("Prompt", "Job ID", "Status", "Seed"),
        ("mine", "a", "", ""),
        ("other", "b", "idea", "7"),
        notes={place: "theirs"},
        forms={place: PERCENT},
    )
    after = tab(seen.header, ("other", "b", "done", "7"))
    [damage] = judge(seen, {1: {2: cell}}, after)
    assert (damage.row, damage.source, damage.guess) == (1, 2, None)
    assert damage.before == {"Status": Held({"stringValue": "idea"}, note, form)}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("cell", "blank"),
    [
        (Text("done"), Held(None)),
        (Text("done", note="ComfySheet: how"), Held(None, "")),
        (Time(46_000.5), Held(None, None, {})),
        (Held(None, "a note", DATE), Held(None, "", {})),
    ],
)
def test_a_cell_of_a_new_row_gets_back_nothing(cell: Cell | Held, blank: Held) -> None:
    """Nor a note, nor a format, if it was given one."""
    [damage] = judge(BEFORE, {1: {2: cell}}, tab(BEFORE.header, ("", "", "done", "")))
    assert (damage.source, damage.before) == (None, {"Status": blank})


def test_a_column_that_came_since_held_nothing() -> None:
    """Where a new column stands now, there was none of that row's."""
    after = tab(("Prompt", "Job ID", "Mark", "Status"), ("mine", "a", "done", ""))
    [damage] = judge(BEFORE, {1: {2: Text("done")}}, after)
    assert (damage.source, damage.before) == (1, {"Mark": Held(None)})


@pytest.mark.parametrize("header", [("Prompt", "Job ID", "Status"), ("Prompt", "Job ID", "Status", "Seed", "Notes")])
def test_columns_at_the_end_may_come_and_go(header: tuple[str, ...]) -> None:
    """What was written stands where it should."""
    assert judge(BEFORE, {1: {2: Text("done")}}, tab(header, ("mine", "a", "done"))) == []


@pytest.mark.parametrize("at", [0, 1])
def test_a_column_by_which_rows_are_known_may_not_move(at: int) -> None:
    """Nobody can say then what the other texts are."""
    names = list(BEFORE.header)
    names[at] = "Something"
    [damage] = judge(BEFORE, {1: {2: Text("done")}}, tab(names, ("mine", "a", "done")))
    assert damage.row == 1


@pytest.mark.parametrize(
    ("before", "after", "stays"),
    [
        (("mine", "a", "", "1"), ("mine", "a", "done", "2"), True),  # somebody typed the seed
        (("mine", "a", "", "1"), ("mine", "b", "done", "1"), False),
        (("mine", "a", "", "1"), ("other", "a", "done", "1"), False),
        (("mine", "", "", "1"), ("mine", "", "done", "1"), True),
        (("mine", "", "", "1"), ("mine", "", "done", "2"), True),
        (("", "a", "", "1"), ("", "a", "done", "2"), True),
        (("", "", "", "1"), ("", "", "done", "1"), True),
        (("", "", "", "1"), ("", "", "done", "2"), False),
    ],
)
def test_a_row_is_known_by_its_job_id_and_prompt(before: Sequence[str], after: Sequence[str], stays: bool) -> None:
    """By all that it shows only where it has neither."""
    header = BEFORE.header
    hit = judge(tab(header, before), {1: {2: Text("done")}}, tab(header, after))
    assert hit == [] if stays else [damage.row for damage in hit] == [1]


@pytest.mark.parametrize("column", [0, 1])
def test_what_is_written_itself_tells_no_row_from_another(column: int) -> None:
    """A Job ID that was just written is not the one that the row had; what is left of it is looked at."""
    after = ["mine", "a", "", ""]
    after[column] = "new"
    assert judge(BEFORE, {1: {column: Text("new")}}, tab(BEFORE.header, after)) == []
    after[1 - column] = "another"
    assert [damage.row for damage in judge(BEFORE, {1: {column: Text("new")}}, tab(BEFORE.header, after))] == [1]


@pytest.mark.parametrize("lost", ["Prompt", "Job ID"])
def test_a_tab_without_one_of_them_goes_by_the_other(lost: str) -> None:
    """As one that was set up without a column Job ID."""
    header = ["Name" if name == lost else name for name in BEFORE.header]
    seen = tab(header, ("mine", "a", "", ""), ("other", "b", "idea", "7"))
    assert judge(seen, {1: {2: Text("done")}}, tab(header, ("mine", "a", "done", "typed"))) == []
    [damage] = judge(seen, {1: {2: Text("done")}}, tab(header, ("other", "b", "done", "7")))
    assert damage.source == 2
