"""Be Range and RangeList: rectangles of cells, with their rules, checkboxes, protection, metadata and selection."""

from collections.abc import Callable
from typing import Any, Self

from sandbox.apps_script_conditions import DataValidation
from sandbox.apps_script_host import Choice, Face, ScriptFault
from sandbox.apps_script_range_dress import RangeDress
from sandbox.workbook import Area, Cell

_CHECKBOX = {"condition": {"type": "BOOLEAN"}, "strict": True, "showCustomUi": True}


class Range(RangeDress):
    """Be a rectangle of cells."""

    NAME = "Range"

    # -- where it is -----------------------------------------------------------------------------------------------

    def getSheet(self) -> Face:
        """Give the tab."""
        from sandbox.apps_script_sheets import Sheet

        return Sheet(self._run, self._cells_of)

    def getGridId(self) -> int:
        """Give the tab's id."""
        return self._cells_of.gid

    def getCell(self, row: int, column: int) -> "Range":
        """Give a cell of the range, counted from 1 within it."""
        if not (1 <= row <= self.getNumRows() and 1 <= column <= self.getNumColumns()):
            raise ScriptFault("Cell reference out of range")
        return self.offset(row - 1, column - 1, 1, 1)

    def offset(
        self, rowOffset: int, columnOffset: int, numRows: int | None = None, numColumns: int | None = None
    ) -> "Range":
        """Give a range beside this one, as large as this one unless said otherwise."""
        top, left = self._area.top + rowOffset, self._area.left + columnOffset
        height = self.getNumRows() if numRows is None else numRows
        width = self.getNumColumns() if numColumns is None else numColumns
        for first, what in ((top, "row"), (left, "column")):
            if first < 0:
                raise ScriptFault(f"The starting {what} of the range is too small.")
        for count, what in ((height, "rows"), (width, "columns")):
            if count < 1:
                raise ScriptFault(f"The number of {what} in the range must be at least 1.")
        if top + height > self._cells_of.rows or left + width > self._cells_of.cols:
            raise ScriptFault("The coordinates of the range are outside the dimensions of the sheet.")
        return Range(self._run, self._cells_of, Area(top, left, top + height, left + width))

    def activate(self) -> Self:
        """Select the cells and show their tab."""
        self._run.select(self._cells_of.gid, (self._inclusive(),))
        return self

    # -- rules for values ------------------------------------------------------------------------------------------

    def getDataValidation(self) -> DataValidation | None:
        """Give the first cell's rule, or null."""
        return self.getDataValidations()[0][0]

    def getDataValidations(self) -> list[list[DataValidation | None]]:
        """Give the rules; null where there is none."""
        area = self._area
        with self._run.book.lock:
            cells = [
                [self._cells_of.cell(row, col) for col in range(area.left, area.right)]
                for row in range(area.top, area.bottom)
            ]
        return [[DataValidation(cell.validation) if cell.validation else None for cell in row] for row in cells]

    def setDataValidation(self, rule: DataValidation | None) -> Self:
        """Put one rule on every cell; null takes them away."""
        return self._write([[rule] * self.getNumColumns()] * self.getNumRows(), self._put_rule)

    def setDataValidations(self, rules: list) -> Self:  # type: ignore[type-arg]
        """Put rules on the cells by a grid."""
        return self._write(rules, self._put_rule)

    def clearDataValidations(self) -> Self:
        """Take the rules away."""
        return self.setDataValidation(None)

    def _put_rule(self, row: int, col: int, rule: DataValidation | None) -> None:
        self._cells_of.set_cell(row, col, validation=rule._rule if rule else None)

    # -- checkboxes ------------------------------------------------------------------------------------------------

    def insertCheckboxes(self) -> Self:
        """Make every cell a checkbox; all of them become FALSE, which is content: getLastRow counts them."""
        return self._over(lambda row, col, _: self._cells_of.set_cell(row, col, False, validation=_CHECKBOX))

    def removeCheckboxes(self) -> Self:
        """Take the checkboxes away, and the TRUE or FALSE in them."""

        def remove(row: int, col: int, cell: Cell) -> None:
            if _is_checkbox(cell):
                kept = None if isinstance(cell.user_entered, bool) else cell.user_entered
                self._cells_of.set_cell(row, col, kept, validation=None)

        return self._over(remove)

    def check(self) -> Self:
        """Tick the checkboxes; other cells are left alone."""
        return self._tick(True)

    def uncheck(self) -> Self:
        """Untick the checkboxes; other cells are left alone."""
        return self._tick(False)

    def isChecked(self) -> bool | None:
        """Say whether all are ticked; null when some are not checkboxes, or when they differ."""
        with self._run.book.lock:
            cells = [self._cells_of.cell(row, col) for row, col in self._area.cells()]
        states = {cell.user_entered is True if _is_checkbox(cell) else None for cell in cells}
        return states.pop() if len(states) == 1 else None

    def _tick(self, state: bool) -> Self:
        def put(row: int, col: int, cell: Cell) -> None:
            if _is_checkbox(cell) and isinstance(cell.user_entered, bool):
                self._cells_of.set_cell(row, col, state)

        return self._over(put)

    # -- what lies over the cells ----------------------------------------------------------------------------------

    def protect(self) -> Face:
        """Protect the cells; nobody is kept out until the editors are changed."""
        from sandbox.apps_script_protection import protect

        return protect(self._run, self._cells_of, self._given)

    def canEdit(self) -> bool:
        """Say whether the present user may edit all the cells."""
        with self._run.editing():
            book, area = self._run.book, self._area
            return all(book.may_edit(one) for one in self._cells_of.protected if one.area.meets(area))

    def createFilter(self) -> Face:
        """Put the tab's basic filter over the range; its first row is the header."""
        from sandbox.apps_script_protection import create_filter

        return create_filter(self._run, self._cells_of, self._given)

    def getFilter(self) -> Face | None:
        """Give the filter of the tab if the range lies in it, or null."""
        from sandbox.apps_script_protection import filter_of

        area = self._cells_of.basic_filter
        return filter_of(self._run, self._cells_of) if area and area.meets(self._area) else None

    def addDeveloperMetadata(
        self, key: str, value: str | Choice | None = None, visibility: Choice | None = None
    ) -> Self:
        """Attach an entry; the range must be one whole row (3:3) or column (C:C)."""
        from sandbox.apps_script_metadata import add_metadata

        add_metadata(self._run, self._cells_of, self._given, key, value, visibility)
        return self

    def getDeveloperMetadata(self) -> list[Face]:
        """Give the entries of this row or column."""
        from sandbox.apps_script_metadata import metadata_on

        return [*metadata_on(self._run, self._cells_of, self._given)]

    def createDeveloperMetadataFinder(self) -> Face:
        """Look for entries of the whole rows and columns in this range."""
        from sandbox.apps_script_metadata import DeveloperMetadataFinder

        return DeveloperMetadataFinder(self._run, self._cells_of, self._given)

    # -- within ----------------------------------------------------------------------------------------------------

    def _inclusive(self) -> tuple[int, int, int, int]:
        return self._area.top, self._area.left, self._area.bottom - 1, self._area.right - 1

    def _over(self, change: Callable[[int, int, Cell], None]) -> Self:
        with self._editing():
            for row, col in self._area.cells():
                change(row, col, self._cells_of.cell(row, col))
        return self


class RangeList(Face):
    """Be several ranges of one sheet."""

    NAME = "RangeList"

    def __init__(self, ranges: list[Range]) -> None:
        """Hold *ranges*."""
        self._ranges = ranges

    def getRanges(self) -> list[Range]:
        """Give the ranges."""
        return list(self._ranges)

    def activate(self) -> "RangeList":
        """Select all of them; the last one is the active one."""
        last = self._ranges[-1]
        last._run.select(last._cells_of.gid, tuple(one._inclusive() for one in self._ranges))
        return self

    def setValue(self, value: Any) -> "RangeList":
        """Write the same into every cell."""
        return self._each(lambda one: one.setValue(value))

    def setFormula(self, formula: str) -> "RangeList":
        """Write the same formula into every cell."""
        return self._each(lambda one: one.setFormula(formula))

    def setNote(self, note: str | None) -> "RangeList":
        """Write the same note to every cell; null takes it away."""
        return self._each(lambda one: one.setNote(note))

    def clearNote(self) -> "RangeList":
        """Take the notes away."""
        return self._each(lambda one: one.clearNote())

    def setNumberFormat(self, numberFormat: str) -> "RangeList":
        """Set the number format of every cell."""
        return self._each(lambda one: one.setNumberFormat(numberFormat))

    def setBackground(self, color: str | None) -> "RangeList":
        """Set the background of every cell."""
        return self._each(lambda one: one.setBackground(color))

    def setFontColor(self, color: str | None) -> "RangeList":
        """Set the text's colour in every cell."""
        return self._each(lambda one: one.setFontColor(color))

    def setFontWeight(self, fontWeight: str | None) -> "RangeList":
        """Set bold or normal in every cell."""
        return self._each(lambda one: one.setFontWeight(fontWeight))

    def setHorizontalAlignment(self, alignment: str | None) -> "RangeList":
        """Align the text in every cell."""
        return self._each(lambda one: one.setHorizontalAlignment(alignment))

    def setVerticalAlignment(self, alignment: str | None) -> "RangeList":
        """Set top, middle or bottom in every cell."""
        return self._each(lambda one: one.setVerticalAlignment(alignment))

    def setWrapStrategy(self, strategy: Choice) -> "RangeList":
        """Set what happens to long text in every cell."""
        return self._each(lambda one: one.setWrapStrategy(strategy))

    def insertCheckboxes(self) -> "RangeList":
        """Make every cell a checkbox."""
        return self._each(lambda one: one.insertCheckboxes())

    def removeCheckboxes(self) -> "RangeList":
        """Take the checkboxes away."""
        return self._each(lambda one: one.removeCheckboxes())

    def check(self) -> "RangeList":
        """Tick the checkboxes."""
        return self._each(lambda one: one.check())

    def uncheck(self) -> "RangeList":
        """Untick the checkboxes."""
        return self._each(lambda one: one.uncheck())

    def clearContent(self) -> "RangeList":
        """Empty the cells."""
        return self._each(lambda one: one.clearContent())

    def clearDataValidations(self) -> "RangeList":
        """Take the rules for values away."""
        return self._each(lambda one: one.clearDataValidations())

    def _each(self, apply: Callable[[Range], object]) -> "RangeList":
        for one in self._ranges:
            apply(one)
        return self


def _is_checkbox(cell: Cell) -> bool:
    return ((cell.validation or {}).get("condition") or {}).get("type") == "BOOLEAN"
