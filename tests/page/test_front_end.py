"""Every menu item, the sidebar and Settings, as a person uses them in a real Chromium, with the whole line behind."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, FloatRect, FrameLocator, Locator, Page, expect

from sandbox.example import header_columns
from sandbox.waiting import wait_until
from sandbox.workbook import Sheet
from sandbox.world import CLIENT, Wishes, World
from tests.page.alone import opened
from tests.waiting import until

PATIENCE_MS = 60_000
PICTURES = os.environ.get("PICTURES")
"""Where to put pictures for docs/sheet.md; none are taken without."""


@pytest.fixture(scope="module")
def scheme() -> str:
    """Say which colours the person likes; test_front_end_dark.py says the other."""
    return "light"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, scheme: str) -> Iterator[World]:
    """Run one world for each scheme; nothing is connected yet, and steps take a while."""
    wishes = Wishes(home=tmp_path_factory.mktemp("front"), step_ms=150)
    with World(wishes) as world:
        yield world


@pytest.fixture
def page(chromium: Browser, world: World, scheme: str) -> Iterator[Page]:
    """Open the sheet; any error in the page fails the test."""
    with opened(chromium, world.server.url, color_scheme=scheme) as page:
        page.set_viewport_size({"width": 1440, "height": 900})
        page.locator(".tabulator-row").nth(5).wait_for()
        yield page


def press_menu(page: Page, label: str) -> None:
    page.get_by_role("button", name="ComfySheet").click()
    page.get_by_role("menuitem", name=label).click()


def dialog_of(page: Page) -> FrameLocator:
    return page.frame_locator("dialog iframe")


def answer(page: Page, words: str, button: str) -> None:
    """Answer the question that says *words*."""
    asked = page.get_by_role("dialog").filter(has_text=re.compile(words))
    asked.wait_for()
    asked.get_by_role("button", name=button, exact=True).click()


def sheet_of(world: World) -> Sheet:
    return world.book.sheets[0]


def text(world: World, row: int, header: str) -> str:
    """Give a cell's text; *row* as the sheet numbers it."""
    sheet = sheet_of(world)
    return str(sheet.cell(row - 1, header_columns(sheet)[header]).formatted)


def write(world: World, row: int, **cells: str) -> None:
    sheet = sheet_of(world)
    with world.book.editing("person"):
        for header, value in cells.items():
            sheet.enter(row - 1, header_columns(sheet)[header.replace("_", " ")], value)


def becomes(world: World, row: int, header: str, pattern: str, patience_s: float = 60) -> None:
    """Wait until a cell matches."""
    found = until(world.book, lambda: re.search(pattern, text(world, row, header)) is not None, patience_s)
    assert found, f"{header} of row {row} says {text(world, row, header)!r}, error {text(world, row, 'Error')!r}"


def select(page: Page, *rows: int) -> None:
    """Select rows by their numbers, the first plainly and the others with Ctrl."""
    for count, row in enumerate(rows):
        header = page.locator(".tabulator-cell.tabulator-row-header", has_text=re.compile(rf"^{row}$"))
        header.click(modifiers=["ControlOrMeta"] if count else [])


def picture(page: Page, name: str, around: Locator | None = None, height_px: int = 900) -> None:
    """Take a picture of the page's top, or of what is *around* an element."""
    if not PICTURES or page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches"):
        return
    box = around.bounding_box() if around else None
    clip: FloatRect = {"x": 0, "y": 0, "width": page.evaluate("innerWidth"), "height": height_px}
    if box:
        clip = {"x": box["x"] - 40, "y": box["y"] - 40, "width": box["width"] + 80, "height": box["height"] + 80}
    shot = Image.open(BytesIO(page.screenshot(clip=clip)))
    shot.convert("RGB").save(Path(PICTURES) / f"{name}.png", optimize=True)


def without_version(world: World) -> str:
    """Give all that the workbook holds."""
    return json.dumps({**world.book.to_json(), "version": 0}, sort_keys=True)


def test_a_sheet_is_connected_with_a_code(page: Page, world: World) -> None:
    """Settings: address and code, the proof, the key; Test says that the service can write."""
    world.properties.document.clear()
    press_menu(page, "Generate selected rows")
    answer(page, "not connected yet", "OK")
    press_menu(page, "Settings")
    dialog = dialog_of(page)
    dialog.locator("#url").fill(world.cloud.api_url)
    dialog.locator("#code").fill("cc_nonsense")
    dialog.locator("#connect-now").click()
    expect(dialog.locator("#code-fault, #connect-said").filter(has_text=re.compile("code"))).not_to_have_count(0)
    dialog.locator("#code").fill(world.keys.maker.new_code(CLIENT))
    dialog.locator("#connect-now").click()
    expect(dialog.locator("#facts")).to_be_visible()
    expect(dialog.locator("#account")).to_have_value(re.compile("@.*iam.gserviceaccount.com"))
    kept = world.properties.document
    assert kept["SHEET_KEY"].startswith("ck_") and kept["SPREADSHEET_ID"] == world.book.spreadsheet_id
    assert kept["SHEET_KEY"].split("_", 2)[2] not in page.content()
    dialog.locator("#test-now").click()
    expect(dialog.locator("#test-said")).to_contain_text("can read and write this spreadsheet")
    picture(page, "sheet-settings", page.get_by_role("dialog"))
    assert not world.book.metadata, "the proof is taken away"


def test_the_sheet_is_set_up(page: Page, world: World) -> None:
    """Dropdowns, colours, guards, filter views; pressed again nothing changes."""
    press_menu(page, "Set up this sheet")
    answer(page, "column of checkboxes", "Yes")
    answer(page, "show pictures from the net", "Yes")
    answer(page, "parameter columns", "No")
    expect(page.locator(".toast").last).to_contain_text("This sheet is ready")
    sheet = sheet_of(world)
    columns = header_columns(sheet)
    assert "Run" in columns and sheet.frozen_rows == 1 and sheet.frozen_cols == 1
    rule = sheet.cell(2, columns["Workflow"]).validation
    assert rule is not None and "txt2img-sdxl" in json.dumps(rule)
    assert sheet.cell(2, columns["Run"]).validation is not None
    assert sheet.conditional_formats and sheet.protected
    assert all(each.warning_only for each in sheet.protected)
    assert {view.title for view in sheet.filter_views} == {"To do", "Running", "Failed"}
    before = without_version(world)
    press_menu(page, "Set up this sheet")
    answer(page, "parameter columns", "No")
    expect(page.locator(".toast").last).to_contain_text("nothing was missing")
    assert without_version(world) == before


def test_all_pending_rows_are_generated(page: Page, world: World) -> None:
    """Every row that was never started; then it is asked before done rows are rendered again."""
    press_menu(page, "Generate all pending")
    expect(page.locator(".toast").last).to_contain_text("12 rows queued", timeout=PATIENCE_MS)
    becomes(world, 4, "Status", "^processing$")
    expect(page.locator(".tabulator-row img").nth(1)).to_be_visible()
    page.keyboard.press("Escape")  # the note of A1
    picture(page, "sheet-rows", height_px=560)
    for row in range(2, 14):
        becomes(world, row, "Status", "^done$")
    write(world, 14, Prompt="a new one", Workflow="empty-color")
    select(page, 2, 3, 14)
    press_menu(page, "Generate selected rows")
    asked = page.get_by_role("dialog").filter(has_text="3 rows: 1 new, 2 again")
    asked.wait_for()
    picture(page, "sheet-question", asked)
    asked.get_by_role("button", name="No", exact=True).click()
    assert (text(world, 2, "Status"), text(world, 14, "Status")) == ("done", "")
    write(world, 14, Prompt="", Workflow="")
    assert text(world, 14, "Job ID") == ""


def test_all_files_of_a_row_are_on_its_page(chromium: Browser, world: World) -> None:
    """The note on Output URL lists both files and names the page that shows them, with parameters and record."""
    sheet = sheet_of(world)
    note = sheet.cell(11, header_columns(sheet)["Output URL"]).note or ""
    assert note.startswith("ComfySheet: 2 files") and "2. image, 768 × 512" in note
    link = re.search(r"http\S+", note)
    assert link is not None
    gallery = chromium.new_page(viewport={"width": 760, "height": 1180})
    gallery.goto(link[0])
    pictures = gallery.locator("img")
    expect(pictures).to_have_count(2)
    for each in pictures.all():
        expect(each).not_to_have_js_property("naturalWidth", 0)
    expect(gallery.get_by_role("heading", name="Results of image-ops")).to_be_visible()
    picture(gallery, "sheet-gallery", height_px=1180)
    gallery.close()


def test_a_wrong_value_is_told_at_once_and_retried(page: Page, world: World) -> None:
    """Error says what to do, its note has the Job ID; mended, Retry failed starts it."""
    write(world, 15, Prompt="a wrong one", Workflow="txt2img-sdxl", Steps="abc")
    write(world, 16, Prompt="an unknown one", Workflow="txt2img-sdx")
    select(page, 15, 16)
    press_menu(page, "Generate selected rows")
    becomes(world, 15, "Error", "Steps must be a whole number")
    becomes(world, 16, "Error", "Did you mean txt2img-sdxl")
    sheet = sheet_of(world)
    error = header_columns(sheet)["Error"]
    assert until(world.book, lambda: "Job ID" in (sheet.cell(14, error).note or ""))
    write(world, 15, Steps="3")
    write(world, 16, Workflow="txt2img-sdxl")
    press_menu(page, "Retry failed")
    expect(page.locator(".toast").last).to_contain_text("2 rows queued")
    becomes(world, 15, "Status", "^done$")
    becomes(world, 16, "Status", "^done$")
    assert text(world, 15, "Error") == "" and not sheet.cell(14, header_columns(sheet)["Error"]).note


def test_rows_are_cancelled_and_watched_in_the_sidebar(page: Page, world: World) -> None:
    """The sidebar shows what runs; Go to selects the row; Cancel stops it, from there and from the menu."""
    slow = {17: "a harbour at night, fog", 18: "a barn owl in flight", 19: "old tram in the snow, film grain"}
    for row, prompt in slow.items():
        write(world, row, Prompt=prompt, Workflow="txt2img-sdxl", Steps="150")
    press_menu(page, "Show progress")
    side = page.frame_locator("#sidebar iframe")
    expect(side.locator("#tab")).to_contain_text("Renders")
    select(page, 17, 18, 19)
    press_menu(page, "Generate selected rows")
    becomes(world, 17, "Status", "^processing$")
    side.get_by_role("button", name="Refresh").click()
    expect(side.locator("#running li")).not_to_have_count(0)
    expect(side.locator("#waiting li")).not_to_have_count(0)
    select(page, 14)
    picture(page, "sheet-sidebar", height_px=640)
    side.get_by_role("button", name=re.compile("Go to row 17")).first.click()
    expect(page.locator("#where")).to_have_value("A17")
    select(page, 19)
    press_menu(page, "Cancel selected")
    becomes(world, 19, "Status", "^cancelled$")
    side.get_by_role("button", name=re.compile("Cancel.*17")).first.click()
    becomes(world, 17, "Status", "^cancelled$")
    select(page, 18)
    press_menu(page, "Cancel selected")
    becomes(world, 18, "Status", "^cancelled$")


def test_missing_results_are_fetched(page: Page, world: World) -> None:
    """An undo brought "processing" back and took the link away; a row was deleted: both come back."""
    write(world, 2, Status="processing", Output_URL="", Preview="")
    gone = text(world, 3, "Prompt")
    with world.book.editing("person"):
        sheet_of(world).delete_rows(2, 1)
    press_menu(page, "Fetch missing results")
    expect(page.locator(".toast").last).to_contain_text(re.compile("results? (is|are) coming within seconds"))
    becomes(world, 2, "Status", "^done$")
    assert "/o/" in text(world, 2, "Output URL")
    assert gone != text(world, 3, "Prompt")


@pytest.mark.timeout(320)
def test_rows_start_by_themselves_in_auto_mode(page: Page, world: World) -> None:
    """Switched on in Settings; a pending row and a ticked one are picked up by the minute's round, without a script."""
    # Before the switch: the cloud's own minute may strike at once after it, and a minute has one round.
    write(world, 21, Prompt="by itself", Workflow="empty-color", Status="pending")
    write(world, 22, Prompt="by a tick", Workflow="empty-color", Run="TRUE")
    press_menu(page, "Settings")
    switch = dialog_of(page).get_by_role("switch", name="Auto mode")
    switch.click()

    def is_on() -> bool:
        """Press again while rows are being started: a script of the tests before may still run."""
        if not switch.is_checked() and switch.get_attribute("aria-disabled") is None:
            switch.click()
        return switch.is_checked()

    assert wait_until(is_on, 100, look_s=1.0)
    page.keyboard.press("Escape")
    world.cloud.session().client("lambda").invoke(FunctionName="comfysheet-local-sweep", Payload=b"{}")
    # The menu's lease and Google's minute may both have to pass first: the tests before pressed and wrote much.
    becomes(world, 21, "Status", "^done$", patience_s=150)
    becomes(world, 22, "Status", "^done$")
    assert text(world, 22, "Run") == "FALSE"
