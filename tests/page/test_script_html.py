"""The script's HTML lives in a frame of its own and reaches the script through google.script, as at Google's."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Browser, Frame, Page, expect

from tests.page.alone import Alone, cell, opened, press_menu, row_header, shows
from tests.waiting import until


def frame_of(page: Page, where: str) -> Frame:
    """Give the script's frame once its HTML is there."""
    page.frame_locator(f"{where} iframe").locator("#said").wait_for()
    found = page.locator(f"{where} iframe").element_handle()
    frame = found.content_frame() if found else None
    assert frame is not None
    return frame


@pytest.fixture
def side(page: Page) -> Frame:
    """Open the sidebar."""
    press_menu(page, "Show sidebar")
    return frame_of(page, "#sidebar")


ASK = """([name, args]) => new Promise((done) => google.script.run
  .withUserObject('mine')
  .withSuccessHandler((result, object) => done({ result, object }))
  .withFailureHandler((error, object) => done(
    { message: error.message, isError: error instanceof Error, object }))[name](...args))"""


def call(frame: Frame, name: str, *args: Any) -> dict[str, Any]:
    return dict(frame.evaluate(ASK, [name, list(args)]))


def test_the_sidebar_is_300_px_wide_and_closes(page: Page, side: Frame) -> None:
    """The sidebar stands at the right with its title; the cross closes it and the grid is wide again."""
    box = page.locator("#sidebar").bounding_box()
    assert box is not None
    assert (box["width"], box["x"] + box["width"]) == (300, 1280)
    expect(page.get_by_role("complementary", name="Fruit sidebar")).to_be_visible()
    page.get_by_role("button", name="Close sidebar").click()
    expect(page.locator("#sidebar")).to_be_hidden()


def test_the_selection_outlives_the_opening_of_the_sidebar(page: Page) -> None:
    """Opening the sidebar takes room from the grid, not the person's selection."""
    row_header(page, 3).click()
    row_header(page, 4).click(modifiers=["Shift"])
    press_menu(page, "Show sidebar")
    frame_of(page, "#sidebar")
    press_menu(page, "Say what is selected")
    shows(page, 1, 5, "rows 3-4")


@pytest.mark.parametrize("value", ["words", 2.5, True, None, [1, "two", None], {"a": {"b": [1]}}])
def test_values_go_there_and_back(side: Frame, value: Any) -> None:
    """What JSON can say comes back as it went; the user object goes along."""
    assert call(side, "echo", value) == {"result": value, "object": "mine"}


def test_an_error_reaches_the_failure_handler(side: Frame) -> None:
    """The script's words come in an Error's message, without the place in the code."""
    said = call(side, "fail")
    assert said["isError"] and said["object"] == "mine"
    assert re.fullmatch(r"(Error: )?The oven is cold\.", said["message"])


def test_the_call_knows_tab_and_selection(page: Page, side: Frame) -> None:
    """A call runs with the tab that is shown and the cell that is selected at that moment."""
    cell(page, 4, 1).click()
    assert call(side, "where")["result"] == ["Fruit", "B4"]


@pytest.mark.parametrize("bad", ["new Date()", "[1, new Date()]", "{ when: new Date() }", "() => 1", "document.body"])
def test_what_google_refuses_is_refused_at_the_call(side: Frame, bad: str) -> None:
    """Dates, functions and elements do not travel: the call itself throws, nothing is sent."""
    thrown = side.evaluate(
        f"""() => {{ try {{ google.script.run.echo({bad}); return 'went'; }}
        catch (error) {{ return error.constructor.name + ': ' + error.message; }} }}"""
    )
    assert thrown.startswith("TypeError: Failed due to illegal value in property:")


def test_a_form_goes_as_its_fields(side: Frame) -> None:
    """A form element alone is allowed: the script gets its fields by name."""
    said = side.evaluate(
        """() => new Promise((done) => google.script.run.withSuccessHandler(done)
        .echo(document.getElementById('order')))"""
    )
    assert said == {"fruit": "kiwi"}


def test_private_functions_are_not_there(page: Page, side: Frame, alone: Alone) -> None:
    """A function whose name ends in _ is no member of google.script.run, nor does the server run it."""
    assert side.evaluate("typeof google.script.run.echo") == "function"
    assert side.evaluate("typeof google.script.run.secret_") == "undefined"
    answer = page.request.post(f"{alone.url}/script/call", data={"function": "secret_", "args": [], "sheet": 0})
    assert answer.json() == {"error": "Script function not found: secret_"}


def test_ten_calls_run_and_the_eleventh_waits(page: Page, side: Frame) -> None:
    """At most ten calls are under way at once; all twelve are answered."""
    under_way, most = 0, 0

    def count(change: int) -> None:
        nonlocal under_way, most
        under_way += change
        most = max(most, under_way)

    page.on("request", lambda request: count(1) if request.url.endswith("/script/call") else None)
    page.on("requestfinished", lambda request: count(-1) if request.url.endswith("/script/call") else None)
    answers = side.evaluate(
        """() => Promise.all([...Array(12).keys()].map((n) => new Promise((done) =>
        google.script.run.withSuccessHandler(done).slowly(n))))"""
    )
    assert answers == list(range(12))
    assert most <= 10


def test_the_frame_has_no_way_to_the_page(side: Frame) -> None:
    """The script's HTML cannot reach the page around it or its cookies."""
    assert side.evaluate("() => { try { return parent.document.title; } catch (error) { return error.name; } }") == (
        "SecurityError"
    )
    assert side.evaluate("origin") == "null"


def test_a_modal_dialog_blocks_the_sheet_and_escape_closes_it(page: Page, alone: Alone) -> None:
    """While the dialog is open the grid takes no keys; it has the size that the script wished."""
    cell(page, 3, 0).click()
    press_menu(page, "Show dialog")
    frame = frame_of(page, "dialog.html")
    box = page.locator("dialog.html iframe").bounding_box()
    assert box is not None
    assert (box["width"], box["height"]) == (420, 260)
    page.keyboard.type("x")
    page.keyboard.press("Delete")
    frame.locator("#close").focus()
    page.keyboard.press("Escape")
    expect(page.locator("dialog.html")).to_have_count(0)
    assert alone.sheet.cell(2, 0).user_entered == "apple"
    assert page.evaluate("document.activeElement.closest('#grid') !== null")


def test_html_closes_itself(page: Page, side: Frame) -> None:
    """google.script.host.close() closes the sidebar; setHeight changes a dialog."""
    press_menu(page, "Show dialog")
    dialog = frame_of(page, "dialog.html")
    dialog.evaluate("google.script.host.setHeight(333)")
    expect(page.locator("dialog.html iframe")).to_have_css("height", "333px")
    dialog.locator("#close").click()
    expect(page.locator("dialog.html")).to_have_count(0)
    side.evaluate("google.script.host.close()")
    expect(page.locator("#sidebar")).to_be_hidden()


def test_the_script_takes_the_person_to_a_row(page: Page, alone: Alone) -> None:
    """Go to row: the tab is shown, the row is scrolled to and selected."""
    alone.sheet.enter(149, 0, "far below")
    alone.book.add_sheet("Other")
    alone.book.sheets.reverse()
    alone.book.change(lambda: None)
    page.get_by_role("tab", name="Fruit").click()
    shows(page, 7, 0, "cherry")
    press_menu(page, "Go to the end")
    expect(page.locator("#where")).to_have_value("A150")
    expect(cell(page, 150, 0)).to_be_in_viewport()
    press_menu(page, "Say what is selected")
    assert until(alone.book, lambda: alone.sheet_named("Fruit").cell(0, 5).formatted == "rows 150-150")
    page.keyboard.press("Control+Home")
    shows(page, 1, 5, "rows 150-150")


def test_html_shows_only_to_who_asked(chromium: Browser, page: Page, alone: Alone) -> None:
    """A sidebar that one person opens does not open at the other's."""
    with opened(chromium, f"{alone.url}/?user=second@example.com") as second:
        press_menu(page, "Show sidebar")
        frame_of(page, "#sidebar")
        press_menu(second, "Say what is selected")
        shows(second, 1, 5, "rows 1-1")
        expect(second.locator("#sidebar")).to_be_hidden()


def test_results_with_dates_come_as_nothing(side: Frame) -> None:
    """A Date anywhere in a result makes the whole result null."""
    assert call(side, "today") == {"result": None, "object": "mine"}


def test_the_script_knows_who_calls(chromium: Browser, alone: Alone) -> None:
    """The page's user is the script's active user."""
    with opened(chromium, f"{alone.url}/?user=second@example.com") as second:
        press_menu(second, "Show sidebar")
        assert call(frame_of(second, "#sidebar"), "whoAmI")["result"] == "second@example.com"
