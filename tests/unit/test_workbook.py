"""The workbook model: cells, structure edits, notices, undoing and keeping."""

import json
from datetime import UTC, datetime
from threading import Barrier, Thread
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.workbook import Area, Change, Formula, Protected, Sheet, Workbook


def a_book(*rows: tuple[Any, ...], grid: tuple[int, int] = (20, 8)) -> tuple[Workbook, Sheet]:
    book = Workbook("b", "Book", time_zone="Europe/Berlin")
    sheet = book.add_sheet("Renders", rows=grid[0], cols=grid[1])
    for row, values in enumerate(rows):
        for col, value in enumerate(values):
            sheet.set_cell(row, col, value)
    return book, sheet


def shown(sheet: Sheet, rows: int, cols: int) -> list[list[str]]:
    return [[sheet.cell(row, col).formatted for col in range(cols)] for row in range(rows)]


def column(sheet: Sheet, rows: int) -> str:
    return "".join(sheet.cell(row, 0).formatted or "." for row in range(rows))


def test_a_set_text_is_never_parsed() -> None:
    """set_cell keeps text as text; only Formula makes a formula."""
    _, sheet = a_book(("=1+1", Formula("=1+1")))
    assert (sheet.cell(0, 0).formula, sheet.cell(0, 0).formatted) == (None, "=1+1")
    assert (sheet.cell(0, 1).formula, sheet.cell(0, 1).formatted) == ("=1+1", "#ERROR!")


def test_setting_one_part_leaves_the_others() -> None:
    """Value, note, format and validation are changed one by one; None clears; "" is the empty cell."""
    _, sheet = a_book(("a",))
    sheet.set_cell(0, 0, note="n", format={"backgroundColor": {"blue": 1}})
    sheet.set_cell(0, 0, "b")
    assert (sheet.cell(0, 0).note, sheet.cell(0, 0).background) == ("n", "#0000ff")
    sheet.set_cell(0, 0, "", note=None, format=None)
    assert sheet.row_cells(0) == {}


def test_a_cell_outside_the_grid_or_too_long_is_refused() -> None:
    """The grid has an edge, a cell 50,000 characters."""
    _, sheet = a_book()
    with pytest.raises(IndexError, match="outside the grid of 20 x 8"):
        sheet.set_cell(20, 0, "x")
    with pytest.raises(ValueError, match="maximum of 50000 characters"):
        sheet.set_cell(0, 0, "x" * 50_001)
    sheet.set_cell(0, 0, "x" * 50_000)
    assert len(sheet.cell(0, 0).formatted) == 50_000


def test_the_data_extent_counts_values_only() -> None:
    """A note or a format alone does not make the data longer."""
    _, sheet = a_book(("a", "b"), ("c",))
    sheet.set_cell(9, 5, note="only a note")
    assert sheet.data_extent() == (2, 2)
    assert a_book()[1].data_extent() == (0, 0)


def test_rows_are_inserted_deleted_and_moved() -> None:
    """Cells keep their rows; a move's target counts in the grid before the move."""
    _, sheet = a_book(*[(letter,) for letter in "abcdef"])
    sheet.insert_rows(1, 2)
    assert column(sheet, 8) == "a..bcdef"
    sheet.delete_rows(1, 2)
    sheet.move_rows(0, 2, 4)
    assert column(sheet, 6) == "cdabef"
    sheet.move_rows(4, 1, 0)
    assert column(sheet, 6) == "ecdabf"
    sheet.move_rows(1, 3, 2)  # into itself: nothing happens
    assert column(sheet, 6) == "ecdabf"
    assert sheet.rows == 20


def test_columns_move_like_rows() -> None:
    """Columns take their cells and widths along."""
    _, sheet = a_book(("a", "b", "c"), ("d", "e", "f"))
    sheet.set_dimension("COLUMNS", 0, 1, pixel_size=300)
    sheet.move_cols(0, 1, 3)
    assert (shown(sheet, 2, 3), sheet.column_widths) == ([["b", "c", "a"], ["e", "f", "d"]], {2: 300})
    sheet.delete_cols(0)
    sheet.insert_cols(0)
    assert shown(sheet, 2, 3) == [["", "c", "a"], ["", "f", "d"]]


def test_an_inserted_row_takes_the_dress_of_its_neighbour_but_no_values() -> None:
    """Formats and validations are inherited from the row before or after, when asked for."""
    _, sheet = a_book(("a",), ("b",))
    sheet.set_cell(0, 0, format={"textFormat": {"bold": True}})
    sheet.set_cell(1, 0, validation={"condition": {"type": "BOOLEAN"}})
    sheet.insert_rows(1, 1, "after")
    sheet.insert_rows(1, 1, "before")
    cells = [sheet.cell(row, 0) for row in (1, 2)]
    assert [(cell.user_entered, bool(cell.format), bool(cell.validation)) for cell in cells] == [
        (None, True, False), (None, False, True),
    ]  # fmt: skip


def test_frozen_rows_follow_insert_and_delete() -> None:
    """Rows put among the frozen ones are frozen; deleted ones are not counted; moves leave the number."""
    _, sheet = a_book()
    sheet.freeze(rows=2, cols=1)
    sheet.insert_rows(1)
    assert sheet.frozen_rows == 3
    sheet.delete_rows(0, 2)
    sheet.move_rows(0, 1, 5)
    sheet.insert_rows(8)
    assert (sheet.frozen_rows, sheet.frozen_cols) == (1, 1)


def test_areas_follow_and_vanish_with_their_cells() -> None:
    """A protected column follows its column, stays open downwards, and goes when the column goes."""
    _, sheet = a_book()
    sheet.change(lambda: sheet.protected.append(Protected(1, Area(0, 2, right=3))))
    sheet.insert_cols(0, 2)
    sheet.insert_rows(20, 5)
    assert sheet.protected[0].area == Area(0, 4, right=5)
    sheet.delete_cols(4)
    assert sheet.protected == []


def test_the_last_row_cannot_be_deleted() -> None:
    """A sheet keeps one row and one column."""
    _, sheet = a_book()
    with pytest.raises(ValueError, match="can't delete all the rows"):
        sheet.delete_rows(0, 20)


def test_sorting_orders_kinds_and_keeps_empty_cells_last() -> None:
    """Numbers, text (any case), booleans; empty last in both directions; cells outside the area stay."""
    _, sheet = a_book(("b", 1), (True, 2), (None, 3), (10, 4), ("A", 5), (9, 6))
    sheet.sort(Area(0, 0, 6, 1), 0)
    assert shown(sheet, 6, 2) == [["9", "1"], ["10", "2"], ["A", "3"], ["b", "4"], ["TRUE", "5"], ["", "6"]]
    sheet.sort(Area(0, 0, 6, 1), 0, ascending=False)
    assert column(sheet, 5) == "TRUEbA109"


def test_copying_a_row_overwrites_and_cutting_leaves_nothing() -> None:
    """copy_row takes notes along and clears what the source lacks; cut_paste moves, also onto itself."""
    _, sheet = a_book(("a", "b"), ("c", "d", "e"), ("f",))
    sheet.set_cell(0, 0, note="n")
    sheet.copy_row(0, 1)
    assert (shown(sheet, 2, 3), sheet.cell(1, 0).note) == ([["a", "b", ""], ["a", "b", ""]], "n")
    sheet.cut_paste(Area(1, 0, 3, 2), (2, 1))
    assert shown(sheet, 4, 3) == [["a", "b", ""], ["", "", ""], ["", "a", "b"], ["", "f", ""]]


def test_rows_hidden_by_filter_and_by_hand_are_told_apart() -> None:
    """isRowHiddenByFilter and isRowHiddenByUser need both; hiding follows the row."""
    _, sheet = a_book()
    sheet.hide_rows(2, by="filter")
    sheet.hide_rows(4)
    sheet.insert_rows(0)
    assert (sheet.hidden_rows("filter"), sheet.hidden_rows("user"), sheet.hidden_rows()) == ({3}, {5}, {3, 5})
    sheet.hide_rows(3, by="filter", hidden=False)
    assert sheet.hidden_rows() == {5}


def test_pictures_wait_for_the_gate() -> None:
    """IMAGE shows #REF! until the workbook allows external images, then it is a picture, also after a restart."""
    book, sheet = a_book((Formula('=IMAGE("https://x.test/a.jpg"; 2)'), Formula('=IMAGE("data:image/png,x")')))
    assert (sheet.cell(0, 0).formatted, sheet.cell(0, 0).image_url) == ("#REF!", None)
    book.allow_external_images()
    assert (sheet.cell(0, 0).image_url, sheet.cell(0, 1).formatted) == ("https://x.test/a.jpg", "#VALUE!")
    again = Workbook.from_json(json.loads(json.dumps(book.to_json()))).sheets[0]
    assert again.cell(0, 0).image_url == "https://x.test/a.jpg"


def test_listeners_hear_once_for_each_group_of_changes() -> None:
    """Cells by place, None when the structure changed; nothing for a change that changes nothing."""
    book, sheet = a_book()
    heard: list[Change] = []
    unsubscribe = book.listen(heard.append)
    start = book.version
    with book.editing("script"):
        sheet.set_cell(0, 0, "a")
        sheet.set_cell(0, 1, "b")
    sheet.set_cell(0, 0, "a")
    sheet.insert_rows(0)
    unsubscribe()
    sheet.set_cell(5, 5, "unheard")
    assert heard == [Change(start + 1, 0, ((0, 0), (0, 1))), Change(start + 2, 0, None)]
    assert book.version == start + 3


def test_the_log_says_who_changed_which_cell() -> None:
    """A formula that appears in a cell can be traced to the one who wrote it; nested editing keeps its writer."""
    book, sheet = a_book()
    with book.editing("script"):
        sheet.enter(0, 0, "=NOW()")
        with book.editing("api"):
            sheet.set_cell(0, 1, "done")
        sheet.set_cell(0, 2, "queued")
    sheet.set_cell(0, 3, "typed")
    logged = [(edit.who, edit.col, edit.after.formula) for edit in book.last_changes]
    assert logged == [("script", 0, "=NOW()"), ("api", 1, None), ("script", 2, None), ("person", 3, None)]


def test_an_atomic_edit_that_fails_never_happened() -> None:
    """Cells, structure, tabs, title, gate, version, log and notices are as before."""
    book, sheet = a_book(("a",), ("b",))
    heard: list[Change] = []
    book.listen(heard.append)
    before, log = book.to_json(), list(book.last_changes)
    with pytest.raises(ZeroDivisionError), book.atomic("api"):
        sheet.set_cell(0, 0, Formula('=IMAGE("http://x.test/y")'))
        sheet.delete_rows(0)
        sheet.freeze(rows=3)
        book.add_sheet("Another")
        book.rename_sheet(0, "Renamed")
        book.allow_external_images()
        _ = 1 / 0
    assert (book.to_json(), list(book.last_changes), heard) == (before, log, [])
    assert book.sheets == [sheet]
    sheet.set_cell(0, 0, "still works")
    assert len(heard) == 1


def test_titles_are_unique_whatever_their_case() -> None:
    """Two tabs cannot share a title; a lookup prefers the exact one."""
    book, sheet = a_book()
    with pytest.raises(ValueError, match="already exists"):
        book.add_sheet("RENDERS")
    other = book.add_sheet("Results")
    book.rename_sheet(0, "renders")
    assert (book.sheet_by_title("RENDERS"), book.sheet_by_id(other.gid)) == (sheet, other)


def test_a_date_is_a_serial_number_in_the_workbooks_own_time_zone() -> None:
    """10:00 UTC is 11:00 in Berlin's winter; there and back again is the same moment."""
    book, sheet = a_book()
    moment = datetime(2026, 11, 21, 10, 0, 0, 500_000, tzinfo=UTC)
    serial = book.serial_of(moment)
    form = {"numberFormat": {"type": "DATE_TIME", "pattern": "yyyy-mm-dd hh:mm:ss"}}
    sheet.set_cell(0, 0, serial, format=form)
    assert (sheet.cell(0, 0).formatted, sheet.cell(0, 0).is_date) == ("2026-11-21 11:00:00", True)
    assert book.moment_of(serial) == moment


def test_everything_is_kept_over_a_restart() -> None:
    """to_json and from_json are each other's reverse, through real JSON text."""
    book, sheet = a_book(("a", 1.5, True, Formula("=X()")), (None, "b"))
    book.shared_with.add("bot@x.test")
    sheet.set_cell(0, 0, note="n", validation={"condition": {"type": "BOOLEAN"}})
    sheet.freeze(rows=1)
    sheet.set_dimension("ROWS", 1, 1, pixel_size=120)
    sheet.hide_rows(3, by="filter")
    sheet.change(lambda: sheet.protected.append(Protected(book.new_id(), Area(0, 0, right=1), "ours")))
    kept = json.loads(json.dumps(book.to_json()))
    again = Workbook.from_json(kept)
    assert again.to_json() == book.to_json()
    assert shown(again.sheets[0], 2, 4) == shown(sheet, 2, 4)
    assert (again.sheets[0].row_heights, again.sheets[0].hidden_rows("filter")) == ({1: 120}, {3})


def test_many_threads_leave_a_whole_workbook() -> None:
    """Writers and a person who inserts rows at the same time lose nothing: the lock orders them."""
    book, sheet = a_book(grid=(10, 4))
    start = Barrier(5)

    def write(col: int) -> None:
        start.wait()
        for number in range(200):
            with book.editing("api"):
                sheet.set_cell(sheet.rows - 1, col, f"{col}:{number}")

    def insert() -> None:
        start.wait()
        for _ in range(200):
            sheet.insert_rows(0)

    threads = [Thread(target=write, args=(col,)) for col in range(4)] + [Thread(target=insert)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert shown(sheet, sheet.rows, 4)[-1] == ["0:199", "1:199", "2:199", "3:199"]
    assert (sheet.rows, len(book.last_changes)) == (210, 800)


_EDITS = st.lists(
    st.tuples(
        st.sampled_from(["insert", "delete", "move", "sort"]), st.integers(0, 9), st.integers(1, 3), st.integers(0, 9)
    ),
    max_size=12,
)


@settings(deadline=None)
@given(_EDITS)
def test_no_structure_edit_tears_a_row_apart(edits: list[tuple[str, int, int, int]]) -> None:
    """Whatever is inserted, deleted, moved and sorted, the cells of one row stay together, and no row appears twice."""
    _, sheet = a_book(*[(f"{'hgfedcba'[at]}", f"id{'hgfedcba'[at]}") for at in range(8)], grid=(12, 2))
    deleted = 0
    for kind, at, n, to in edits:
        match kind:
            case "insert":
                sheet.insert_rows(min(at, sheet.rows), n)
            case "delete" if at + n < sheet.rows:
                deleted += sum(bool(sheet.row_cells(row)) for row in range(at, at + n))
                sheet.delete_rows(at, n)
            case "move" if at + n <= sheet.rows and to <= sheet.rows:
                sheet.move_rows(at, n, to)
            case "sort":
                sheet.sort(Area(0, 0), 0, ascending=bool(to % 2))
    rows = [pair for pair in shown(sheet, sheet.rows, 2) if any(pair)]
    assert all(id_ == f"id{letter}" for letter, id_ in rows)
    assert len({letter for letter, _ in rows}) == len(rows) == 8 - deleted
