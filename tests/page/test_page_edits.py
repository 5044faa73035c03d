"""Edits as in Sheets: cut, copy, paste, rows and columns, filters, filter views, and undo of one's own."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.page.alone import FRUITS, Alone, cell, names, opened, press_menu, row_header, shows
from tests.page.rich import PROMPT, STATUS, enrich
from tests.waiting import until

CONTROL = "ControlOrMeta"


def column_header(page: Page, letter: str) -> Locator:
    return page.locator(".tabulator-col", has_text=re.compile(rf"^{letter}$"))


def becomes(alone: Alone, wanted: list[str]) -> bool:
    return until(alone.book, lambda: names(alone.sheet) == wanted, 20)


def test_cells_are_copied_and_cut(page: Page, alone: Alone) -> None:
    """Ctrl+C and Ctrl+V copy with format; Ctrl+X moves; a copied row is pasted as a row."""
    alone.sheet.set_cell(1, 0, format={"textFormat": {"bold": True}})
    cell(page, 2, 0).click()
    page.keyboard.press(f"{CONTROL}+c")
    cell(page, 2, 2).click()
    page.keyboard.press(f"{CONTROL}+v")
    shows(page, 2, 2, "fig")
    assert alone.sheet.cell(1, 2).format == {"textFormat": {"bold": True}}
    page.keyboard.press(f"{CONTROL}+x")
    cell(page, 4, 3).click()
    page.keyboard.press(f"{CONTROL}+v")
    shows(page, 4, 3, "fig")
    shows(page, 2, 2, "")
    row_header(page, 4).click()
    page.keyboard.press(f"{CONTROL}+c")
    row_header(page, 9).click()
    page.keyboard.press(f"{CONTROL}+v")
    shows(page, 9, 0, "elder")
    shows(page, 9, 3, "fig")


def test_text_from_elsewhere_is_typed(page: Page, alone: Alone) -> None:
    """Lines and tabs from another program become rows and columns, read as if typed."""
    cell(page, 10, 1).click()
    page.evaluate(
        """() => { const data = new DataTransfer(); data.setData('text/plain', 'a\\t1\\nb\\t2');
        document.dispatchEvent(new ClipboardEvent('paste', { clipboardData: data, bubbles: true })); }"""
    )
    shows(page, 11, 2, "2")
    assert alone.sheet.cell(9, 1).user_entered == "a"
    assert alone.sheet.cell(10, 2).user_entered == 2.0


@pytest.mark.parametrize(
    ("label", "wanted"),
    [
        ("Insert 2 rows above", ["Name", "fig", "", "", "apple", "elder", "banana"]),
        ("Delete rows 3 – 4", ["Name", "fig", "banana", "date", "cherry", "", ""]),
        ("Move rows up", ["Name", "apple", "elder", "fig", "banana", "date", "cherry"]),
        ("Move rows down", ["Name", "fig", "banana", "apple", "elder", "date", "cherry"]),
    ],
)
def test_selected_rows_change_together(page: Page, alone: Alone, label: str, wanted: list[str]) -> None:
    """The row menu acts on all selected rows; Ctrl+Z takes it back, Ctrl+Shift+Z does it again."""
    row_header(page, 3).click()
    row_header(page, 4).click(modifiers=["Shift"])
    row_header(page, 4).click(button="right")
    page.get_by_role("menuitem", name=label).click()
    assert becomes(alone, wanted)
    page.keyboard.press(f"{CONTROL}+z")
    assert becomes(alone, list(FRUITS))
    page.keyboard.press(f"{CONTROL}+Shift+z")
    assert becomes(alone, wanted)


def test_cells_shift_up_when_some_are_deleted(page: Page, alone: Alone) -> None:
    """Delete cells and shift up; insert cells and shift down."""
    cell(page, 3, 0).click(button="right")
    page.get_by_role("menuitem", name="Delete cells and shift up").click()
    assert becomes(alone, ["Name", "fig", "elder", "banana", "date", "cherry", ""])
    cell(page, 3, 0).click(button="right")
    page.get_by_role("menuitem", name="Insert cells and shift down").click()
    assert becomes(alone, ["Name", "fig", "", "elder", "banana", "date", "cherry"])


def test_columns_are_inserted_and_moved(page: Page, alone: Alone) -> None:
    """The column menu inserts at the left and moves to the right."""
    column_header(page, "A").click(button="right")
    page.get_by_role("menuitem", name="Insert 1 column left").click()
    shows(page, 2, 1, "fig")
    column_header(page, "B").click(button="right")
    page.get_by_role("menuitem", name="Move column right").click()
    shows(page, 2, 2, "fig")


def test_undo_takes_back_ones_own_edits_only(chromium: Browser, page: Page, alone: Alone) -> None:
    """What somebody else typed after it stays when one undoes; without edits of one's own there is nothing."""
    cell(page, 2, 0).click()
    page.keyboard.type("mine")
    page.keyboard.press("Enter")
    shows(page, 2, 0, "mine")
    with opened(chromium, f"{alone.url}/?user=second@example.com") as second:
        shows(second, 2, 0, "mine")
        second.keyboard.press(f"{CONTROL}+z")
        expect(second.locator(".toast")).to_contain_text("nothing to undo")
        cell(second, 3, 0).click()
        second.keyboard.type("theirs")
        second.keyboard.press("Enter")
        shows(page, 3, 0, "theirs")
    page.keyboard.press(f"{CONTROL}+z")
    shows(page, 2, 0, "fig")
    shows(page, 3, 0, "theirs")


def test_the_filter_hides_values_for_everybody(page: Page, alone: Alone) -> None:
    """The funnel of a header lists the values with their numbers; what is not ticked is hidden, on the server too."""
    press_menu(page, "Create a filter", "Data")
    cell(page, 1, 0).locator(".funnel").click()
    dialog = page.get_by_role("dialog", name="Filter by Name")
    dialog.get_by_label("banana").uncheck()
    dialog.get_by_role("button", name="Apply").click()
    expect(row_header(page, 5)).to_have_count(0)
    assert alone.sheet.hidden_rows("filter") == {4}
    expect(cell(page, 1, 0).locator(".funnel.on")).to_be_visible()
    cell(page, 1, 0).locator(".funnel").click()
    page.get_by_role("button", name="Sort Z to A").click()
    assert becomes(alone, ["Name", "fig", "elder", "date", "cherry", "banana", "apple"])
    press_menu(page, "Remove filter", "Data")
    shows(page, 6, 0, "banana")
    assert alone.sheet.hidden_rows() == set()


def test_a_filter_view_is_ones_own(chromium: Browser, alone: Alone) -> None:
    """A filter view hides rows on this page alone; the bar above says so and closes it."""
    enrich(alone)
    with opened(chromium, alone.url) as page:
        shows(page, 6, STATUS, "error")
        page.get_by_role("button", name="Filter views", exact=True).click()
        page.get_by_role("menuitemradio", name="Failed").click()
        expect(row_header(page, 2)).to_have_count(0)
        shows(page, 6, STATUS, "error")
        expect(page.get_by_role("region", name="Filter view")).to_contain_text("Failed")
        assert alone.sheet.hidden_rows() == set()
        row_header(page, 6).click()
        press_menu(page, "Say what is selected")
        assert until(alone.book, lambda: alone.sheet.cell(0, 5).formatted == "rows 6-6", 20)
        page.get_by_role("button", name="Close the filter view").click()
        shows(page, 2, PROMPT, "prompt number 1, in some words")


def test_the_header_stays_in_sight(page: Page, alone: Alone) -> None:
    """The frozen row lies over the grid's top once it is scrolled away."""
    alone.sheet.enter(140, 0, "far below")
    expect(page.get_by_role("grid")).to_have_attribute("aria-rowcount", "200")
    expect(page.locator(".frozen")).to_have_count(0)
    page.locator("#where").fill("A120")
    page.locator("#where").press("Enter")
    expect(page.locator(".frozen")).to_contain_text("Name")
