"""Be the part of Sheet that is about its rows and columns. They count from 1 in the script, from 0 within."""

from collections.abc import Callable
from typing import Any, Self

from sandbox.apps_script_host import Face, ScriptFault
from sandbox.apps_script_run import Run
from sandbox.apps_script_values import write_value
from sandbox.workbook import DEFAULT_COLUMN_WIDTH, DEFAULT_ROW_HEIGHT, Axis, Dimension
from sandbox.workbook import Sheet as Tab


class SheetGrid(Face):
    """Be a tab's rows and columns."""

    def __init__(self, run: Run, tab: Tab) -> None:
        """Look at *tab*."""
        self._run = run
        self._tab = tab

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
        with self._run.editing():
            self._tab.freeze(rows=rows)

    def getFrozenColumns(self) -> int:
        """Count the frozen columns."""
        return self._tab.frozen_cols

    def setFrozenColumns(self, columns: int) -> None:
        """Freeze the first *columns* columns."""
        with self._run.editing():
            self._tab.freeze(cols=columns)

    def getColumnWidth(self, columnPosition: int) -> int:
        """Give the width in pixels."""
        return self._tab.column_widths.get(columnPosition - 1, DEFAULT_COLUMN_WIDTH)

    def setColumnWidth(self, columnPosition: int, width: int) -> Self:
        """Set the width in pixels."""
        return self._resize("COLUMNS", columnPosition, 1, width)

    def getRowHeight(self, rowPosition: int) -> int:
        """Give the height in pixels."""
        return self._tab.row_heights.get(rowPosition - 1, DEFAULT_ROW_HEIGHT)

    def setRowHeight(self, rowPosition: int, height: int) -> Self:
        """Set the height in pixels."""
        return self._resize("ROWS", rowPosition, 1, height)

    def setRowHeights(self, startRow: int, numRows: int, height: int) -> Self:
        """Set the height of several rows in pixels."""
        return self._resize("ROWS", startRow, numRows, height)

    def setColumnWidths(self, startColumn: int, numColumns: int, width: int) -> Self:
        """Set the width of several columns in pixels."""
        return self._resize("COLUMNS", startColumn, numColumns, width)

    # -- inserting, deleting, hiding -------------------------------------------------------------------------------

    def insertColumnsAfter(self, afterPosition: int, howMany: int) -> Self:
        """Put blank columns behind a column."""
        return self._edit(lambda tab: tab.insert_cols(afterPosition, howMany, inherit="before"))

    def insertColumnAfter(self, afterPosition: int) -> Self:
        """Put a blank column behind a column."""
        return self.insertColumnsAfter(afterPosition, 1)

    def insertColumnsBefore(self, beforePosition: int, howMany: int) -> Self:
        """Put blank columns before a column."""
        return self._edit(lambda tab: tab.insert_cols(beforePosition - 1, howMany, inherit="after"))

    def insertColumnBefore(self, beforePosition: int) -> Self:
        """Put a blank column before a column."""
        return self.insertColumnsBefore(beforePosition, 1)

    def deleteColumns(self, columnPosition: int, howMany: int) -> None:
        """Delete columns."""
        self._edit(lambda tab: tab.delete_cols(columnPosition - 1, howMany))

    def deleteColumn(self, columnPosition: int) -> Self:
        """Delete a column."""
        return self._edit(lambda tab: tab.delete_cols(columnPosition - 1))

    def insertRowsAfter(self, afterPosition: int, howMany: int) -> Self:
        """Put blank rows behind a row."""
        return self._edit(lambda tab: tab.insert_rows(afterPosition, howMany, inherit="before"))

    def insertRowAfter(self, afterPosition: int) -> Self:
        """Put a blank row behind a row."""
        return self.insertRowsAfter(afterPosition, 1)

    def insertRowsBefore(self, beforePosition: int, howMany: int) -> Self:
        """Put blank rows before a row."""
        return self._edit(lambda tab: tab.insert_rows(beforePosition - 1, howMany, inherit="after"))

    def insertRowBefore(self, beforePosition: int) -> Self:
        """Put a blank row before a row."""
        return self.insertRowsBefore(beforePosition, 1)

    def deleteRows(self, rowPosition: int, howMany: int) -> None:
        """Delete rows."""
        self._edit(lambda tab: tab.delete_rows(rowPosition - 1, howMany))

    def deleteRow(self, rowPosition: int) -> Self:
        """Delete a row."""
        return self._edit(lambda tab: tab.delete_rows(rowPosition - 1))

    def hideColumns(self, columnIndex: int, numColumns: int = 1) -> None:
        """Hide columns."""
        self._hide("COLUMNS", columnIndex, numColumns, hidden=True)

    def showColumns(self, columnIndex: int, numColumns: int = 1) -> None:
        """Show columns."""
        self._hide("COLUMNS", columnIndex, numColumns, hidden=False)

    def isColumnHiddenByUser(self, columnPosition: int) -> bool:
        """Say whether a person or a script hid the column."""
        if not 1 <= columnPosition <= self._tab.cols:
            raise ScriptFault("Those columns are out of bounds.")
        return self._tab.dimension("COLUMNS", columnPosition - 1).hidden_by_user

    def hideRows(self, rowIndex: int, numRows: int = 1) -> None:
        """Hide rows."""
        self._hide("ROWS", rowIndex, numRows, hidden=True)

    def showRows(self, rowIndex: int, numRows: int = 1) -> None:
        """Show rows that were hidden by hand."""
        self._hide("ROWS", rowIndex, numRows, hidden=False)

    def appendRow(self, rowContents: list) -> Self:  # type: ignore[type-arg]
        """Write a row below the last one with content."""
        with self._run.editing():
            row = self._tab.data_extent()[0]
            if row == self._tab.rows:
                self._tab.insert_rows(row, 1, inherit="before")
            for col, value in enumerate(rowContents):
                write_value(self._run.book, self._tab, row, col, value)
            self._run.unflushed += 1
        return self

    # -- within ----------------------------------------------------------------------------------------------------

    def _row(self, position: int) -> Dimension:
        if not 1 <= position <= self._tab.rows:
            raise ScriptFault("Those rows are out of bounds.")
        return self._tab.dimension("ROWS", position - 1)

    def _edit(self, change: Callable[[Tab], object], outside: str = "Those rows are out of bounds.") -> Self:
        try:
            with self._run.editing():
                change(self._tab)
                self._run.unflushed += 1
        except (ValueError, IndexError) as error:
            raise ScriptFault(outside if isinstance(error, IndexError) else str(error)) from error
        return self

    def _resize(self, axis: Axis, position: int, count: int, pixels: int) -> Self:
        return self._dimension(axis, position, count, pixel_size=pixels)

    def _hide(self, axis: Axis, position: int, count: int, *, hidden: bool) -> None:
        self._dimension(axis, position, count, hidden_by_user=hidden)

    def _dimension(self, axis: Axis, position: int, count: int, **parts: Any) -> Self:
        outside = f"Those {axis.lower()} are out of bounds."
        return self._edit(lambda tab: tab.set_dimension(axis, position - 1, count, **parts), outside)
