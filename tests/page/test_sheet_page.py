"""Use the sandbox's sheet as a person does, in a real Chromium, with the whole line behind it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from sandbox.example import HEADERS
from sandbox.world import World
from tests.page.alone import opened
from tests.waiting import until

PATIENCE_MS = 60_000


@pytest.fixture
def page(chromium: Browser, world: World) -> Iterator[Page]:
    """Open the sheet that has the whole line behind it; any error in the page fails the test."""
    with opened(chromium, world.server.url) as page:
        page.set_viewport_size({"width": 1440, "height": 900})
        page.locator(".tabulator-row").nth(5).wait_for()
        yield page


def row(page: Page, number: int) -> Locator:
    """Give the row that shows *number* at its left."""
    header = page.locator(".tabulator-cell.tabulator-row-header", has_text=re.compile(rf"^{number}$"))
    return page.locator(".tabulator-row", has=header)


def row_header(page: Page, number: int) -> Locator:
    return row(page, number).locator(".tabulator-row-header")


def cell(page: Page, number: int, header: str) -> Locator:
    return row(page, number).locator(f'[tabulator-field="c{HEADERS.index(header)}"]')


def press_menu(page: Page, label: str) -> None:
    page.get_by_role("button", name="ComfySheet").click()
    page.get_by_role("menuitem", name=label).click()


def test_a_cell_is_edited_in_place(page: Page, world: World) -> None:
    """Double click, type, Enter: the workbook has the new value and the page shows it."""
    cell(page, 20, "Prompt").dblclick()
    page.keyboard.type("typed here")
    page.keyboard.press("Enter")
    expect(cell(page, 20, "Prompt")).to_have_text("typed here")
    assert world.book.sheets[0].cell(19, 0).user_entered == "typed here"


def test_escape_leaves_the_cell_as_it_was(page: Page, world: World) -> None:
    """Escape ends editing without a change."""
    before = world.book.version
    cell(page, 2, "Prompt").dblclick()
    page.keyboard.type("nonsense")
    page.keyboard.press("Escape")
    expect(cell(page, 2, "Prompt")).to_contain_text("a red fox")
    assert world.book.version == before


def test_another_hand_shows_at_once(page: Page, world: World) -> None:
    """What somebody else writes appears without a reload."""
    sheet = world.book.sheets[0]
    with world.book.editing("api"):
        sheet.set_cell(21, 0, "written elsewhere")
    expect(cell(page, 22, "Prompt")).to_have_text("written elsewhere")


def test_rows_are_inserted_and_deleted_by_the_row_menu(page: Page, world: World) -> None:
    """The context menu of a row inserts above it and deletes it."""
    row_header(page, 20).click(button="right")
    page.get_by_text("Insert 1 row above").click()
    expect(cell(page, 21, "Prompt")).to_have_text("typed here")
    row_header(page, 20).click(button="right")
    page.get_by_text("Delete row").click()
    expect(cell(page, 20, "Prompt")).to_have_text("typed here")


def test_selected_rows_become_pictures(page: Page, world: World) -> None:
    """Click, Shift-click and Ctrl-click rows, press the menu: exactly these rows get their pictures while one looks."""
    row_header(page, 2).click()
    row_header(page, 3).click(modifiers=["Shift"])
    row_header(page, 6).click(modifiers=["ControlOrMeta"])
    press_menu(page, "Generate selected rows")
    expect(page.locator(".toast")).to_contain_text("3 rows queued")
    for number in (2, 3, 6):
        expect(cell(page, number, "Status")).to_have_text("done", timeout=PATIENCE_MS)
        picture = cell(page, number, "Preview").locator("img")
        picture.wait_for()
        page.wait_for_function("image => image.complete && image.naturalWidth > 0", arg=picture.element_handle())
        assert re.fullmatch(r"\d+", cell(page, number, "Seed").inner_text())
        expect(cell(page, number, "Output URL").locator("a")).to_have_attribute("href", re.compile(r"/o/.+/0\?t="))
    expect(cell(page, 4, "Status")).to_have_text("")


def test_a_dialog_of_the_script_is_asked_on_the_page(page: Page, world: World) -> None:
    """Settings asks for the API's address; Escape closes it and changes nothing."""
    kept = dict(world.properties.document)
    press_menu(page, "Settings")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    assert world.properties.document == kept


def test_all_rows_fill_while_one_watches(page: Page, world: World) -> None:
    """Every example row ends as a picture; with COMFYSHEET_PICTURE set, this is the README's picture."""
    sheet, status = world.book.sheets[0], HEADERS.index("Status")
    with world.book.editing("person"):
        for number in range(1, 13):  # rows that are done would be asked about
            sheet.enter(number, status, "")
    expect(cell(page, 2, "Status")).to_have_text("")
    row_header(page, 2).click()
    row_header(page, 13).click(modifiers=["Shift"])
    press_menu(page, "Generate selected rows")
    expect(page.locator(".toast").last).to_contain_text("rows queued", timeout=PATIENCE_MS)
    done = until(world.book, lambda: all(sheet.cell(number, status).formatted == "done" for number in range(1, 13)))
    assert done, [sheet.cell(number, status).formatted for number in range(1, 13)]
    page.wait_for_function("() => [...document.images].every(image => image.naturalWidth > 0)", timeout=PATIENCE_MS)
    expect(row(page, 2).locator(".chip.done")).to_be_visible()
    if where := os.environ.get("COMFYSHEET_PICTURE"):
        cell(page, 2, "Prompt").click()
        page.screenshot(path=Path(where))
