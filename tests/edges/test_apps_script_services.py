"""What a set-up script does to a sheet: rules, colours, protection, metadata, filters, selection."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from sandbox.apps_script import Selection
from sandbox.live import Live, PageUi
from sandbox.workbook import OPEN, Area, Protected
from tests.unit.test_apps_script_runtime import Bench, Silent

SHEET = "const ss = SpreadsheetApp.getActiveSpreadsheet(); const sheet = ss.getActiveSheet();"


class Pointed(Silent):
    """Remember what the script selected and showed."""

    def __init__(self) -> None:
        self.selected: list[Any] = []
        self.dialogs: list[Any] = []

    def select(self, sheet_id: int, ranges: tuple[tuple[int, int, int, int], ...]) -> None:
        self.selected.append((sheet_id, ranges))

    def dialog(self, title: str, html: str, width: int | None = None, height: int | None = None) -> None:
        self.dialogs.append((title, html, width, height))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_validation_is_kept_in_the_apis_words_and_read_back(bench: Bench) -> None:
    """List, numbers and checkbox: what the script made is what the API would show, and what the script reads."""
    read = bench.run(
        SHEET
        + """
        const list = SpreadsheetApp.newDataValidation().requireValueInList(['pending', 'done'], true)
            .setAllowInvalid(false).setHelpText('Pick one').build();
        const size = SpreadsheetApp.newDataValidation().requireNumberBetween(1, 150).build();
        const least = SpreadsheetApp.newDataValidation().requireNumberGreaterThanOrEqualTo(0.5).build();
        sheet.getRange('A2:A3').setDataValidation(list);
        sheet.getRange(2, 2, 1, 2).setDataValidations([[size, least]]);
        const rules = sheet.getRange('A2:D2').getDataValidations()[0];
        return rules.map((r) => r && [String(r.getCriteriaType()), r.getCriteriaValues(), r.getAllowInvalid(),
            r.getHelpText(), r.getCriteriaType() === SpreadsheetApp.DataValidationCriteria.VALUE_IN_LIST]);"""
    )
    assert read == [
        ["VALUE_IN_LIST", [["pending", "done"], True], False, "Pick one", True],
        ["NUMBER_BETWEEN", [1, 150], True, None, False],
        ["NUMBER_GREATER_THAN_OR_EQUAL_TO", [0.5], True, None, False],
        None,
    ]
    values = [{"userEnteredValue": "pending"}, {"userEnteredValue": "done"}]
    assert bench.sheet.cell(2, 0).validation == {
        "condition": {"type": "ONE_OF_LIST", "values": values}, "showCustomUi": True, "strict": True,
        "inputMessage": "Pick one",
    }  # fmt: skip
    bench.run(SHEET + "sheet.getRange('A:A').setDataValidation(null)")
    assert bench.sheet.cell(2, 0).validation is None


def test_a_strict_validation_stops_a_script_too(bench: Bench) -> None:
    """SetValue of what the rule rejects throws in Google's words; a rule that warns lets it pass."""
    rule = "SpreadsheetApp.newDataValidation().requireValueInList(['a', 'b']).setAllowInvalid({}).build()"
    write = "sheet.getRange('A1').setDataValidation({}); sheet.getRange('A1').setValue('c')"
    said = bench.error(SHEET + write.format(rule.format("false")))
    assert said == (
        "Exception: The data you entered in cell A1 violates the data validation rules set on this cell. "
        "Please enter one of the following values: a, b."
    )
    bench.run(SHEET + write.format(rule.format("true")))
    assert bench.sheet.cell(0, 0).user_entered == "c"


def test_checkboxes_hold_true_and_false(bench: Bench) -> None:
    """Inserting sets FALSE, ticking TRUE; removing takes the value too; a mixture is neither."""
    bench.sheet.set_cell(0, 1, "text")
    states = bench.run(
        SHEET
        + """
        const boxes = sheet.getRange('A1:A3').insertCheckboxes();
        const states = [boxes.isChecked(), sheet.getRange('A1').getValue()];
        sheet.getRange('A2').check();
        states.push(boxes.isChecked(), sheet.getRange('A2').isChecked(), sheet.getRange('B1').check().isChecked());
        sheet.getRange('A3').removeCheckboxes();
        return states;"""
    )
    assert states == [False, False, None, True, None]
    assert [bench.sheet.cell(row, 0).user_entered for row in range(3)] == [False, True, None]
    assert bench.sheet.cell(0, 1).user_entered == "text" and bench.sheet.cell(2, 0).validation is None


def test_conditional_formats_are_replaced_as_a_whole_and_read_back(bench: Bench) -> None:
    """Conditions, colours and ranges come back; whole columns stay open when the grid grows."""
    read = bench.run(
        SHEET
        + """
        const rule = () => SpreadsheetApp.newConditionalFormatRule();
        const done = rule().whenTextEqualTo('done').setBackground('#d9ead3').setBold(true).setFontColor('green')
            .setRanges([sheet.getRange('B:B')]).build();
        const row = rule().whenFormulaSatisfied('=$B2="error"').setBackground('red')
            .setRanges([sheet.getRange('A2:E20')]).build();
        sheet.setConditionalFormatRules([done]);
        sheet.setConditionalFormatRules(sheet.getConditionalFormatRules().concat([row]));
        return sheet.getConditionalFormatRules().map((one) => {
          const when = one.getBooleanCondition();
          return [String(when.getCriteriaType()), when.getCriteriaValues(), when.getBackground(), when.getBold(),
              when.getFontColor(), one.getRanges().map((r) => r.getA1Notation())];
        });"""
    )
    assert read == [
        ["TEXT_EQUAL_TO", ["done"], "#d9ead3", True, "#008000", ["B:B"]],
        ["CUSTOM_FORMULA", ['=$B2="error"'], "#ff0000", None, None, ["A2:E20"]],
    ]
    first = bench.sheet.conditional_formats[0]
    assert first.areas == (Area(0, 1, OPEN, 2),)
    assert first.rule["booleanRule"]["condition"] == {"type": "TEXT_EQ", "values": [{"userEnteredValue": "done"}]}


def test_a_protection_is_made_changed_and_taken_away(bench: Bench) -> None:
    """Warning-only, described, moved, found again, removed."""
    read = bench.run(
        SHEET
        + """
        const made = sheet.getRange('C:D').protect().setDescription('ComfySheet').setWarningOnly(true);
        const found = sheet.getProtections(SpreadsheetApp.ProtectionType.RANGE);
        const state = [found.length, found[0].getDescription(), found[0].isWarningOnly(), found[0].canEdit(),
            found[0].getRange().getA1Notation(), sheet.getProtections(SpreadsheetApp.ProtectionType.SHEET).length];
        found[0].setRange(sheet.getRange('E:E'));
        return state;"""
    )
    assert read == [1, "ComfySheet", True, True, "C:D", 0]
    [one] = bench.sheet.protected
    assert (one.area, one.description, one.warning_only) == (Area(0, 4, OPEN, 5), "ComfySheet", True)
    bench.run(SHEET + "ss.getProtections(SpreadsheetApp.ProtectionType.RANGE)[0].remove()")
    assert bench.sheet.protected == []


def test_metadata_sits_on_the_spreadsheet_a_tab_or_a_whole_column(bench: Bench) -> None:
    """It is found by key, changed, followed through moved columns, and refused on any other range."""
    read = bench.run(
        SHEET
        + """
        const seen = SpreadsheetApp.DeveloperMetadataVisibility.DOCUMENT;
        ss.addDeveloperMetadata('comfysheet-proof', 'p-1', seen);
        sheet.addDeveloperMetadata('tab', 'x');
        sheet.getRange('C:C').addDeveloperMetadata('comfysheet-column', 'status', seen);
        sheet.getRange('A:A').addDeveloperMetadata('comfysheet-column', 'prompt');
        const [proof] = ss.createDeveloperMetadataFinder().withKey('comfysheet-proof').find();
        proof.setValue('p-2');
        return [ss.getDeveloperMetadata().map((m) => [m.getKey(), m.getValue(), m.getVisibility() === seen]),
            sheet.getDeveloperMetadata().length, sheet.getRange('C:C').getDeveloperMetadata()[0].getValue(),
            sheet.createDeveloperMetadataFinder().withKey('comfysheet-column').find()
                .map((m) => [m.getValue(), m.getLocation().getColumn().getA1Notation()])];"""
    )
    assert read == [[["comfysheet-proof", "p-2", True]], 1, "status", [["prompt", "A:A"], ["status", "C:C"]]]
    bench.sheet.move_cols(2, 1, 0)
    moved = bench.run(
        SHEET
        + """
        const [found] = ss.createDeveloperMetadataFinder().withValue('status').find();
        const column = found.getLocation().getColumn().getColumn();
        found.remove();
        return [column, ss.createDeveloperMetadataFinder().withValue('status').find().length];"""
    )
    assert moved == [1, 0]
    assert "arbitrary ranges" in bench.error(SHEET + "sheet.getRange('A1:A20').addDeveloperMetadata('k', 'v')")


def test_the_filter_of_a_tab_is_found_made_and_removed(bench: Bench) -> None:
    """There is one at most; removing it shows what it hid."""
    bench.sheet.set_filter(Area(0, 0, 5, 3))
    bench.sheet.set_cell(2, 0, "x")
    bench.sheet.filter_by_values(0, ["x"])
    ask = "return [sheet.getFilter().getRange().getA1Notation(), sheet.isRowHiddenByFilter(3)]"
    assert bench.run(SHEET + ask) == ["A1:C5", True]
    assert "already has a filter" in bench.error(SHEET + "sheet.getRange('A:E').createFilter()")
    bench.run(SHEET + "sheet.getFilter().remove(); sheet.getRange('A:E').createFilter()")
    assert (bench.sheet.basic_filter, bench.sheet.hidden_rows()) == (Area(0, 0, OPEN, 5), set())


def test_looks_are_set_in_the_apis_words(bench: Bench) -> None:
    """Colours, weight, alignment, wrapping; sizes and hidden columns of the tab."""
    read = bench.run(
        SHEET
        + """
        sheet.getRange('A1:B1').setBackground('#abc').setFontColor('white').setFontWeight('bold')
            .setHorizontalAlignment('center').setVerticalAlignment('middle')
            .setWrapStrategy(SpreadsheetApp.WrapStrategy.CLIP);
        sheet.setColumnWidths(1, 2, 240).hideColumns(4, 2);
        sheet.showColumns(5);
        sheet.setTabColor('#4285f4');
        return [sheet.getRange('A1').getBackground(), sheet.isColumnHiddenByUser(4), sheet.isColumnHiddenByUser(5),
            sheet.getTabColor(), sheet.getRange('B1').getWrapStrategy() === SpreadsheetApp.WrapStrategy.CLIP];"""
    )
    assert read == ["#aabbcc", True, False, "#4285f4", True]
    form = bench.sheet.cell(0, 1).format
    assert form is not None
    assert (form["horizontalAlignment"], form["verticalAlignment"], form["wrapStrategy"]) == (
        "CENTER", "MIDDLE", "CLIP",
    )  # fmt: skip
    assert form["textFormat"] == {"foregroundColor": {"red": 1, "green": 1, "blue": 1}, "bold": True}
    assert bench.sheet.column_widths == {0: 240, 1: 240}


def test_notes_of_several_ranges_and_ranges_beside_ranges(bench: Bench) -> None:
    """RangeList.setNote and clearNote; offset and getCell stay on the grid."""
    read = bench.run(
        SHEET
        + """
        sheet.getRangeList(['A1', 'C2:C3']).setNote('why');
        const one = sheet.getRange('B2:C3');
        const shown = [one.offset(1, 1).getA1Notation(), one.offset(0, -1, 1, 1).getA1Notation(),
            one.getCell(2, 1).getA1Notation(), one.getSheet().getName(), sheet.getRange('C3').getNote()];
        sheet.getRangeList(['C2:C3']).clearNote();
        return shown;"""
    )
    assert read == ["C3:D4", "A2", "B3", "Tab", "why"]
    whole = "return ['C:C', 'A2:B', '3:4', 'B2:C2'].map((a1) => sheet.getRange(a1).getA1Notation())"
    assert bench.run(SHEET + whole) == ["C:C", "A2:B", "3:4", "B2:C2"]
    assert (bench.sheet.cell(0, 0).note, bench.sheet.cell(2, 2).note) == ("why", None)
    assert "too small" in bench.error(SHEET + "sheet.getRange('A1').offset(-1, 0)")
    assert "outside the dimensions" in bench.error(SHEET + "sheet.getRange('E20').offset(1, 0)")


def test_selecting_moves_the_page_and_what_is_active(bench: Bench) -> None:
    """Range.activate, setActiveSelection, a new tab: the page is told, and the script reads it back."""
    ui = Pointed()
    project = bench.project(
        Code="function f() {"
        + SHEET
        + """
        sheet.getRange('B2:C3').activate();
        const active = [sheet.getActiveRange().getA1Notation()];
        ss.setActiveSelection('D4');
        sheet.getRangeList(['A1', 'A3:B4']).activate();
        active.push(SpreadsheetApp.getCurrentCell().getA1Notation());
        const results = ss.insertSheet('Results');
        active.push(SpreadsheetApp.getActiveSheet().getName(), ss.getSheetById(results.getSheetId()).getIndex());
        SpreadsheetApp.setActiveSheet(sheet);
        return active; }"""
    )
    project._ui = ui
    assert project.run("f", Selection(0, ())) == ["B2:C3", "A3", "Results", 2]
    assert ui.selected == [
        (0, ((1, 1, 2, 2),)), (0, ((3, 3, 3, 3),)), (0, ((0, 0, 0, 0), (2, 0, 3, 1))), (1, ()), (0, ()),
    ]  # fmt: skip


def test_a_dialogs_size_reaches_the_page(bench: Bench) -> None:
    """SetWidth and setHeight are told; without them the page decides."""
    (bench.folder / "Box.html").write_text("<p>hi")
    ui = Pointed()
    project = bench.project(
        Code="function f() { const ui = SpreadsheetApp.getUi();"
        " ui.showModalDialog(HtmlService.createHtmlOutputFromFile('Box').setWidth(480).setHeight(320), 'Box');"
        " ui.showModelessDialog(HtmlService.createHtmlOutput('x'), 'X'); }"
    )
    project._ui = ui
    project.run("f", Selection(0, ()))
    assert ui.dialogs == [("Box", "<p>hi", 480, 320), ("X", "x", None, None)]


def test_a_page_hears_where_the_script_points(bench: Bench) -> None:
    """The event names the tab and the ranges, ends included."""

    async def listen() -> Any:
        live, ui = Live(bench.book), PageUi()
        live.run_on(asyncio.get_running_loop())
        ui.show_on(live)
        page = live.open("page-1", "user@example.com")
        ui.select(3, ((1, 0, 1, 4),))
        while (news := await asyncio.wait_for(page.news.get(), 20)) is not None and news[0] != "select":
            pass
        return news

    assert asyncio.run(listen()) == ("select", {"sheet": 3, "ranges": [[1, 0, 1, 4]]})


def test_one_protected_cell_stops_the_whole_write(bench: Bench) -> None:
    """Nothing of the range is written."""
    bench.sheet.change(lambda: bench.sheet.protected.append(Protected(1, Area(1, 0, 2, 1), warning_only=False)))
    bench.book.owner = "owner@example.com"
    said = bench.error(SHEET + "sheet.getRange('A1:A3').setValue('x')")
    assert said == (
        "Exception: You are trying to edit a protected cell or object. "
        "Please contact the spreadsheet owner to remove protection if you need to edit."
    )
    assert bench.sheet.cell(0, 0).user_entered is None
