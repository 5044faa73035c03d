"""Be SpreadsheetApp, Spreadsheet and Sheet over the workbook."""

from functools import partial

from sandbox.apps_script_colours import read_colour
from sandbox.apps_script_conditions import (
    BOOLEANS,
    VALIDATIONS,
    ConditionalFormatRule,
    ConditionalFormatRuleBuilder,
    DataValidationBuilder,
)
from sandbox.apps_script_grid import SheetGrid
from sandbox.apps_script_host import Choice, Face, ScriptFault
from sandbox.apps_script_metadata import DeveloperMetadata, DeveloperMetadataFinder, add_metadata, metadata_on
from sandbox.apps_script_protection import Filter, Protection, filter_of, protections_of
from sandbox.apps_script_range import Range, RangeList
from sandbox.apps_script_run import Run
from sandbox.apps_script_ui import SubMenu, Ui
from sandbox.sheets_errors import GoogleError
from sandbox.sheets_ranges import read_a1
from sandbox.workbook import OPEN, Area, ConditionalFormat

_OUTSIDE = "The coordinates of the range are outside the dimensions of the sheet."


class Sheet(SheetGrid):
    """Be one tab."""

    NAME = "Sheet"

    def getName(self) -> str:
        """Give the title."""
        return self._tab.title

    def getSheetName(self) -> str:
        """Give the title."""
        return self._tab.title

    def setName(self, name: str) -> "Sheet":
        """Change the title."""
        return self._edit(lambda tab: self._run.book.rename_sheet(tab.gid, name))

    def getIndex(self) -> int:
        """Give the place among the tabs, from 1."""
        return self._run.book.sheets.index(self._tab) + 1

    def getTabColor(self) -> str | None:
        """Give the tab's colour, or null."""
        return self._tab.tab_color

    def setTabColor(self, color: str | None) -> "Sheet":
        """Set the tab's colour; null takes it away."""
        found = read_colour(color) if color else None
        return self._edit(lambda tab: tab.change(partial(setattr, tab, "tab_color", found)))

    def isSheetHidden(self) -> bool:
        """Say whether the tab is hidden."""
        return self._tab.hidden

    def hideSheet(self) -> "Sheet":
        """Hide the tab."""
        return self._edit(lambda tab: tab.change(partial(setattr, tab, "hidden", True)))

    def showSheet(self) -> "Sheet":
        """Show the tab."""
        return self._edit(lambda tab: tab.change(partial(setattr, tab, "hidden", False)))

    def getSheetId(self) -> int:
        """Give the id (gid)."""
        return self._tab.gid

    def getParent(self) -> "Spreadsheet":
        """Give the spreadsheet."""
        return Spreadsheet(self._run)

    # -- ranges ----------------------------------------------------------------------------------------------------

    def getRange(self, row: int | str, column: int | None = None, numRows: int = 1, numColumns: int = 1) -> Range:
        """Name a range: (row, column, numRows, numColumns) or A1 text."""
        if isinstance(row, str):
            return self._named(row)
        if column is None:
            raise ScriptFault("The parameters (number) don't match the method signature for Sheet.getRange.")
        for first, what in ((row, "row"), (column, "column")):
            if first < 1:
                raise ScriptFault(f"The starting {what} of the range is too small.")
        for count, what in ((numRows, "rows"), (numColumns, "columns")):
            if count < 1:
                raise ScriptFault(f"The number of {what} in the range must be at least 1.")
        area = Area(row - 1, column - 1, row - 1 + numRows, column - 1 + numColumns)
        if area.bottom > self._tab.rows or area.right > self._tab.cols:
            raise ScriptFault(_OUTSIDE)
        return Range(self._run, self._tab, area)

    def getRangeList(self, a1Notations: list) -> RangeList:  # type: ignore[type-arg]
        """Name several ranges."""
        return RangeList([self._named(str(one)) for one in a1Notations])

    def getDataRange(self) -> Range:
        """Name everything from A1 to the last cell with content; A1 alone when there is none."""
        rows, cols = self._tab.data_extent()
        return Range(self._run, self._tab, Area(0, 0, max(rows, 1), max(cols, 1)))

    def getActiveRange(self) -> Range | None:
        """Give the last selected range."""
        return SpreadsheetApp(self._run, []).getActiveRange()

    def getActiveRangeList(self) -> RangeList | None:
        """Give the selected ranges."""
        return SpreadsheetApp(self._run, []).getActiveRangeList()

    # -- selecting -------------------------------------------------------------------------------------------------

    def activate(self) -> "Sheet":
        """Show the tab; its own selection stays."""
        self._run.select(self._tab.gid, ())
        return self

    def setActiveRange(self, range: Range) -> Range:
        """Select cells and show the tab."""
        return range.activate()

    def setActiveSelection(self, range: Range | str) -> Range:
        """Select cells, also by A1 text, and show the tab."""
        return (self._named(range) if isinstance(range, str) else range).activate()

    def setActiveRangeList(self, rangeList: RangeList) -> RangeList:
        """Select several ranges and show the tab."""
        return rangeList.activate()

    def getCurrentCell(self) -> Range | None:
        """Give the first cell of the last selected range."""
        found = self.getActiveRange()
        return found.getCell(1, 1) if found else None

    # -- what lies over the cells ----------------------------------------------------------------------------------

    def getConditionalFormatRules(self) -> list[ConditionalFormatRule]:
        """Give the conditional formats, the first one first."""
        return [
            ConditionalFormatRule(one.rule, [Range(self._run, self._tab, area) for area in one.areas])
            for one in self._tab.conditional_formats
        ]

    def setConditionalFormatRules(self, rules: list) -> None:  # type: ignore[type-arg]
        """Have these conditional formats and no other."""
        wanted: list[ConditionalFormat] = []
        for one in rules:
            if not isinstance(one, ConditionalFormatRule):
                raise ScriptFault(
                    "The parameters (Array) don't match the method signature for Sheet.setConditionalFormatRules."
                )
            ranges = [place for place in one._ranges if isinstance(place, Range)]
            if any(place._cells_of is not self._tab for place in ranges):
                raise ScriptFault("Conditional format rule cannot reference a different sheet.")
            wanted.append(ConditionalFormat(tuple(place._given for place in ranges), one._rule))
        self._edit(lambda tab: tab.change(partial(setattr, tab, "conditional_formats", wanted)))

    def clearConditionalFormatRules(self) -> None:
        """Take every conditional format away."""
        self.setConditionalFormatRules([])

    def getProtections(self, type: Choice) -> list[Protection]:
        """Give the protected ranges; there are no protected tabs."""
        return protections_of(self._run, [self._tab], type)

    def getFilter(self) -> Filter | None:
        """Give the basic filter, or null."""
        return filter_of(self._run, self._tab)

    def addDeveloperMetadata(
        self, key: str, value: str | Choice | None = None, visibility: Choice | None = None
    ) -> "Sheet":
        """Attach an entry to the tab."""
        add_metadata(self._run, self._tab, None, key, value, visibility)
        return self

    def getDeveloperMetadata(self) -> list[DeveloperMetadata]:
        """Give the entries of the tab itself."""
        return metadata_on(self._run, self._tab, None)

    def createDeveloperMetadataFinder(self) -> DeveloperMetadataFinder:
        """Look for entries of the tab, its rows and its columns."""
        return DeveloperMetadataFinder(self._run, self._tab)

    # -- within ----------------------------------------------------------------------------------------------------

    def _named(self, a1: str) -> Range:
        text = a1 if "!" in a1 else f"'{self._tab.title.replace(chr(39), chr(39) * 2)}'!{a1}"
        try:
            tab, area = read_a1(self._run.book, text)
        except GoogleError as error:
            raise ScriptFault("Range not found") from error
        for end, size in ((area.bottom, tab.rows), (area.right, tab.cols)):
            if end != OPEN and end > size:
                raise ScriptFault(_OUTSIDE)
        return Range(self._run, tab, area)


class Spreadsheet(Face):
    """Be the spreadsheet."""

    NAME = "Spreadsheet"

    def __init__(self, run: Run) -> None:
        """Serve one execution."""
        self._run = run

    def getId(self) -> str:
        """Give the id."""
        return self._run.book.spreadsheet_id

    def getName(self) -> str:
        """Give the title."""
        return self._run.book.title

    def getUrl(self) -> str:
        """Give the address."""
        return f"https://docs.google.com/spreadsheets/d/{self._run.book.spreadsheet_id}/edit"

    def getSpreadsheetTimeZone(self) -> str:
        """Give the time zone."""
        return self._run.book.time_zone

    def getSpreadsheetLocale(self) -> str:
        """Give the locale."""
        return self._run.book.locale

    def getSheetByName(self, name: str) -> Sheet | None:
        """Find a tab by its title."""
        tab = self._run.book.sheet_by_title(name)
        return Sheet(self._run, tab) if tab else None

    def getSheets(self) -> list[Sheet]:
        """Give all tabs."""
        return [Sheet(self._run, tab) for tab in self._run.book.sheets]

    def getSheetById(self, id: int) -> Sheet | None:
        """Find a tab by its id."""
        tab = self._run.book.sheet_by_id(id)
        return Sheet(self._run, tab) if tab else None

    def getNumSheets(self) -> int:
        """Count the tabs."""
        return len(self._run.book.sheets)

    def insertSheet(self, sheetName: str | None = None, sheetIndex: int | None = None) -> Sheet:
        """Add a tab and show it; without a place it comes behind the active one."""
        book = self._run.book
        behind = self.getActiveSheet().getIndex()
        try:
            with self._run.editing():
                title = sheetName or _free_title(self._run)
                tab = book.add_sheet(title, index=behind if sheetIndex is None else sheetIndex)
        except ValueError as error:
            raise ScriptFault(str(error)) from error
        return self.setActiveSheet(Sheet(self._run, tab))

    def deleteSheet(self, sheet: Sheet) -> None:
        """Delete a tab."""
        sheet._edit(lambda tab: self._run.book.delete_sheet(tab.gid))

    def setActiveSheet(self, sheet: Sheet, restoreSelection: bool = True) -> Sheet:
        """Show a tab."""
        return sheet.activate()

    def setActiveRange(self, range: Range) -> Range:
        """Select cells and show their tab."""
        return range.activate()

    def setActiveSelection(self, range: Range | str) -> Range:
        """Select cells, also by A1 text, and show their tab."""
        return self.getActiveSheet().setActiveSelection(range)

    def setActiveRangeList(self, rangeList: RangeList) -> RangeList:
        """Select several ranges and show their tab."""
        return rangeList.activate()

    def getRange(self, a1Notation: str) -> Range:
        """Name a range; without a title it is on the active tab."""
        return self.getActiveSheet()._named(a1Notation)

    def getProtections(self, type: Choice) -> list[Protection]:
        """Give the protected ranges of all tabs."""
        return protections_of(self._run, self._run.book.sheets, type)

    def addDeveloperMetadata(
        self, key: str, value: str | Choice | None = None, visibility: Choice | None = None
    ) -> "Spreadsheet":
        """Attach an entry to the spreadsheet."""
        add_metadata(self._run, None, None, key, value, visibility)
        return self

    def getDeveloperMetadata(self) -> list[DeveloperMetadata]:
        """Give the entries of the spreadsheet itself."""
        return metadata_on(self._run, None, None)

    def createDeveloperMetadataFinder(self) -> DeveloperMetadataFinder:
        """Look for entries of the spreadsheet and of everything in it."""
        return DeveloperMetadataFinder(self._run)

    def getActiveRange(self) -> Range | None:
        """Give the last selected range."""
        return SpreadsheetApp(self._run, []).getActiveRange()

    def getActiveSheet(self) -> Sheet:
        """Give the tab that the person looks at."""
        tab = self._run.book.sheet_by_id(self._run.selection.sheet_id)
        return Sheet(self._run, tab or self._run.book.sheets[0])

    def getActiveRangeList(self) -> RangeList | None:
        """Give the selected ranges."""
        return SpreadsheetApp(self._run, []).getActiveRangeList()

    def toast(self, msg: str, title: str = "", timeoutSeconds: float | None = 5) -> None:
        """Say something in passing."""
        self._run.ui.toast(msg, title, 5 if timeoutSeconds is None else timeoutSeconds)


class SpreadsheetApp(Face):
    """Be the service."""

    NAME = "SpreadsheetApp"
    ENUMS = {  # noqa: RUF012
        "BooleanCriteria": tuple(BOOLEANS),
        "DataValidationCriteria": tuple(VALIDATIONS),
        "DeveloperMetadataLocationType": ("SPREADSHEET", "SHEET", "ROW", "COLUMN"),
        "DeveloperMetadataVisibility": ("DOCUMENT", "PROJECT"),
        "ProtectionType": ("RANGE", "SHEET"),
        "WrapStrategy": ("WRAP", "OVERFLOW", "CLIP"),
    }

    def __init__(self, run: Run, menus: list[SubMenu]) -> None:
        """Serve one execution; *menus* takes what is added to the bar."""
        self._run = run
        self._ui = Ui(run, menus)

    def getActive(self) -> Spreadsheet:
        """Give the spreadsheet."""
        return Spreadsheet(self._run)

    def getActiveSpreadsheet(self) -> Spreadsheet:
        """Give the spreadsheet."""
        return Spreadsheet(self._run)

    def getActiveSheet(self) -> Sheet:
        """Give the tab that the person looks at."""
        return Spreadsheet(self._run).getActiveSheet()

    def getActiveRangeList(self) -> RangeList | None:
        """Give the selected ranges as far as they lie on the grid; null when there is none."""
        tab = self.getActiveSheet()._tab
        chosen = self._run.selection.ranges
        areas = [Area(r0, c0, r1 + 1, c1 + 1).within(tab.rows, tab.cols) for r0, c0, r1, c1 in chosen]
        ranges = [Range(self._run, tab, area) for area in areas if area.top < area.bottom and area.left < area.right]
        return RangeList(ranges) if ranges else None

    def getActiveRange(self) -> Range | None:
        """Give the last selected range."""
        selected = self.getActiveRangeList()
        return selected.getRanges()[-1] if selected else None

    def getCurrentCell(self) -> Range | None:
        """Give the first cell of the last selected range."""
        return self.getActiveSheet().getCurrentCell()

    def setActiveSheet(self, sheet: Sheet, restoreSelection: bool = True) -> Sheet:
        """Show a tab."""
        return sheet.activate()

    def setActiveRange(self, range: Range) -> Range:
        """Select cells and show their tab."""
        return range.activate()

    def setActiveRangeList(self, rangeList: RangeList) -> RangeList:
        """Select several ranges and show their tab."""
        return rangeList.activate()

    def newDataValidation(self) -> DataValidationBuilder:
        """Begin a rule for values."""
        return DataValidationBuilder()

    def newConditionalFormatRule(self) -> ConditionalFormatRuleBuilder:
        """Begin a conditional format."""
        return ConditionalFormatRuleBuilder({}, [])

    def getUi(self) -> Ui:
        """Give the user interface."""
        return self._ui

    def flush(self) -> None:
        """Let everybody see what was written."""
        self._run.unflushed = 0


def _free_title(run: Run) -> str:
    number = len(run.book.sheets) + 1
    while run.book.sheet_by_title(f"Sheet{number}"):
        number += 1
    return f"Sheet{number}"
