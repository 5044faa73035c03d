"""Serve a workbook and a small script without a cloud behind them; use the grid as a person does."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from sandbox.apps_script import ScriptProject
from sandbox.apps_script_run import PropertyStore
from sandbox.google_auth import GoogleAuth
from sandbox.live import PageUi
from sandbox.server import SandboxServer
from sandbox.workbook import Books, Sheet, Workbook

FRUITS = ("Name", "fig", "apple", "elder", "banana", "date", "cherry")
MANIFEST = {
    "timeZone": "Etc/UTC",
    "runtimeVersion": "V8",
    "oauthScopes": [
        f"https://www.googleapis.com/auth/{name}" for name in ("spreadsheets.currentonly", "script.container.ui")
    ],
}
# Writes what it was told into column F, so that the workbook tells what the page sent.
SCRIPT = """
function onOpen() {
  SpreadsheetApp.getUi().createMenu('Probe')
    .addItem('Say what is selected', 'saySelected').addItem('Ask twice', 'askTwice')
    .addItem('Show sidebar', 'showSidebar').addItem('Show dialog', 'showDialog')
    .addItem('Go to the end', 'goToEnd').addToUi();
}
function saySelected() {
  const ranges = SpreadsheetApp.getActiveRangeList().getRanges();
  const rows = ranges.map((range) => `${range.getRow()}-${range.getLastRow()}`).sort();
  SpreadsheetApp.getActiveSheet().getRange('F1').setValue(`rows ${rows.join(' ')}`);
}
function askTwice() {
  const ui = SpreadsheetApp.getUi();
  const pressed = ui.alert('Sure?', 'This asks.', ui.ButtonSet.YES_NO);
  const told = ui.prompt('Name', 'Which one?', ui.ButtonSet.OK_CANCEL);
  const said = `${pressed} ${told.getSelectedButton()} ${told.getResponseText()}`;
  SpreadsheetApp.getActiveSheet().getRange('F1').setValue(said);
}
function showSidebar() {
  SpreadsheetApp.getUi().showSidebar(HtmlService.createHtmlOutputFromFile('Side').setTitle('Fruit sidebar'));
}
function showDialog() {
  const html = HtmlService.createHtmlOutputFromFile('Side').setWidth(420).setHeight(260);
  SpreadsheetApp.getUi().showModalDialog(html, 'Fruit dialog');
}
function goToEnd() {
  const sheet = SpreadsheetApp.getActiveSheet();
  sheet.setActiveSelection(sheet.getRange(sheet.getLastRow(), 1, 1, 2));
}
function echo(value) { return value; }
function where() {
  const range = SpreadsheetApp.getActiveRange();
  return [SpreadsheetApp.getActiveSheet().getName(), range.getA1Notation()];
}
function whoAmI() { return Session.getActiveUser().getEmail(); }
function today() { return { day: new Date() }; }
function fail() { throw new Error('The oven is cold.'); }
function slowly(n) { Utilities.sleep(150); return n; }
function secret_() { return 'nobody calls this'; }
"""
SIDE = """<!doctype html><html lang="en"><head><title>Side</title></head><body>
<h1>Side</h1><p id="said">nothing yet</p><button id="close">Close me</button>
<form id="order"><label>Fruit <input name="fruit" value="kiwi"></label></form>
<script>document.getElementById('close').onclick = () => google.script.host.close();</script>
</body></html>"""


@dataclass(frozen=True)
class Alone:
    """Be a served workbook; its pictures' gate is closed."""

    book: Workbook
    url: str
    project: ScriptProject
    server: SandboxServer

    @property
    def sheet(self) -> Sheet:
        return self.book.sheets[0]

    def sheet_named(self, title: str) -> Sheet:
        found = self.book.sheet_by_title(title)
        assert found is not None
        return found


@contextmanager
def serve_alone(folder: Path) -> Iterator[Alone]:
    """Serve a new workbook of six fruits below a frozen header."""
    (folder / "appsscript.json").write_text(json.dumps(MANIFEST))
    (folder / "Code.js").write_text(SCRIPT)
    (folder / "Side.html").write_text(SIDE)
    book = Workbook("alone", "Alone")
    sheet = book.add_sheet("Fruit")
    for number, words in enumerate(FRUITS):
        sheet.enter(number, 0, words)
    sheet.freeze(rows=1)
    ui = PageUi()
    project = ScriptProject(folder, book, properties=PropertyStore(), ui=ui)
    server = SandboxServer(Books(book), project, ui, auth=GoogleAuth(), renders_on=lambda: "nothing")
    server.start()
    try:
        yield Alone(book, server.url, project, server)
    finally:
        server.stop()


@contextmanager
def opened(where: Browser | BrowserContext, url: str, **context: object) -> Iterator[Page]:
    """Open the sheet; any error in the page fails the test."""
    size = {"width": 1280, "height": 800}
    page = where.new_page(viewport=size, **context) if isinstance(where, Browser) else where.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(url)
    page.get_by_text("Live", exact=True).wait_for()
    yield page
    page.close()
    assert faults == []


def row_header(page: Page, number: int) -> Locator:
    return page.locator(".tabulator-cell.tabulator-row-header", has_text=re.compile(rf"^{number}$"))


def cell(page: Page, number: int, column: int) -> Locator:
    return page.locator(".tabulator-row", has=row_header(page, number)).locator(f'[tabulator-field="c{column}"]')


def press_menu(page: Page, label: str, menu: str = "Probe") -> None:
    page.get_by_role("button", name=menu, exact=True).click()
    page.get_by_role("menuitem", name=label).click()


def names(sheet: Sheet) -> list[str]:
    return [sheet.cell(number, 0).formatted for number in range(7)]


def shows(page: Page, number: int, column: int, words: str | re.Pattern[str]) -> None:
    expect(cell(page, number, column)).to_have_text(words)
