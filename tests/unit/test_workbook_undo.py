"""Undo and redo: a person's own steps, whatever others did meanwhile."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.workbook import OPEN, Area, Protected, Sheet, Workbook
from tests.sizes import examples
from tests.unit.test_workbook import a_book, column, shown

ANN, BOB = "ann@example.com", "bob@example.com"


def state(book: Workbook) -> Any:
    """Give everything that a person sees, without what only ever counts up."""
    kept = book.to_json()
    return {name: part for name, part in kept.items() if name not in ("version", "next_id")}


def test_undo_takes_back_ones_own_step_and_redo_does_it_again() -> None:
    """A step is everything within one `editing`; a new edit ends what could be redone."""
    book, sheet = a_book(("a", "b"))
    with book.editing("person", ANN):
        sheet.enter(0, 0, "x")
        sheet.set_cell(0, 1, note="why")
    assert book.undoable(ANN) == (1, 0)
    assert book.undo(ANN) and shown(sheet, 1, 2) == [["a", "b"]] and sheet.cell(0, 1).note is None
    assert not book.undo(ANN)
    assert book.redo(ANN) and (shown(sheet, 1, 2), sheet.cell(0, 1).note) == ([["x", "b"]], "why")
    book.undo(ANN)
    with book.editing("person", ANN):
        sheet.enter(0, 1, "new")
    assert not book.redo(ANN)


def test_each_person_has_steps_of_their_own_and_scripts_have_none() -> None:
    """Ann's undo leaves Bob's typing, the script's and the API's."""
    book, sheet = a_book(("", "", "", ""))
    for at, (who, user) in enumerate((("person", ANN), ("person", BOB), ("script", ANN), ("api", None))):
        with book.editing(who, user):  # type: ignore[arg-type]
            sheet.enter(0, at, f"by {at}")
    assert book.undo(ANN) and not book.undo(ANN)
    assert shown(sheet, 1, 4) == [["", "by 1", "by 2", "by 3"]]
    assert book.undo(BOB) and shown(sheet, 1, 4) == [["", "", "by 2", "by 3"]]


def test_undoing_a_sort_keeps_what_was_written_since() -> None:
    """The rows go back to their old order with the values that they got meanwhile."""
    book, sheet = a_book(("id", "status"), ("c", ""), ("a", ""), ("b", ""))
    with book.editing("person", ANN):
        sheet.sort(Area(1, 0, 4, OPEN), 0)
    with book.editing("api"):
        sheet.set_cell(1, 1, "done")  # the row of a
    book.undo(ANN)
    assert shown(sheet, 4, 2) == [["id", "status"], ["c", ""], ["a", "done"], ["b", ""]]
    book.redo(ANN)
    assert shown(sheet, 4, 2) == [["id", "status"], ["a", "done"], ["b", ""], ["c", ""]]


def test_undoing_a_deleted_row_brings_it_back_where_it_belongs() -> None:
    """Contents, height and note return, between the neighbours, although rows came in above."""
    book, sheet = a_book(("a",), ("b",), ("c",))
    sheet.set_cell(1, 0, note="n")
    sheet.set_dimension("ROWS", 1, 1, pixel_size=120)
    with book.editing("person", ANN):
        sheet.delete_rows(1)
    with book.editing("person", BOB):
        sheet.insert_rows(0, 2)
    book.undo(ANN)
    assert column(sheet, 5) == "..abc"
    assert (sheet.cell(3, 0).note, sheet.row_heights, sheet.rows) == ("n", {3: 120}, 22)
    book.redo(ANN)
    assert column(sheet, 4) == "..ac"


def test_undoing_a_typing_finds_its_cell_wherever_it_is_by_now() -> None:
    """Bob moved the column and sorted; Ann's undo still takes back her word, and only that part of the cell."""
    book, sheet = a_book(("h", "k"), ("old", 2), ("other", 1))
    with book.editing("person", ANN):
        sheet.enter(1, 0, "new")
    with book.editing("person", BOB):
        sheet.move_cols(0, 1, 2)
        sheet.sort(Area(1, 0, 3, OPEN), 0)
        sheet.set_cell(2, 1, note="Bob's")
    assert shown(sheet, 3, 2) == [["k", "h"], ["1", "other"], ["2", "new"]]
    book.undo(ANN)
    assert (shown(sheet, 3, 2)[2], sheet.cell(2, 1).note) == (["2", "old"], "Bob's")


def test_what_is_gone_meanwhile_is_left_out() -> None:
    """Undoing an edit of a row that somebody deleted does nothing, and does not fail."""
    book, sheet = a_book(("a",), ("b",))
    with book.editing("person", ANN):
        sheet.enter(0, 0, "x")
        sheet.enter(1, 0, "y")
    with book.editing("api"):
        sheet.delete_rows(0)
    assert book.undo(ANN) and column(sheet, 2) == "b."


def test_tabs_titles_and_filters_are_undone() -> None:
    """A deleted tab comes back in its place with all that is in it."""
    book, sheet = a_book(("Status",), ("done",), ("x",))
    other = book.add_sheet("Other")
    deeds: list[Any] = [
        lambda: book.rename_sheet(sheet.gid, "Queue"),
        lambda: sheet.set_filter(Area(0, 0)),
        lambda: sheet.filter_by_values(0, ["done"]),
        lambda: sheet.freeze(rows=1),
        lambda: book.delete_sheet(sheet.gid),
    ]
    states = [state(book)]
    for deed in deeds:
        with book.editing("person", ANN):
            deed()
        states.append(state(book))
    assert [one.title for one in book.sheets] == ["Other"]
    for before in reversed(states[:-1]):
        assert book.undo(ANN) and state(book) == before
    for after in states[1:]:
        assert book.redo(ANN) and state(book) == after
    assert book.sheets == [other]


def test_a_failed_edit_leaves_nothing_to_undo() -> None:
    """What `atomic` took back is not on the stack, and a sort within it moved nobody's steps."""
    book, sheet = a_book(("b",), ("a",))
    with book.editing("person", ANN):
        sheet.enter(0, 0, "z")
    with pytest.raises(IndexError), book.atomic("person", BOB):
        sheet.sort(Area(0, 0, 2), 0)
        sheet.enter(99, 0, "outside")
    assert (book.undoable(ANN), book.undoable(BOB)) == ((1, 0), (0, 0))
    book.undo(ANN)
    assert column(sheet, 2) == "ba"


def test_the_stack_keeps_the_last_hundred_steps() -> None:
    """Older ones cannot be undone any more."""
    book, sheet = a_book(("0",))
    for number in range(120):
        with book.editing("person", ANN):
            sheet.enter(0, 0, str(number + 1))
    while book.undo(ANN):
        pass
    assert sheet.cell(0, 0).formatted == "20"


Edit = tuple[str, int, int, int]
edits: st.SearchStrategy[list[Edit]] = st.lists(
    st.tuples(
        st.sampled_from(
            ["type", "note", "insert_rows", "insert_cols", "delete_rows", "delete_cols", "move_rows", "move_cols",
             "sort", "cut", "copy", "clear", "hide", "freeze", "filter", "sort_filter", "protect", "add_tab", "rename"]
        ),
        st.integers(0, 5), st.integers(0, 5), st.integers(0, 5),
    ),
    max_size=12,
)  # fmt: skip


def do(book: Workbook, sheet: Sheet, edit: Edit) -> None:
    """Do what the generator wished, as far as the grid allows."""
    kind, a, b, c = edit
    rows, cols = sheet.rows, sheet.cols
    row, other, col = a % rows, b % rows, c % cols
    n = min(1 + b % 2, rows - row)
    match kind:
        case "type":
            sheet.enter(row, col, f"t{b}")
        case "note":
            sheet.set_cell(row, col, note=f"n{b}", format={"backgroundColor": {"red": 1}})
        case "insert_rows":
            sheet.insert_rows(row, 1 + c % 2, inherit="after")
        case "insert_cols":
            sheet.insert_cols(col, 1)
        case "delete_rows" if rows > 3:
            sheet.delete_rows(row, min(n, rows - 1))
        case "delete_cols" if cols > 2:
            sheet.delete_cols(col)
        case "move_rows":
            sheet.move_rows(row, n, other)
        case "move_cols":
            sheet.move_cols(col, 1, b % cols)
        case "sort":
            sheet.sort(Area(min(row, other), 0, max(row, other) + 1, OPEN), col, ascending=b % 2 == 0)
        case "cut":
            sheet.cut_paste(Area(row, col, row + 1, col + 1), (other, col))
        case "copy":
            sheet.copy_row(row, other)
        case "clear":
            sheet.clear(Area(row, 0, row + 1))
        case "hide":
            sheet.hide_rows(row)
        case "freeze":
            sheet.freeze(rows=a % 3, cols=b % 2)
        case "filter":
            sheet.set_filter(Area(0, 0, max(2, other), OPEN), {col: {"hiddenValues": [f"t{a}", ""]}})
        case "sort_filter" if sheet.basic_filter and sheet.basic_filter.left <= col < sheet.basic_filter.right:
            sheet.sort_filter(col, ascending=b % 2 == 0)
        case "protect":
            sheet.change(lambda: sheet.protected.append(Protected(7, Area(row, col, row + 1, col + 1))))
        case "add_tab":
            book.add_sheet(f"Tab {book.new_id()}")
        case "rename":
            book.rename_sheet(sheet.gid, f"Name {book.new_id()}")


@settings(max_examples=examples(80), deadline=None)
@given(edits)
def test_undoing_everything_brings_the_beginning_back(wishes: list[Edit]) -> None:
    """Whatever one person did, undoing it all ends where it began, and redoing it all where it ended."""
    book, sheet = a_book(("b", 2, "x"), ("a", 1, "y"), ("c", 3, "z"), ("d", 0, ""), grid=(6, 4))
    states = [state(book)]
    for wish in wishes:
        with book.editing("person", ANN):
            do(book, sheet, wish)
        if book.undoable(ANN)[0] == len(states):
            states.append(state(book))
    for before in reversed(states[:-1]):
        assert book.undo(ANN) and state(book) == before
    for after in states[1:]:
        assert book.redo(ANN) and state(book) == after


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(st.tuples(st.sampled_from([ANN, BOB, "api", "undo", "redo"]), edits), max_size=8))
def test_undo_among_others_never_loses_a_row_of_theirs(story: list[tuple[str, list[Edit]]]) -> None:
    """Two people and the API in any order, with undo and redo between: nothing fails, and cells stay in the grid."""
    book, sheet = a_book(("b", 2), ("a", 1), ("c", 3), grid=(6, 4))
    for who, wishes in story:
        for wish in wishes[:3]:
            if who in ("undo", "redo"):
                (book.undo if who == "undo" else book.redo)(ANN)
                continue
            with book.editing("api" if who == "api" else "person", None if who == "api" else who):
                do(book, sheet, wish)
        for row in range(sheet.rows):
            assert all(0 <= col < sheet.cols for col in sheet.row_cells(row))
        for axis, size in (("ROWS", sheet.rows), ("COLUMNS", sheet.cols)):
            assert len(set(sheet.ids(axis))) == size  # type: ignore[arg-type]
    state(book)
