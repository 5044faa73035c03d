"""Be SpreadsheetApp, Spreadsheet and Sheet over the workbook."""

from typing import Any

from sandbox.apps_script_host import Face, ScriptFault
from sandbox.apps_script_range import Range, RangeList
from sandbox.apps_script_run import Run
from sandbox.apps_script_ui import SubMenu, Ui
from sandbox.apps_script_values import write_value
from sandbox.sheets_errors import GoogleError
from sandbox.sheets_ranges import read_a1
from sandbox.workbook import DEFAULT_COLUMN_WIDTH, DEFAULT_ROW_HEIGHT, OPEN, Area, Dimension
from sandbox.workbook import Sheet as Tab

_OUTSIDE = "The coordinates of the range are outside the dimensions of the sheet."


class Sheet(Face):
    """Be one tab."""

    NAME = "Sheet"

    def __init__(self, run: Run, tab: Tab) -> None:
        """Look at *tab*."""
        self._run = run
        self._tab = tab

    def getName(self) -> str:
        """Give the title."""
        return self._tab.title

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

    # -- size ------------------------------------------------------------------------------------------------------

    def getLastRow(self) -> int:
        """Give the last row with content; 0 when there is none."""
        return self._tab.data_extent()[0]

    def getLastColumn(self) -> int:
        """Give the last column with content; 0 when there is none."""
        return self._tab.data_extent()[1]

    def getMaxRows(self) -> int:
        """Count the grid's rows."""
        return self._tab.rows

    def getMaxColumns(self) -> int:
        """Count the grid's columns."""
        return self._tab.cols

    # -- rows and columns ------------------------------------------------------------------------------------------

    def isRowHiddenByFilter(self, rowPosition: int) -> bool:
        """Say whether the filter hides the row."""
        return self._row(rowPosition).hidden_by_filter

    def isRowHiddenByUser(self, rowPosition: int) -> bool:
        """Say whether a person hid the row."""
        return self._row(rowPosition).hidden_by_user

    def getFrozenRows(self) -> int:
        """Count the frozen rows."""
        return self._tab.frozen_rows

    def setFrozenRows(self, rows: int) -> None:
        """Freeze the first *rows* rows."""
        with self._run.book.editing("script"):
            self._tab.freeze(rows=rows)

    def getFrozenColumns(self) -> int:
        """Count the frozen columns."""
        return self._tab.frozen_cols

    def setFrozenColumns(self, columns: int) -> None:
        """Freeze the first *columns* columns."""
        with self._run.book.editing("script"):
            self._tab.freeze(cols=columns)

    def getColumnWidth(self, columnPosition: int) -> int:
        """Give the width in pixels."""
        return self._tab.column_widths.get(columnPosition - 1, DEFAULT_COLUMN_WIDTH)

    def setColumnWidth(self, columnPosition: int, width: int) -> "Sheet":
        """Set the width in pixels."""
        return self._resize("COLUMNS", columnPosition, 1, width)

    def getRowHeight(self, rowPosition: int) -> int:
        """Give the height in pixels."""
        return self._tab.row_heights.get(rowPosition - 1, DEFAULT_ROW_HEIGHT)

    def setRowHeight(self, rowPosition: int, height: int) -> "Sheet":
        """Set the height in pixels."""
        return self._resize("ROWS", rowPosition, 1, height)

    def setRowHeights(self, startRow: int, numRows: int, height: int) -> "Sheet":
        """Set the height of several rows in pixels."""
        return self._resize("ROWS", startRow, numRows, height)

    def insertColumnsAfter(self, afterPosition: int, howMany: int) -> "Sheet":
        """Put blank columns behind a column."""
        with self._run.book.editing("script"):
            self._tab.insert_cols(afterPosition, howMany, inherit="before")
        return self

    def insertRowsAfter(self, afterPosition: int, howMany: int) -> "Sheet":
        """Put blank rows behind a row."""
        with self._run.book.editing("script"):
            self._tab.insert_rows(afterPosition, howMany, inherit="before")
        return self

    def appendRow(self, rowContents: list) -> "Sheet":  # type: ignore[type-arg]
        """Write a row below the last one with content."""
        with self._run.book.editing("script"):
            row = self._tab.data_extent()[0]
            if row == self._tab.rows:
                self._tab.insert_rows(row, 1, inherit="before")
            for col, value in enumerate(rowContents):
                write_value(self._run.book, self._tab, row, col, value)
            self._run.unflushed += 1
        return self

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

    def _row(self, position: int) -> Dimension:
        if not 1 <= position <= self._tab.rows:
            raise ScriptFault("Those rows are out of bounds.")
        return self._tab.dimension("ROWS", position - 1)

    def _resize(self, axis: Any, position: int, count: int, pixels: int) -> "Sheet":
        try:
            with self._run.book.editing("script"):
                self._tab.set_dimension(axis, position - 1, count, pixel_size=pixels)
        except IndexError as error:
            raise ScriptFault(f"Those {axis.lower()} are out of bounds.") from error
        return self


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

    def getUi(self) -> Ui:
        """Give the user interface."""
        return self._ui

    def flush(self) -> None:
        """Let everybody see what was written."""
        self._run.unflushed = 0
