"""Hold the page to what it may never get wrong, without a cloud behind it: a workbook, a small script and a browser."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator

import pytest
import requests
from aiohttp import web
from PIL import Image
from playwright.sync_api import Page, expect

from sandbox.sheets_serve import Served
from sandbox.workbook import Area, Formula
from tests.page.alone import Alone, cell, names, press_menu, row_header, shows
from tests.waiting import until


@pytest.fixture
def picture_url() -> Iterator[str]:
    """Serve one PNG of 8 x 6 pixels."""
    drawn = io.BytesIO()
    Image.new("RGB", (8, 6), "teal").save(drawn, "PNG")

    async def give(_request: web.Request) -> web.Response:
        return web.Response(body=drawn.getvalue(), content_type="image/png")

    app = web.Application()
    app.router.add_get("/picture.png", give)
    with Served(app) as served:
        yield f"{served.url}/picture.png"


@pytest.mark.parametrize("change", ["cells move", "the grid is built anew"])
def test_the_selection_outlives_a_change_of_the_structure(page: Page, alone: Alone, change: str) -> None:
    """Whatever somebody else does meanwhile, the menu runs for the rows that the person chose."""
    row_header(page, 3).click()
    row_header(page, 4).click(modifiers=["Shift"])
    row_header(page, 6).click(modifiers=["ControlOrMeta"])
    if change == "cells move":
        alone.sheet.sort(Area(1, 0, 7), 0)
        expect(cell(page, 2, 0)).to_have_text("apple")
    else:
        before = page.locator("#grid .tabulator-tableholder").element_handle()
        alone.sheet.set_dimension("COLUMNS", 0, 1, pixel_size=222)
        page.wait_for_function("old => !old.isConnected", arg=before)
        expect(page.locator("#where")).to_have_value("A6")
    press_menu(page, "Say what is selected")
    expect(cell(page, 1, 5)).to_have_text("rows 3-4 6-6")


def test_no_key_meets_a_grid_that_is_not_ready(page: Page) -> None:
    """
    The grid is made anew between two events, selection and all: there is no moment at which a key or a menu would act
    on A1, or on nothing. A message to oneself comes as soon as an event of a person's would.
    """
    row_header(page, 3).click()
    row_header(page, 4).click(modifiers=["Shift"])
    seen = page.evaluate(
        """async () => {
          const { rebuild } = await import('/assets/grid.js');
          const { selectedRanges } = await import('/assets/selection.js');
          const before = document.querySelector('#grid .tabulator-tableholder');
          const chosen = JSON.stringify(selectedRanges());
          const { port1, port2 } = new MessageChannel();
          let wrong = 0, looks = 0, isOver = false;
          port1.onmessage = () => {
            looks += 1;
            const hasKeys = document.activeElement.matches('#grid .tabulator-tableholder');
            wrong += !hasKeys || JSON.stringify(selectedRanges()) !== chosen;
            if (!isOver) port2.postMessage(0);
          };
          port2.postMessage(0);
          await rebuild();
          while (looks < 3) await new Promise((after) => setTimeout(after)); // also what is left for later
          isOver = true;
          return { chosen, wrong, isNew: !before.isConnected };
        }"""
    )
    assert seen == {"chosen": "[[2,0,3,15]]", "wrong": 0, "isNew": True}


@pytest.mark.parametrize("words", ["00123", "TRUE", "1/2", "-1", "@x", "+1girl", "'quoted", '=IMPORTXML("a","b")'])
@pytest.mark.parametrize("plain", [False, True], ids=["automatic", "plain text"])
def test_text_typed_back_as_shown_stays_text(alone: Alone, words: str, plain: bool) -> None:
    """What the formula bar shows of a text, sent back, leaves the cell as it was: no number, no formula."""
    form = {"numberFormat": {"type": "TEXT", "pattern": "@"}} if plain else None
    alone.sheet.set_cell(8, 0, words, format=form)
    state = requests.get(f"{alone.url}/state", timeout=5).json()
    shown = next(shown for row, col, shown in state["sheet"]["cells"] if (row, col) == (8, 0))
    typed = [[8, 0, shown.get("e", shown["t"])]]
    requests.post(f"{alone.url}/edit", json={"sheet": 0, "cells": typed}, timeout=5).raise_for_status()
    assert alone.sheet.cell(8, 0).user_entered == words


def test_enter_in_the_formula_bar_changes_nothing_by_itself(page: Page, alone: Alone) -> None:
    """Who only looks into the formula bar and presses Enter has changed nothing."""
    alone.sheet.set_cell(8, 0, "@x")
    expect(cell(page, 9, 0)).to_have_text("@x")
    cell(page, 9, 0).click()
    expect(page.get_by_label("Content of the selected cell")).to_have_value("'@x")
    version = alone.book.version
    page.get_by_label("Content of the selected cell").press("Enter")
    press_menu(page, "Say what is selected")  # comes after it on the server
    expect(cell(page, 1, 5)).to_have_text("rows 9-9")
    assert (alone.sheet.cell(8, 0).user_entered, alone.book.version) == ("@x", version + 1)


def test_half_typed_words_wait_while_the_structure_changes(page: Page, alone: Alone) -> None:
    """A change of the structure neither ends the editing nor writes half a sentence."""
    cell(page, 3, 0).dblclick()
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("half")
    with page.expect_response("**/state?*"):
        alone.sheet.set_dimension("COLUMNS", 0, 1, pixel_size=222)
    page.keyboard.type(" and whole")
    assert alone.sheet.cell(2, 0).user_entered == "apple"
    page.keyboard.press("Enter")
    expect(cell(page, 3, 0)).to_have_text("half and whole")
    expect(cell(page, 3, 0)).to_have_css("width", "222px")  # and now the change is shown


@pytest.mark.parametrize(("place", "words"), [([9999, 0], "x"), ([1, 0], "x" * 50_001)])
def test_an_edit_that_cannot_be_is_refused_whole(alone: Alone, place: list[int], words: str) -> None:
    """An edit outside the grid or above the limit is a sentence, and none of its cells is written."""
    cells = [[2, 0, "first"], [*place, words]]
    answer = requests.post(f"{alone.url}/edit", json={"sheet": 0, "cells": cells}, timeout=5)
    assert answer.status_code == 400
    assert len(answer.json()["error"].split()) > 3
    assert names(alone.sheet)[2] == "apple"


def test_a_column_sorts_the_rows_below_the_header(page: Page, alone: Alone) -> None:
    """The column's menu sorts up and down; the header stays."""
    header = page.locator(".tabulator-col", has_text=re.compile(r"^A$"))
    for label, first in (("Sort sheet A to Z", "apple"), ("Sort sheet Z to A", "fig")):
        header.click(button="right")
        page.get_by_text(label).click()
        expect(cell(page, 2, 0)).to_have_text(first)
    assert names(alone.sheet) == ["Name", "fig", "elder", "date", "cherry", "banana", "apple"]


def test_a_script_hears_what_the_person_answered(page: Page, alone: Alone) -> None:
    """Alert and prompt give the pressed button and the text."""
    press_menu(page, "Ask twice")
    page.get_by_role("button", name="Yes").click()
    expect(page.get_by_role("dialog")).to_contain_text("Which one?")
    page.keyboard.type("the red one")
    page.keyboard.press("Enter")
    expect(cell(page, 1, 5)).to_have_text("YES OK the red one")


def test_escape_answers_a_dialog_as_closed(page: Page, alone: Alone) -> None:
    """Escape is CLOSE, as the cross in the corner is."""
    press_menu(page, "Ask twice")
    for words in ("This asks.", "Which one?"):
        expect(page.get_by_role("dialog")).to_contain_text(words)
        page.keyboard.press("Escape")
    expect(cell(page, 1, 5)).to_have_text(re.compile(r"^CLOSE CLOSE\s*$"))


def test_pictures_wait_for_allow_access(page: Page, alone: Alone, picture_url: str) -> None:
    """While the gate is closed a picture is #REF!; Allow access opens it and the picture shows."""
    expect(page.get_by_role("button", name="Allow access")).to_be_hidden()
    alone.sheet.set_cell(1, 1, Formula(f'=IMAGE("{picture_url}")'))
    expect(cell(page, 2, 1)).to_have_text("#REF!")
    page.get_by_role("button", name="Allow access").click()
    picture = cell(page, 2, 1).locator("img")
    picture.wait_for()
    page.wait_for_function("image => image.naturalWidth === 8", arg=picture.element_handle())
    expect(page.get_by_role("button", name="Allow access")).to_be_hidden()
    assert until(alone.book, lambda: alone.book.external_images_allowed)


def test_news_without_a_change_are_asked_for_once(page: Page, alone: Alone) -> None:
    """A script that sets what is set already has the page look, and look no more."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/state" in request.url else None)
    with page.expect_response(re.compile("/state")):
        alone.sheet.change(lambda: None)
    alone.sheet.enter(3, 0, "plum")
    shows(page, 4, 0, "plum")
    page.evaluate("async () => { for (let n = 0; n < 20; n++) await fetch('/menu'); }")
    assert len(asked) == 1


def test_a_new_tab_is_shown_at_once(page: Page) -> None:
    """What is pressed next is meant for the tab that was just made."""
    page.get_by_role("button", name="Add a tab").click()
    expect(page.get_by_role("tab", name="Sheet2")).to_have_attribute("aria-selected", "true")
