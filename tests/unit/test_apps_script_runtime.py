"""The sandbox's Apps Script: as strict as Google's, and never stuck."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sandbox.apps_script import FetchRequest, FetchResponse, PropertyStore, ScriptError, ScriptProject, Selection
from sandbox.apps_script_run import DOCUMENT_LOCKS
from sandbox.apps_script_syntax import refusals_of
from sandbox.workbook import Workbook

SCOPES = ["spreadsheets.currentonly", "script.external_request", "script.container.ui"]
NOTHING = Selection(0, ())


class Silent:
    """Be a person who answers OK and reads nothing."""

    def alert(self, title: str, text: str, buttons: str) -> str:
        return "OK"

    def prompt(self, title: str, text: str, buttons: str) -> tuple[str, str]:
        return "OK", "answer"

    def toast(self, message: str, title: str, seconds: float) -> None:
        return None

    def sidebar(self, title: str, html: str) -> None:
        return None

    def dialog(self, title: str, html: str, width: int | None = None, height: int | None = None) -> None:
        return None

    def select(self, sheet_id: int, ranges: tuple[tuple[int, int, int, int], ...]) -> None:
        return None


class Bench:
    """Run pieces of script over one workbook."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.book = Workbook("book", "Book", time_zone="Europe/Berlin")
        self.sheet = self.book.add_sheet("Tab", rows=20, cols=5)
        self.answer: Callable[[FetchRequest], FetchResponse] = lambda request: FetchResponse(200, b"fine")

    def project(self, scopes: list[str] | None = None, time_limit_s: float = 30, **files: str) -> ScriptProject:
        manifest = {
            "timeZone": "America/New_York",
            "oauthScopes": [f"https://www.googleapis.com/auth/{scope}" for scope in (scopes or SCOPES)],
        }
        (self.folder / "appsscript.json").write_text(json.dumps(manifest))
        for name, text in files.items():
            (self.folder / f"{name}.js").write_text(text)
        return ScriptProject(
            self.folder,
            self.book,
            properties=PropertyStore(),
            ui=Silent(),
            fetch=lambda request: self.answer(request),
            time_limit_s=time_limit_s,
        )

    def run(self, body: str, selection: Selection = NOTHING, **how: Any) -> Any:
        return self.project(Code=f"function f() {{ {body} }}", **how).run("f", selection)

    def error(self, body: str, **how: Any) -> str:
        with pytest.raises(ScriptError) as caught:
            self.run(body, **how)
        return caught.value.message


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ("SpreadsheetApp.getActiveSheet().hideColumn(1)", "Sheet.hideColumn"),
        ("Utilities.zip([])", "Utilities.zip"),
        ("SpreadsheetApp.getUi().Button.MAYBE", "Ui.Button.MAYBE"),
        ("SpreadsheetApp.getActiveSheet().getRange(1, 1).getVakues()", "Range.getVakues"),
    ],
)
def test_what_is_not_emulated_says_so(bench: Bench, body: str, name: str) -> None:
    """A member that nobody wrote, or misspelt, is an error and never undefined."""
    assert bench.error(body) == f"Error: {name} is not emulated"


@pytest.mark.parametrize(
    "name", ["setTimeout", "fetch", "URL", "TextEncoder", "atob", "crypto", "window", "performance"]
)
def test_what_google_does_not_have_is_not_there(bench: Bench, name: str) -> None:
    """The engine's and the browsers' extras do not exist."""
    assert bench.run(f"return typeof {name}") == "undefined"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "SpreadsheetApp.getActiveSheet().getRange(1, 1, 3, 2).setValues([[1, 2], [3, 4]])",
            "Exception: The number of rows in the data does not match the number of rows in the range. "
            "The data has 2 but the range has 3.",
        ),
        (
            "SpreadsheetApp.getActiveSheet().getRange(1, 1, 1, 2).setValues([[1]])",
            "Exception: The number of columns in the data does not match the number of columns in the range. "
            "The data has 1 but the range has 2.",
        ),
        (
            "SpreadsheetApp.getActiveSheet().getRange(21, 1)",
            "Exception: The coordinates of the range are outside the dimensions of the sheet.",
        ),
        ("SpreadsheetApp.getActiveSheet().getRange(0, 1)", "Exception: The starting row of the range is too small."),
        (
            "Utilities.sleep('1')",
            "Exception: The parameters (String) don't match the method signature for Utilities.sleep.",
        ),
        ("UrlFetchApp.fetch('http://example.com')", "Exception: Only https is emulated"),
        ("UrlFetchApp.fetch('https://example.com', {timeoutSeconds: 3})", "timeoutSeconds is not emulated"),
        ("SpreadsheetApp.getActiveSheet().getRange(1, 1).setValue('x'.repeat(50001))", "50000 characters"),
    ],
)
def test_mistakes_are_refused_in_googles_words(bench: Bench, body: str, message: str) -> None:
    """What Google refuses is refused here, so that it is found here."""
    assert message in bench.error(body)


def test_an_error_names_file_and_line(bench: Bench) -> None:
    """The place is the one in the project, also when the fault came from a service."""
    project = bench.project(
        A="// a\n\nfunction helper() {}\n", B="function f() {\n  helper();\n  Utilities.base64Decode('!');\n}\n"
    )
    with pytest.raises(ScriptError) as caught:
        project.run("f", NOTHING)
    assert (caught.value.file, caught.value.line) == ("B.js", 3)
    assert project.log[-1].error == "Exception: Could not decode string. (B.js:3)"


def test_a_script_without_end_is_ended(bench: Bench) -> None:
    """A loop that calls nothing is ended by the time limit, and the lock it holds is free again."""
    body = "LockService.getDocumentLock().tryLock(0); while (true) {}"
    assert bench.error(body, time_limit_s=1) == "Exceeded maximum execution time"
    assert not DOCUMENT_LOCKS.of(bench.book).locked()


def test_a_script_that_eats_memory_is_ended(bench: Bench) -> None:
    """The script fails, the sandbox does not."""
    assert "memory" in bench.error("const all = []; while (true) all.push(new Array(10000).fill(1.5))").lower()


def test_every_run_starts_afresh(bench: Bench) -> None:
    """Nothing survives between two menu clicks but cells, properties and the cache."""
    project = bench.project(Code="let count = 0; function f() { return ++count; }")
    assert [project.run("f", NOTHING), project.run("f", NOTHING)] == [1, 1]


def test_values_are_read_and_written_as_sheets_does(bench: Bench) -> None:
    """Text is parsed as typed unless the cell is plain text; dates come as Date, blanks as ''."""
    bench.sheet.enter(0, 0, "2026-11-21 13:45:00")
    bench.sheet.enter(0, 1, "00123")
    bench.sheet.enter(0, 2, "TRUE")
    read = "const [row] = SpreadsheetApp.getActiveSheet().getRange('A1:D1').getValues();"
    when = bench.run(read + "return [row[0] instanceof Date, row[0].toISOString(), row[1], row[2], row[3]]")
    assert when == [True, "2026-11-21T12:45:00.000Z", 123, True, ""]  # the cell says Berlin's time

    bench.run(
        "const sheet = SpreadsheetApp.getActiveSheet();"
        "sheet.getRange(2, 1, 1, 3).setValues([['=1+1', '1/2', \"'=x\"]]);"
        "sheet.getRange(3, 1, 1, 3).setNumberFormat('@').setValues([['+1', '1/2', '00123']]);"
    )
    assert bench.sheet.cell(1, 0).formula == "=1+1" and bench.sheet.cell(1, 1).is_date
    assert bench.sheet.cell(1, 2).user_entered == "=x"
    assert [bench.sheet.cell(2, col).user_entered for col in range(3)] == ["+1", "1/2", "00123"]


def test_half_characters_and_all_others_pass_between_script_and_sheet(bench: Bench) -> None:
    """Emoji, line separators and half pairs arrive as they were sent."""
    text = '狐🦊\u2028\n"\\ \ud83d'
    bench.sheet.set_cell(0, 0, text)
    bench.run("const s = SpreadsheetApp.getActiveSheet(); s.getRange('B1').setValue(s.getRange('A1').getValue())")
    assert bench.sheet.cell(0, 1).user_entered == text


def test_dates_follow_the_scripts_time_zone(bench: Bench) -> None:
    """The manifest's time zone decides what getHours says."""
    assert bench.run("return new Date('2026-01-01T12:00:00Z').getHours()") == 7
    shown = bench.run("return Utilities.formatDate(new Date(0), 'Asia/Tokyo', \"yyyy-MM-dd'T'HH:mm\")")
    assert shown == "1970-01-01T09:00"


def test_a_permission_that_the_manifest_lacks_is_missing(bench: Bench) -> None:
    """Scopes are checked, so the manifest is proven to be enough."""
    said = bench.error("UrlFetchApp.fetch('https://example.com')", scopes=["spreadsheets.currentonly"])
    assert said.endswith("auth/script.external_request")


def test_opening_a_sheet_may_not_call_anything_that_needs_permission(bench: Bench) -> None:
    """onOpen is a simple trigger."""
    project = bench.project(Code="function onOpen() { SpreadsheetApp.getUi().alert('hi'); }")
    with pytest.raises(ScriptError, match="permissions are not sufficient"):
        project.menu()


def test_an_answer_of_400_and_more_throws_unless_muted(bench: Bench) -> None:
    """muteHttpExceptions decides."""
    bench.answer = lambda request: FetchResponse(503, b"busy")
    assert "returned code 503. Truncated server response: busy" in bench.error(
        "UrlFetchApp.fetch('https://a.example/x')"
    )
    muted = "return UrlFetchApp.fetch('https://a.example/x', {muteHttpExceptions: true}).getResponseCode()"
    assert bench.run(muted) == 503


def test_the_log_tells_writes_that_nobody_could_see_yet(bench: Bench) -> None:
    """A fetch before the flush is noted, so that a test can forbid it."""
    project = bench.project(
        Code="function f() { SpreadsheetApp.getActiveSheet().getRange('A1').setValue(1);"
        " UrlFetchApp.fetch('https://a.example'); SpreadsheetApp.flush(); UrlFetchApp.fetch('https://a.example'); }"
    )
    project.run("f", NOTHING)
    assert [call.unflushed for call in project.log[-1].fetches] == [1, 0]


def test_the_lock_is_one_for_all_runs_over_a_workbook(bench: Bench) -> None:
    """While one run holds it another one's tryLock is false; the end of a run frees it."""
    held, go_on = threading.Event(), threading.Event()

    def wait(request: FetchRequest) -> FetchResponse:
        held.set()
        assert go_on.wait(20)
        return FetchResponse(200)

    bench.answer = wait
    project = bench.project(
        Code="function hold() { LockService.getDocumentLock().waitLock(1); UrlFetchApp.fetch('https://a.example'); }"
        "function ask() { return LockService.getDocumentLock().tryLock(10); }"
    )
    first = threading.Thread(target=project.run, args=("hold", NOTHING))
    first.start()
    assert held.wait(20)
    while_held = project.run("ask", NOTHING)
    go_on.set()
    first.join(20)
    assert [while_held, project.run("ask", NOTHING)] == [False, True]


def test_the_selection_comes_as_the_ranges_on_the_grid(bench: Bench) -> None:
    """Several ranges, cut to the grid; none at all is null."""
    ask = (
        "const list = SpreadsheetApp.getActiveRangeList(); return list && list.getRanges().map(r => r.getA1Notation())"
    )
    assert bench.run(ask, Selection(0, ((0, 0, 0, 0), (2, 1, 99, 99)))) == ["A1", "B3:E20"]
    assert bench.run(ask) is None


@pytest.mark.parametrize(
    ("code", "what"),
    [
        ("class A {\n  #x = 1;\n}", "private #names"),
        ("class A {\n  static x = 1;\n}", "static fields"),
        ("// a\nexport function f() {}", "modules"),
        ("// a\nimport x from 'y'", "modules"),
    ],
)
def test_what_googles_parser_refuses_is_refused(bench: Bench, code: str, what: str) -> None:
    """The local engine would take it; the line is named."""
    with pytest.raises(ScriptError, match=f"{what} .Code.js:2."):
        bench.project(Code=code).run("f", NOTHING)


@pytest.mark.parametrize(
    "code",
    [
        "const a = '#x'; // #y\n/* import z */",
        "const r = /[/#]x/g; const t = `# export ${a}`;",
        "class A { static make() { return 1; } }",
        'const s = "static x = 1";',
    ],
)
def test_what_only_looks_like_it_is_not_refused(code: str) -> None:
    """Comments, texts and regular expressions are no code."""
    assert refusals_of(code) == []
