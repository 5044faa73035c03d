"""The page is for everybody: axe-core finds nothing serious, the keyboard reaches all, 10,000 rows do not freeze it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.page.alone import Alone, cell, opened, press_menu, shows
from tests.page.axe import axe
from tests.page.rich import PROMPT, STEPS, WORKFLOW, enrich


@pytest.fixture(params=["light", "dark"])
def page(chromium: Browser, alone: Alone, request: pytest.FixtureRequest) -> Iterator[Page]:
    """Open a sheet that has been set up, by day and by night."""
    enrich(alone)
    with opened(chromium, alone.url, color_scheme=request.param) as page:
        shows(page, 9, PROMPT, "prompt number 8, in some words")
        yield page


def test_axe_finds_nothing_serious_on_the_sheet(page: Page) -> None:
    """Grid with rules, colours and notes; sidebar, sandbox panel, filter and list of choices open."""
    assert axe(page) == []
    press_menu(page, "Show sidebar")
    page.frame_locator("#sidebar iframe").locator("h1").wait_for()
    page.get_by_text("Sandbox", exact=True).click()
    cell(page, 4, STEPS).click()
    expect(page.get_by_role("tooltip")).to_be_visible()
    assert axe(page) == []
    page.get_by_text("Sandbox", exact=True).click()
    cell(page, 1, STEPS).locator(".funnel").click()
    expect(page.get_by_role("dialog", name="Filter by Steps")).to_be_visible()
    assert axe(page) == []
    page.keyboard.press("Escape")
    cell(page, 2, WORKFLOW).locator(".arrow").click()
    expect(page.get_by_role("listbox", name="Choices")).to_be_visible()
    assert axe(page) == []


def test_axe_finds_nothing_serious_in_dialogs_and_menus(page: Page) -> None:
    """The script's dialog, an alert, the menu of a cell."""
    press_menu(page, "Show dialog")
    page.frame_locator("dialog.html iframe").locator("h1").wait_for()
    assert axe(page) == []
    page.keyboard.press("Escape")
    cell(page, 2, PROMPT).click(button="right")
    expect(page.get_by_role("menu", name="Cell")).to_be_visible()
    assert axe(page) == []
    page.keyboard.press("Escape")
    press_menu(page, "Ask twice")
    expect(page.get_by_role("dialog")).to_contain_text("This asks.")
    assert axe(page) == []


def test_axe_would_tell(page: Page) -> None:
    """The check can fail: a button without a name is found, and a frame is looked into when it is asked for."""
    page.evaluate("document.querySelector('#share').textContent = ''")
    assert [line.split()[0] for line in axe(page)] == ["button-name"]


def test_the_keyboard_reaches_every_part(page: Page) -> None:
    """F6 goes round menus, formula bar, grid and tabs; the menu of a cell opens with Shift and F10."""
    cell(page, 2, PROMPT).click()
    seen = []
    for _ in range(4):
        page.keyboard.press("F6")
        seen.append(page.evaluate("document.activeElement.closest('#menus, #bar, #grid, #tabs').id"))
    assert seen == ["tabs", "menus", "bar", "grid"]
    page.keyboard.press("Shift+F10")
    expect(page.get_by_role("menuitem", name="Cut")).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("menuitem", name="Copy")).to_be_focused()
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.closest('#grid') !== null")


def test_the_active_cell_is_told_to_assistive_technology(page: Page) -> None:
    """The grid points to the cell that is active; the row and the column have their numbers."""
    cell(page, 3, WORKFLOW).click()
    page.keyboard.press("ArrowDown")
    told = page.evaluate(
        """() => document.getElementById(
        document.activeElement.getAttribute('aria-activedescendant')).getAttribute('tabulator-field')"""
    )
    assert told == f"c{WORKFLOW}"


def test_ten_thousand_rows_do_not_freeze_the_page(chromium: Browser, alone: Alone) -> None:
    """With 10,000 rows the page opens, scrolls to the end, selects a column and moves on without a long halt."""
    sheet = alone.sheet
    with alone.book.editing("person"):
        sheet.insert_rows(1000, 9500)
        for row in range(1, 10_000):
            for column in range(8):
                sheet.set_cell(row, column, f"row {row} column {column}")
    with opened(chromium, alone.url) as page:
        shows(page, 7, 0, "row 6 column 0")
        page.evaluate(
            """() => { window.longest = 0; new PerformanceObserver((list) => list.getEntries().forEach(
            (entry) => (window.longest = Math.max(window.longest, entry.duration)))).observe({ type: 'longtask' }); }"""
        )
        cell(page, 3, 1).click()
        for _ in range(5):
            page.keyboard.press("ArrowDown")
        expect(page.locator("#where")).to_have_value("B8")
        page.locator("#where").fill("A9999")
        page.locator("#where").press("Enter")
        shows(page, 9999, 0, "row 9998 column 0")
        page.locator('.tabulator-col[tabulator-field="c2"]').click()
        expect(page.locator("#where")).to_have_value("C1")
        assert page.locator(".tabulator-row").count() < 200
        assert page.evaluate("window.longest") < 3000
