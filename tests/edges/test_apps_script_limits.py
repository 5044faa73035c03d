"""Several people, google.script.run, and Google's limits: what is refused, counted and timed."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sandbox.apps_script import FetchRequest, FetchResponse, Limits, Pace, PropertyStore, ScriptError, ScriptProject
from sandbox.workbook import OPEN, Area
from tests.edges.test_apps_script import Still
from tests.unit.test_apps_script_runtime import NOTHING, Bench, Silent

OTHER = "b@example.com"


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def project_of(bench: Bench, code: str, **how: Any) -> ScriptProject:
    """Make a project of one file, with limits, pace or clock as told."""
    bench.project(Code=code)
    how = {"clock": Still(), **how}
    fetch = how.pop("fetch", lambda request: bench.answer(request))
    return ScriptProject(bench.folder, bench.book, properties=PropertyStore(), ui=Silent(), fetch=fetch, **how)


# -- google.script.run -----------------------------------------------------------------------------------------------


def test_a_page_calls_public_functions_with_plain_values_only(bench: Bench) -> None:
    """A name that ends in _ is private; a Date in an argument is refused before anything runs."""
    project = project_of(bench, "function add(a, b) { return { sum: a + b.n }; } function secret_() { return 1; }")
    assert project.call("add", [1, {"n": 2}], NOTHING) == {"sum": 3}
    for function, args, said in (
        ("secret_", [], "Script function not found: secret_"),
        ("add", [1, {"n": datetime.now(UTC)}], "Failed due to illegal value in property: 1"),
        ("gone", [], "ReferenceError: Script function not found: gone"),
    ):
        with pytest.raises(ScriptError) as caught:
            project.call(function, args, NOTHING)
        assert caught.value.message == said


@pytest.mark.parametrize(
    ("result", "travels"),
    [
        ("{ at: '2026-11-21', list: [1, null, true] }", {"at": "2026-11-21", "list": [1, None, True]}),
        ("new Date()", None),
        ("{ rows: [{ at: new Date() }] }", None),
        ("[() => 1]", None),
        ("SpreadsheetApp.getActiveSheet()", None),
        ("undefined", None),
    ],
)
def test_a_result_with_a_date_in_it_is_null(bench: Bench, result: str, travels: Any) -> None:
    """As google.script.run does: all of it is lost, not the Date alone."""
    assert project_of(bench, f"function f() {{ return {result}; }}").call("f", [], NOTHING) == travels


def test_an_error_reaches_the_page_with_its_kind(bench: Bench) -> None:
    """The failure handler's message begins with the kind of error, as Google's does."""
    project = project_of(bench, "function f() { throw new Error('Connect first.'); }")
    with pytest.raises(ScriptError) as caught:
        project.call("f", [], NOTHING)
    assert caught.value.message == "Error: Connect first."


# -- two people ------------------------------------------------------------------------------------------------------


def test_each_person_is_known_and_has_properties_of_their_own(bench: Bench) -> None:
    """Session, user properties and user cache go by who runs; document properties are everybody's."""
    code = """function f(text) {
        const mine = PropertiesService.getUserProperties(), all = PropertiesService.getDocumentProperties();
        const cache = CacheService.getUserCache();
        if (text) { mine.setProperty('k', text); all.setProperty('k', text); cache.putAll({ k: text }); }
        return [Session.getActiveUser().getEmail(), mine.getProperty('k'), all.getProperty('k'),
            cache.getAll(['k', 'none']), Session.getTemporaryActiveUserKey().length > 10]; }"""
    project = project_of(bench, code)
    assert project.run("f", NOTHING, ["hers"]) == ["user@example.com", "hers", "hers", {"k": "hers"}, True]
    assert project.call("f", [None], NOTHING, OTHER) == [OTHER, None, "hers", {}, True]
    assert [execution.user for execution in project.log] == ["user@example.com", OTHER]


def test_a_hard_protection_stops_a_colleagues_script(bench: Bench) -> None:
    """The owner's script writes, the colleague's fails with Google's sentence, and nothing of it is written."""
    code = """function protect() {
        const one = SpreadsheetApp.getActiveSheet().getRange('B:B').protect();
        one.removeEditors(one.getEditors()); }
      function soften() {
        SpreadsheetApp.getActiveSheet().getProtections(SpreadsheetApp.ProtectionType.RANGE)[0].setWarningOnly(true); }
      function write() { SpreadsheetApp.getActiveSheet().getRange('A2:C2').setValues([[1, 2, 3]]); }"""
    project = project_of(bench, code)
    project.run("protect", NOTHING)
    project.run("write", NOTHING)
    bench.sheet.clear(Area(0, 0))
    with pytest.raises(ScriptError) as caught:
        project.run("write", NOTHING, user=OTHER)
    assert caught.value.message == (
        "Exception: You are trying to edit a protected cell or object. "
        "Please contact the spreadsheet owner to remove protection if you need to edit."
    )
    assert bench.sheet.data_extent() == (0, 0)
    with pytest.raises(ScriptError, match="permission"):
        project.run("soften", NOTHING, user=OTHER)
    project.run("soften", NOTHING)
    project.run("write", NOTHING, user=OTHER)
    assert bench.sheet.data_extent() == (2, 3)


def test_a_fresh_protection_keeps_nobody_out_until_its_editors_change(bench: Bench) -> None:
    """As documented for Range.protect(): at first the permissions mirror those of the spreadsheet."""
    code = """function protect() { SpreadsheetApp.getActiveSheet().getRange('A:A').protect(); }
      function write() { SpreadsheetApp.getActiveSheet().getRange('A1').setValue('x'); }"""
    project = project_of(bench, code)
    project.run("protect", NOTHING)
    project.run("write", NOTHING, user=OTHER)
    [one] = bench.sheet.protected
    assert (bench.sheet.cell(0, 0).user_entered, one.area) == ("x", Area(0, 0, OPEN, 1))


# -- limits ----------------------------------------------------------------------------------------------------------


def test_fetches_are_counted_by_person_and_day(bench: Bench) -> None:
    """fetchAll counts each of its requests; the day begins with the first one; a colleague has an own count."""
    code = """function one() { UrlFetchApp.fetch('https://a.example/x'); }
      function three() { const r = { url: 'https://a.example/y', method: 'post', payload: 'p' };
        return UrlFetchApp.fetchAll(['https://a.example/1', r, r]).map((a) => a.getContentText()); }"""
    clock = Still()
    project = project_of(bench, code, clock=clock, limits=Limits(fetches_per_day=4))
    bench.answer = lambda request: FetchResponse(200, f"{request.method} {request.url[-1]}".encode())
    project.run("one", NOTHING)
    assert project.run("three", NOTHING) == ["GET 1", "POST y", "POST y"]
    assert project.meter.used("user@example.com", "urlfetch") == 4
    with pytest.raises(ScriptError) as caught:
        project.run("one", NOTHING)
    assert caught.value.message == "Exception: Service invoked too many times for one day: urlfetch."
    project.run("one", NOTHING, user=OTHER)
    clock.sleep(86_400)
    project.run("one", NOTHING)
    assert project.meter.used("user@example.com", "urlfetch") == 1


def test_fetch_all_has_its_requests_under_way_together(bench: Bench) -> None:
    """Each of two requests waits for the other one to arrive: one after the other would never end."""
    together = threading.Barrier(2)

    def fetch(request: FetchRequest) -> FetchResponse:
        together.wait(20)
        return FetchResponse(200, request.url.encode())

    code = """function f() {
        return UrlFetchApp.fetchAll(['https://a.example/1', 'https://a.example/2']).map((a) => a.getContentText()); }"""
    assert project_of(bench, code, fetch=fetch).run("f", NOTHING) == ["https://a.example/1", "https://a.example/2"]


def test_too_many_executions_at_once_are_refused(bench: Bench) -> None:
    """The limit is per person and frees itself at the end of an execution."""
    code = "function hold() { UrlFetchApp.fetch('https://a.example'); } function quick() { return 1; }"
    held, go_on = threading.Event(), threading.Event()

    def fetch(request: FetchRequest) -> FetchResponse:
        held.set()
        assert go_on.wait(20)
        return FetchResponse(200)

    project = project_of(bench, code, fetch=fetch, limits=Limits(simultaneous=1))
    first = threading.Thread(target=project.run, args=("hold", NOTHING))
    first.start()
    assert held.wait(20)
    with pytest.raises(ScriptError, match="too many scripts running simultaneously"):
        project.call("quick", [], NOTHING)
    assert project.call("quick", [], NOTHING, OTHER) == 1
    go_on.set()
    first.join(20)
    assert project.call("quick", [], NOTHING) == 1


def test_a_property_has_a_size_and_a_store_too(bench: Bench) -> None:
    """9 KB a value, 500 KB a store."""
    code = """function one() { PropertiesService.getDocumentProperties().setProperty('k', 'x'.repeat(9217)); }
      function all() { const p = PropertiesService.getDocumentProperties();
        for (let at = 0; at < 60; at++) p.setProperty('k' + at, 'x'.repeat(9000)); }"""
    project = project_of(bench, code)
    with pytest.raises(ScriptError, match="Argument too large: value"):
        project.run("one", NOTHING)
    with pytest.raises(ScriptError, match="exceeded the property storage quota"):
        project.run("all", NOTHING)


# -- faults ----------------------------------------------------------------------------------------------------------


def test_two_google_accounts_break_pages_but_not_the_menu(bench: Bench) -> None:
    """google.script.run is refused before anything runs; the menu works."""
    project = project_of(bench, "function f() { return SpreadsheetApp.getActiveSheet().getName(); }")
    project.faults.two_accounts = True
    with pytest.raises(ScriptError) as caught:
        project.call("f", [], NOTHING)
    assert caught.value.message == "Authorization is required to perform that action."
    assert project.run("f", NOTHING) == "Tab"


def test_faults_are_switched_on_and_off(bench: Bench) -> None:
    """Lost permissions, used-up quota and a failing spreadsheet each have Google's sentence."""
    code = """function sheet() { console.log('x'); return SpreadsheetApp.getActiveSheet().getName(); }
      function fetch_it() { return UrlFetchApp.fetch('https://a.example').getResponseCode(); }"""
    project = project_of(bench, code)
    faults = project.faults
    faults.authorization_lost = True
    with pytest.raises(ScriptError, match="Exception: Authorization is required to perform that action"):
        project.run("sheet", NOTHING)
    faults.authorization_lost = False
    faults.quota.add("urlfetch")
    with pytest.raises(ScriptError, match="too many times for one day: urlfetch"):
        project.run("fetch_it", NOTHING)
    faults.quota.clear()
    faults.spreadsheet_failures = 1
    with pytest.raises(ScriptError, match="Service Spreadsheets failed while accessing document with id book"):
        project.run("sheet", NOTHING)
    assert (project.run("sheet", NOTHING), project.run("fetch_it", NOTHING)) == ("Tab", 200)


# -- pace ------------------------------------------------------------------------------------------------------------


def test_emulated_time_counts_calls_not_waiting(bench: Bench) -> None:
    """A read in one piece is cheap, cell by cell is dear; sleeping counts in full; the log tells the sum."""
    code = """function once() { SpreadsheetApp.getActiveSheet().getRange('A1:A20').getValues(); }
      function each() { const s = SpreadsheetApp.getActiveSheet();
        for (let row = 1; row <= 20; row++) s.getRange(row, 1).getValue(); }
      function sleep() { Utilities.sleep(90000); }
      function metadata() { const s = SpreadsheetApp.getActiveSheet();
        for (const c of ['A:A', 'B:B']) s.getRange(c).addDeveloperMetadata('k', c); }"""
    project = project_of(bench, code, pace=Pace())
    took: list[float] = []
    for function in ("once", "each", "sleep", "metadata"):
        project.run(function, NOTHING)
        emulated = project.log[-1].emulated_s
        assert emulated is not None
        took.append(emulated)
    assert 0.15 < took[0] < 0.5 and 3.0 < took[1] < 4.0 and 90 <= took[2] < 91 and 1.06 < took[3] < 1.5
    assert project.log[-1].seconds < 5


def test_the_six_minutes_count_emulated_time(bench: Bench) -> None:
    """A script that would take too long at Google's is ended in the middle, and what it wrote stays."""
    code = """function f() { const s = SpreadsheetApp.getActiveSheet();
        for (let at = 0; at < 1000; at++) { s.getRange(1, 1).setValue(at); s.getRange(1, 1).getValue(); } }"""
    project = project_of(bench, code, pace=Pace(read_s=2.0), time_limit_s=60)
    with pytest.raises(ScriptError, match="Exceeded maximum execution time"):
        project.run("f", NOTHING)
    emulated, written = project.log[-1].emulated_s, bench.sheet.cell(0, 0).user_entered
    assert emulated is not None and 60 < emulated < 65
    assert isinstance(written, float) and 20 < written < 30


def test_writes_are_gathered_until_something_is_read(bench: Bench) -> None:
    """Twenty writes and one flush cost less than twenty writes with a read after each."""
    write = (
        "const s = SpreadsheetApp.getActiveSheet();for (let at = 1; at <= 20; at++) { s.getRange(at, 1).setValue(1);"
    )
    code = f"function once() {{ {write} }} SpreadsheetApp.flush(); }} function each() {{ {write} s.getLastRow(); }} }}"
    project = project_of(bench, code, pace=Pace())
    for function in ("once", "each"):
        project.run(function, NOTHING)
    once, each = (execution.emulated_s or 0 for execution in project.log)
    assert once < 1 and each > 6
