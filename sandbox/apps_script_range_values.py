"""
Be the part of Range that says where it is, reads and writes.

Rows and columns count from 1 in the script, from 0 within.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

from sandbox.apps_script_host import Face, ScriptFault
from sandbox.apps_script_run import Run
from sandbox.apps_script_values import ScriptValue, merged, number_format, read_value, write_value
from sandbox.workbook import OPEN, Area, Cell, Sheet, column_name

Grid = list[list[ScriptValue]]


class RangeValues(Face):
    """Be a rectangle of cells and what they hold."""

    def __init__(self, run: Run, sheet: Sheet, area: Area) -> None:
        """Name *area* of *sheet*; an open one, such as C:C, stays known as the whole column."""
        self._run = run
        self._cells_of = sheet
        self._given = area
        self._area = area.within(sheet.rows, sheet.cols) if OPEN in (area.bottom, area.right) else area

    # -- where it is -----------------------------------------------------------------------------------------------

    def getRow(self) -> int:
        """Give the first row."""
        return self._area.top + 1

    def getColumn(self) -> int:
        """Give the first column."""
        return self._area.left + 1

    def getLastRow(self) -> int:
        """Give the last row."""
        return self._area.bottom

    def getLastColumn(self) -> int:
        """Give the last column."""
        return self._area.right

    def getNumRows(self) -> int:
        """Count the rows."""
        return self._area.bottom - self._area.top

    def getNumColumns(self) -> int:
        """Count the columns."""
        return self._area.right - self._area.left

    def getA1Notation(self) -> str:
        """Give A1 or A1:B2, without the sheet; whole columns and rows are C:C, A2:A and 3:3."""
        given = self._given
        open_below, open_right = given.bottom == OPEN, given.right == OPEN
        if open_right and not open_below:
            return f"{given.top + 1}:{given.bottom}"
        if open_below and not open_right:
            first = column_name(given.left) + (str(given.top + 1) if given.top else "")
            return f"{first}:{column_name(given.right - 1)}"
        first = f"{column_name(self._area.left)}{self.getRow()}"
        last = f"{column_name(self._area.right - 1)}{self.getLastRow()}"
        return first if first == last else f"{first}:{last}"

    # -- reading ---------------------------------------------------------------------------------------------------

    def isBlank(self) -> bool:
        """Say whether there is nothing in the cells."""
        return all(value == "" for row in self._read(_content) for value in row)

    def getValue(self) -> ScriptValue:
        """Read the first cell."""
        return self.getValues()[0][0]

    def getValues(self) -> Grid:
        """Read the cells."""
        return self._read(lambda cell: read_value(self._run.book, cell))

    def getDisplayValue(self) -> str:
        """Read what the first cell shows."""
        return str(self.getDisplayValues()[0][0])

    def getDisplayValues(self) -> Grid:
        """Read what the cells show."""
        return self._read(lambda cell: cell.formatted)

    def getFormula(self) -> str:
        """Read the first cell's formula."""
        return str(self.getFormulas()[0][0])

    def getFormulas(self) -> Grid:
        """Read the formulas; '' where there is none."""
        return self._read(lambda cell: cell.formula or "")

    def getNote(self) -> str:
        """Read the first cell's note."""
        return str(self.getNotes()[0][0])

    def getNotes(self) -> Grid:
        """Read the notes."""
        return self._read(lambda cell: cell.note or "")

    def getNumberFormat(self) -> str:
        """Read the first cell's number format."""
        return str(self.getNumberFormats()[0][0])

    def getNumberFormats(self) -> Grid:
        """Read the number formats; automatic is "0.###############", as at Google's."""
        return self._read(lambda cell: cell.number_format or "0.###############")

    # -- writing ---------------------------------------------------------------------------------------------------

    def setValue(self, value: Any) -> Self:
        """Write the same into every cell."""
        return self._write([[value] * self.getNumColumns()] * self.getNumRows(), self._put)

    def setValues(self, values: list) -> Self:  # type: ignore[type-arg]
        """Write a grid of the same size."""
        return self._write(values, self._put)

    def setNote(self, note: str | None) -> Self:
        """Write the same note to every cell; null takes it away."""
        return self._write([[note] * self.getNumColumns()] * self.getNumRows(), self._put_note)

    def setNotes(self, notes: list) -> Self:  # type: ignore[type-arg]
        """Write a grid of notes."""
        return self._write(notes, self._put_note)

    def setNumberFormat(self, numberFormat: str) -> Self:
        """Set the number format of every cell."""
        return self._dress(numberFormat=number_format(numberFormat))

    def setNumberFormats(self, numberFormats: list) -> Self:  # type: ignore[type-arg]
        """Set the number formats by a grid."""

        def put(row: int, col: int, pattern: str) -> None:
            cell = self._cells_of.cell(row, col)
            self._cells_of.set_cell(row, col, format=merged(cell, numberFormat=number_format(pattern)))

        return self._write(numberFormats, put)

    def clearContent(self) -> Self:
        """Empty the cells; formats and notes stay."""
        with self._editing():
            self._cells_of.clear(self._area)
        return self

    def setFormula(self, formula: str) -> Self:
        """Write the same formula into every cell."""
        text = formula if formula.startswith("=") else f"={formula}"
        return self.setValue(text if formula else "")

    def clearNote(self) -> Self:
        """Take the notes away."""
        return self.setNote(None)

    # -- within ----------------------------------------------------------------------------------------------------

    @contextmanager
    def _editing(self) -> Iterator[None]:
        """Edit these cells, or none of them when they are protected from this user."""
        with self._run.editing():
            self._cells_of.refuse_protected(self._area)
            yield
            self._run.unflushed += 1

    def _read(self, of: Callable[[Cell], ScriptValue]) -> Grid:
        rows, columns = range(self._area.top, self._area.bottom), range(self._area.left, self._area.right)
        with self._run.book.lock:
            return [[of(self._cells_of.cell(row, col)) for col in columns] for row in rows]

    def _write(self, grid: list[Any], put: Callable[[int, int, Any], None]) -> Self:
        self._check_size(grid)
        with self._editing():
            for row, values in enumerate(grid, start=self._area.top):
                for col, value in enumerate(values, start=self._area.left):
                    put(row, col, value)
        return self

    def _check_size(self, grid: list[Any]) -> None:
        if not grid or not all(isinstance(row, list) for row in grid):
            raise ScriptFault("The parameters (Array) don't match the method signature for Range.setValues.")
        _refuse_size("rows", len(grid), self.getNumRows())
        for row in grid:
            _refuse_size("columns", len(row), self.getNumColumns())

    def _put(self, row: int, col: int, value: Any) -> None:
        write_value(self._run.book, self._cells_of, row, col, value)

    def _put_note(self, row: int, col: int, note: str | None) -> None:
        self._cells_of.set_cell(row, col, note=note)

    def _dress(self, **parts: Any) -> Self:
        with self._editing():
            for row, col in self._area.cells():
                self._cells_of.set_cell(row, col, format=merged(self._cells_of.cell(row, col), **parts))
        return self


def _content(cell: Cell) -> str:
    return "" if cell.user_entered is None else "x"


def _refuse_size(what: str, given: int, wanted: int) -> None:
    if given != wanted:
        raise ScriptFault(
            f"The number of {what} in the data does not match the number of {what} in the range. "
            f"The data has {given} but the range has {wanted}."
        )
