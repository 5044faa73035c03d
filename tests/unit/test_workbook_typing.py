"""What typing a text into a cell leaves there, and what numbers show under their formats."""

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.workbook import Formula, Workbook, display, parse_user_entered, read_typed


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ("", None),
        ("a fox in the snow", "a fox in the snow"),
        ("=IMAGE(A1)", Formula("=IMAGE(A1)")),
        ("=", "="),
        ("'=1+1", "=1+1"),
        ("'007", "007"),
        ("+1", 1.0),
        ("-5", -5.0),
        ("+1girl", Formula("=+1girl")),
        ("-no hands", Formula("=-no hands")),
        ("@home", Formula("=@home")),
        ("-", "-"),
        ("00123", 123.0),
        ("1,234.5", 1234.5),
        ("1,23", "1,23"),
        ("12%", 0.12),
        ("1e3", 1000.0),
        ("e3", "e3"),
        ("1e999", "1e999"),
        (" 5 ", 5.0),
        ("true", True),
        ("FALSE", False),
        ("1024x1024", "1024x1024"),
        ("13/45", "13/45"),
        ("2026-11-21T10:00:00Z", "2026-11-21T10:00:00Z"),
        ("2026-11-21", 46347.0),
        ("11/21/26", 46347.0),
        ("6:00", 0.25),
    ],
)
def test_typing_reads_a_text(typed: str, value: Any) -> None:
    """Formulas, numbers, dates and booleans are recognised; an apostrophe keeps text."""
    assert parse_user_entered(typed) == value


def test_a_date_without_a_year_is_of_this_year() -> None:
    """1/2 is January 2, not one half."""
    assert read_typed("1/2", today=date(2026, 11, 21)).value == 46024.0


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("1/2/2026", "1/2/2026"),
        ("2026-1-2 3:04:05", "2026-01-02 3:04:05"),
        ("15:30", "3:30:00 PM"),
        ("12%", "12%"),
        ("$1,200.50", "$1,200.50"),
        ("1,200", "1,200"),
        ("0.1", "0.1"),
        ("true", "TRUE"),
    ],
)
def test_a_typed_value_is_shown_in_the_format_it_was_typed_in(typed: str, shown: str) -> None:
    """Typing a date, percent or amount also sets the cell's number format."""
    sheet = Workbook("b", "Book").add_sheet("S")
    sheet.enter(0, 0, typed)
    assert sheet.cell(0, 0).formatted == shown


def test_a_plain_text_cell_takes_what_is_typed_as_text() -> None:
    """With the format "plain text" numbers and dates stay as typed."""
    sheet = Workbook("b", "Book").add_sheet("S")
    sheet.set_cell(0, 0, format={"numberFormat": {"type": "TEXT"}})
    for typed in ("007", "1/2", "+1girl"):
        sheet.enter(0, 0, typed)
        assert sheet.cell(0, 0).user_entered == typed


@pytest.mark.parametrize(
    ("value", "pattern", "shown"),
    [
        (5.0, None, "5"),
        (0.1 + 0.2, None, "0.3"),
        (1 / 3, None, "0.3333333333"),
        (123456789012345.0, None, "123456789012345"),
        (1234567890123456.0, None, "1.23457E+15"),
        (0.0000012, None, "1.2E-06"),
        (1234.5, "#,##0.00", "1,234.50"),
        (0.256, "0%", "26%"),
        (5.0, "0.##", "5"),
        (12.0, '0" px"', "12 px"),
        (46347.4392, "yyyy-mm-dd hh:mm:ss", "2026-11-21 10:32:26"),
        (46347.4392, 'mmm d, yyyy "at" h:mm am/pm', "Nov 21, 2026 at 10:32 AM"),
        (46347.75, "dddd, mmmm dd", "Saturday, November 21"),
        (1320734731.0, "yyyy-mm-dd hh:mm:ss", "1320734731"),
        (-4e6, "yyyy-mm-dd", "-4000000"),
    ],
)
def test_a_number_is_shown_by_its_format(value: float, pattern: str | None, shown: str) -> None:
    """Automatic shows up to 15 digits of a whole number; patterns cover numbers, percents, dates and times."""
    assert display(value, pattern) == shown


@given(st.text(max_size=30))
def test_any_text_can_be_typed_and_shown(text: str) -> None:
    """No text breaks the cell, and only =, +, - and @ can begin a formula."""
    sheet = Workbook("b", "Book").add_sheet("S", rows=1, cols=1)
    sheet.enter(0, 0, text)
    cell = sheet.cell(0, 0)
    assert isinstance(cell.formatted, str)
    assert cell.formula is None or text[0] in "=+-@"


@given(st.floats(-1e15, 1e15).map(lambda number: round(number, 3)))
def test_a_shown_number_can_be_typed_again(number: float) -> None:
    """Automatic format and typing agree to ten significant digits."""
    again = parse_user_entered(display(number, None))
    assert isinstance(again, float)
    assert again == pytest.approx(number, rel=1e-5)
