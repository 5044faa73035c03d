"""Validations that judge typing, filters that hide rows, protections that stop people."""

from typing import Any

import pytest

from sandbox.workbook import OPEN, Area, Cell, FilterView, Protected, Refused, Workbook
from sandbox.workbook_conditions import fulfils
from tests.unit.test_workbook import a_book, column


def rule(kind: str, *values: str, **more: Any) -> dict[str, Any]:
    """A DataValidationRule of the API."""
    return {"condition": {"type": kind, "values": [{"userEnteredValue": one} for one in values]}, **more}


def test_typing_what_a_strict_validation_rejects_is_refused() -> None:
    """In Google's words, or in the rule's own; the cell stays as it was, and clearing it is always allowed."""
    _, sheet = a_book(("pending",))
    sheet.set_cell(0, 0, validation=rule("ONE_OF_LIST", "pending", "done", strict=True))
    with pytest.raises(ValueError, match=r"cell A1 violates .* one of the following values: pending, done\."):
        sheet.enter(0, 0, "finished")
    assert sheet.cell(0, 0).formatted == "pending"
    sheet.enter(0, 0, "done")
    sheet.set_cell(0, 0, validation=rule("ONE_OF_LIST", "pending", strict=True, inputMessage="Set it to pending."))
    with pytest.raises(Refused, match="Set it to pending"):
        sheet.enter(0, 0, "x")
    sheet.enter(0, 0, "")
    assert sheet.row_cells(0)[0].user_entered is None


def test_a_validation_that_warns_and_the_api_let_everything_pass() -> None:
    """Only strict rules reject, and only people and scripts."""
    book, sheet = a_book()
    sheet.set_cell(0, 0, validation=rule("NUMBER_BETWEEN", "1", "10"))
    sheet.enter(0, 0, "11")
    sheet.set_cell(0, 1, validation=rule("NUMBER_BETWEEN", "1", "10", strict=True))
    with book.editing("api"):
        sheet.enter(0, 1, "11")
    with book.editing("script"), pytest.raises(ValueError, match="cell B1 violates"):
        sheet.enter(0, 1, "12")
    assert [sheet.cell(0, col).user_entered for col in range(2)] == [11.0, 11.0]


def test_a_checkbox_takes_true_and_false_alone() -> None:
    """Typed in any case; anything else is refused."""
    _, sheet = a_book()
    sheet.set_cell(0, 0, False, validation={"condition": {"type": "BOOLEAN"}, "strict": True})
    sheet.enter(0, 0, "true")
    assert sheet.cell(0, 0).user_entered is True
    with pytest.raises(ValueError, match="violates the data validation rules"):
        sheet.enter(0, 0, "yes")


@pytest.mark.parametrize(
    ("value", "kind", "values", "said"),
    [
        (5.0, "NUMBER_GREATER_THAN_EQ", ["5"], True),
        (5.0, "NUMBER_GREATER", ["5"], False),
        (5.0, "NUMBER_NOT_BETWEEN", ["1", "10"], False),
        ("5", "NUMBER_EQ", ["5"], False),
        (5.0, "NUMBER_EQ", ["=A1"], None),
        ("A Fox", "TEXT_CONTAINS", ["fox"], True),
        ("done", "TEXT_EQ", ["DONE"], True),
        ("done", "TEXT_STARTS_WITH", ["on"], False),
        (None, "BLANK", [], True),
        (None, "NOT_BLANK", [], False),
        (5.0, "ONE_OF_LIST", ["5"], True),
        ("https://x.example/a", "TEXT_IS_URL", [], True),
        ("x", "TEXT_IS_URL", [], False),
        ("x", "CUSTOM_FORMULA", ["=TRUE"], None),
    ],
)
def test_conditions_are_judged(value: Any, kind: str, values: list[str], said: bool | None) -> None:
    """Numbers by number, texts without case, lists by what is shown; formulas cannot be judged."""
    assert fulfils(Cell(value), rule(kind, *values)["condition"]) is said


def test_a_filter_hides_rows_by_their_values() -> None:
    """Two columns together; the header is never hidden; an edit alone hides and shows nothing."""
    _, sheet = a_book(("S", "N"), ("done", 1), ("pending", 2), ("", 3), ("pending", 1))
    sheet.set_filter(Area(0, 0, 5, 2))
    sheet.filter_by_values(0, ["done", "S", ""])
    assert sheet.hidden_rows(by="filter") == {1, 3}
    sheet.filter_by_values(1, ["1"])
    assert sheet.hidden_rows("filter") == {1, 3, 4}
    sheet.enter(2, 0, "done")
    assert sheet.hidden_rows("filter") == {1, 3, 4}
    sheet.refilter()
    assert sheet.hidden_rows("filter") == {1, 2, 3, 4}
    sheet.filter_by_values(0, [])
    assert sheet.hidden_rows("filter") == {1, 4}
    with pytest.raises(Refused):
        sheet.filter_by_values(5, ["x"])
    sheet.clear_filter()
    assert (sheet.hidden_rows(), sheet.filter_criteria) == (set(), {})


def test_sorting_through_the_filter_takes_hidden_rows_along_and_filters_anew() -> None:
    """The header stays; rows are hidden by their values, wherever these come to stand."""
    _, sheet = a_book(("H", "S"), ("c", "x"), ("a", ""), ("b", "x"), ("below", "x"))
    sheet.set_filter(Area(0, 0, 4, 2))
    sheet.filter_by_values(1, ["x"])
    assert sheet.hidden_rows("filter") == {1, 3}
    sheet.sort_filter(0, ascending=False)
    assert [sheet.cell(row, 0).formatted for row in range(5)] == ["H", "c", "b", "a", "below"]
    assert sheet.hidden_rows("filter") == {1, 2}


def test_criteria_follow_their_columns() -> None:
    """Also those of saved filters; a deleted column takes its criteria along."""
    _, sheet = a_book(("A", "B", "C"), ("1", "2", "3"))
    hide = {"hiddenValues": ["x"]}
    sheet.set_filter(Area(0, 0, 2, 3), {1: hide})
    sheet.filter_views = [FilterView(1, "To do", Area(0, 0, OPEN, 3), {1: hide, 2: hide}, ((1, True),))]
    sheet.move_cols(1, 1, 0)
    assert (sheet.filter_criteria, sheet.filter_views[0].sorting) == ({0: hide}, ((0, True),))
    sheet.delete_cols(0)
    assert (sheet.filter_criteria, sheet.filter_views[0].criteria) == ({}, {1: hide})


def test_a_protection_stops_who_is_not_its_editor() -> None:
    """Typing, sorting, deleting, moving; the owner and the editors go on; a warning stops nobody."""
    book, sheet = a_book(("b",), ("a",))
    sheet.protected = [Protected(1, Area(0, 0, OPEN, 1), warning_only=False, editors=("ed@example.com",))]
    deeds: list[Any] = [
        lambda: sheet.enter(0, 0, "x"),
        lambda: sheet.set_cell(0, 0, note="x"),
        lambda: sheet.sort(Area(0, 0, 2), 0),
        lambda: sheet.delete_rows(0),
        lambda: sheet.move_cols(0, 1, 3),
    ]
    for deed in deeds:
        with book.editing("person", "stranger@example.com"), pytest.raises(Refused, match="protected cell or object"):
            deed()
    assert column(sheet, 2) == "ba"
    with book.editing("person", "stranger@example.com"):
        sheet.enter(0, 1, "beside")
    with book.editing("person", "ed@example.com"):
        sheet.enter(0, 0, "ed")
    with book.editing("person"):
        sheet.enter(1, 0, "owner")
    assert [sheet.cell(row, 0).formatted for row in range(2)] == ["ed", "owner"]


def test_new_parts_are_kept_over_a_restart() -> None:
    """Filters, saved filters, tab colour, mirrored protections and metadata of a script."""
    book, sheet = a_book(("S",), ("x",))
    sheet.set_filter(Area(0, 0), {0: {"hiddenValues": ["x"]}})
    sheet.filter_views = [FilterView(3, "Failed", Area(0, 0, OPEN, 2), {1: {"hiddenValues": []}}, ((1, False),))]
    sheet.tab_color = "#123456"
    sheet.protected = [Protected(4, Area(0, 0, 1, 1), "d", False, ("e@x",), True)]
    again = Workbook.from_json(book.to_json()).sheets[0]
    assert (again.basic_filter, again.filter_criteria, again.filter_views, again.tab_color, again.protected) == (
        sheet.basic_filter, sheet.filter_criteria, sheet.filter_views, sheet.tab_color, sheet.protected,
    )  # fmt: skip
    assert again.hidden_rows("filter") == sheet.hidden_rows("filter") != set()
