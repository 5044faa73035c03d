"""
Hold one tab of a workbook: its cells, their sorting and filtering (its rows and columns are in workbook_lines).

Every change runs in the workbook's `editing` (which takes the lock and tells the listeners); reading one cell needs no
lock, reading several that belong together does. Indexes are 0-based; an index outside the grid is an IndexError,
a request that Sheets would refuse a ValueError with a sentence.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from sandbox.workbook_areas import Area, Refused, column_name
from sandbox.workbook_cells import MAX_CELL_CHARS, TOO_LONG, Cell, CellError, Format, Formula, Value
from sandbox.workbook_conditions import passes, refusal_of
from sandbox.workbook_formats import read_typed
from sandbox.workbook_history import Shuffled
from sandbox.workbook_lines import DEFAULT_COLUMN_WIDTH, DEFAULT_ROW_HEIGHT, EMPTY, Owner, SheetLines

__all__ = ["DEFAULT_COLUMN_WIDTH", "DEFAULT_ROW_HEIGHT", "KEEP", "Owner", "Sheet"]


class _Keep:
    """Say "leave this part as it is" where None already says "clear it"."""


KEEP: Final = _Keep()


class Sheet(SheetLines):
    """Be one tab; made by Workbook.add_sheet."""

    # -- cells -----------------------------------------------------------------------------------------------------

    def set_cell(
        self,
        row: int,
        col: int,
        value: Value | int | _Keep = KEEP,
        *,
        note: str | _Keep | None = KEEP,
        format: Format | _Keep | None = KEEP,
        validation: Mapping[str, Any] | _Keep | None = KEEP,
        judged: bool = False,
    ) -> None:
        """
        Change the given parts of a cell, unparsed: a str is text, also when it starts with "=" (see `enter`).

        None clears a part. Raises ValueError (Google's sentence) above 50,000 characters, and when the value is
        *judged* by the cell's validation and that rejects it.
        """
        parts: dict[str, Any] = {}
        if not isinstance(value, _Keep):
            parts["user_entered"] = _storable(value)
        if not isinstance(note, _Keep):
            parts["note"] = note or None
        if not isinstance(format, _Keep):
            parts["format"] = format or None
        if not isinstance(validation, _Keep):
            parts["validation"] = validation
        with self._owner.editing():
            cell = replace(self.cell(row, col), **parts)
            refusal = refusal_of(cell, f"{column_name(col)}{row + 1}") if judged else None
            if refusal:
                raise Refused(refusal)
            self._put(row, col, cell)

    def enter(self, row: int, col: int, text: str) -> None:
        """
        Type *text* into a cell: formulas, numbers, dates, booleans are read unless its format is plain text.

        Raises ValueError when a validation of the cell rejects it: people and scripts are judged, the API is not.
        """
        with self._owner.editing():
            old, judged = self.cell(row, col), self._owner.who != "api"
            if old.number_type == "TEXT" and not text.startswith("="):
                self.set_cell(row, col, text or None, judged=judged)
                return
            typed = read_typed(text)
            value = Formula(str(typed.value)) if typed.is_formula else typed.value
            if typed.number_format is None or old.number_format is not None:
                self.set_cell(row, col, value, judged=judged)
                return
            kind, pattern = typed.number_format
            form = {**(old.format or {}), "numberFormat": {"type": kind, "pattern": pattern}}
            self.set_cell(row, col, value, format=form, judged=judged)

    def put(self, row: int, col: int, cell: Cell) -> None:
        """Replace a whole cell: value, note, format and validation."""
        with self._owner.editing():
            self._put(row, col, replace(cell, user_entered=_storable(cell.user_entered)))

    def clear(self, area: Area) -> None:
        """Empty the values of *area*; notes, formats and validations stay."""
        area = area.within(self.rows, self.cols)
        with self._owner.editing():
            for row in range(area.top, area.bottom):
                for col in [c for c in self._cells[row] if area.left <= c < area.right]:
                    self.set_cell(row, col, None)

    def copy_row(self, src: int, dst: int) -> None:
        """Copy every cell of row *src* over row *dst*, as Ctrl+C, Ctrl+V on row numbers does."""
        with self._owner.editing():
            self._check(src, 0)
            self._check(dst, 0)
            source = dict(self._cells[src])
            for col in sorted({*source, *self._cells[dst]}):
                self._put(dst, col, source.get(col, EMPTY))

    def cut_paste(self, src: Area, dst: tuple[int, int]) -> None:
        """Move the cells of *src* so that its first one lands on *dst*; row sizes and metadata stay where they are."""
        src = src.within(self.rows, self.cols)
        down, right = dst[0] - src.top, dst[1] - src.left
        with self._owner.editing():
            self._check(src.bottom - 1 + down, src.right - 1 + right)
            moved = {place: self.cell(*place) for place in src.cells()}
            for row, col in moved:
                self._put(row, col, EMPTY)
            for (row, col), cell in moved.items():
                self._put(row + down, col + right, cell)

    def sort(self, area: Area, by_col: int, ascending: bool = True) -> None:
        """
        Sort the rows of *area* by column *by_col* (of the grid): numbers, text, booleans, errors; empty ones last.

        Only cells move, not row heights, hiding or metadata; equal keys keep their order.
        """
        area = area.within(self.rows, self.cols)
        self.refuse_protected(area)
        with self._owner.editing():
            rows = range(area.top, area.bottom)
            keys = {row: _sort_key(self._cells[row].get(by_col, EMPTY)) for row in rows}
            filled = [row for row in rows if keys[row] is not None]
            # reverse=True keeps equal keys in their order
            filled.sort(key=lambda row: keys[row] or (0, 0), reverse=not ascending)
            empty = [row for row in rows if keys[row] is None]
            self.permute(rows, [*filled, *empty], range(area.left, area.right))

    def permute(self, places: Sequence[int], sources: Sequence[int], cols: Collection[int]) -> None:
        """Give each row of *places* the cells that the row of *sources* at the same position has in *cols*."""
        with self._owner.editing():
            taken = [{col: self._cells[row][col] for col in cols if col in self._cells[row]} for row in sources]
            for row, cells in zip(places, taken, strict=True):
                kept = {col: cell for col, cell in self._cells[row].items() if col not in cols}
                self._cells[row] = kept | cells
            ids, col_ids = self._ids["ROWS"], frozenset(self._ids["COLUMNS"][col] for col in cols)
            went = dict(sorted(zip(sources, places, strict=True)))
            self._owner.shuffled(self.gid, {ids[source]: ids[place] for source, place in went.items()}, col_ids)
            self._owner.done(Shuffled(self.gid, tuple(ids[place] for place in went.values()), col_ids))
            self._owner.structure_changed(self.gid)

    # -- the basic filter ------------------------------------------------------------------------------------------

    def set_filter(self, area: Area, criteria: Mapping[int, Mapping[str, Any]] | None = None) -> None:
        """Put the basic filter over *area*, header row included; *criteria* by column as in `filter_criteria`."""

        def apply() -> None:
            self.basic_filter, self.filter_criteria = area, dict(criteria or {})

        with self._owner.editing():
            self.change(apply)
            self.refilter()

    def clear_filter(self) -> None:
        """Take the basic filter away and show what it hid."""

        def apply() -> None:
            self.basic_filter, self.filter_criteria = None, {}

        with self._owner.editing():
            self.change(apply)
            self.refilter()

    def filter_by_values(self, col: int, hidden: Collection[str]) -> None:
        """Hide the rows whose cell in *col* shows one of *hidden* ("" are the blanks); none: show all values again."""
        self._refuse_unfiltered(col)
        criteria = {at: one for at, one in self.filter_criteria.items() if at != col}
        if hidden:
            criteria[col] = {"hiddenValues": sorted(hidden)}
        with self._owner.editing():
            self.change(lambda: setattr(self, "filter_criteria", criteria))
            self.refilter()

    def sort_filter(self, col: int, ascending: bool = True) -> None:
        """Sort the rows below the filter's header by *col*, hidden ones too, and filter anew."""
        self._refuse_unfiltered(col)
        area = self.basic_filter or Area(0, 0)
        with self._owner.editing():
            self.sort(replace(area, top=area.top + 1), col, ascending)
            self.refilter()

    def refilter(self) -> None:
        """Hide and show rows as the filter says now; edits of cells alone do not do that, as in Sheets."""
        area = (self.basic_filter or Area(0, 0, 0, 0)).within(self.rows, self.cols)
        hidden = {
            row
            for row in range(area.top + 1, area.bottom)
            if not all(passes(self.cell(row, col), one) for col, one in self.filter_criteria.items())
        }
        with self._owner.editing():
            for row in self.hidden_rows("filter") ^ hidden:
                self.hide_rows(row, by="filter", hidden=row in hidden)

    def _refuse_unfiltered(self, col: int) -> None:
        if self.basic_filter is None or not self.basic_filter.left <= col < self.basic_filter.right:
            raise Refused("The column is not in the range of the filter.")

    # -- within ----------------------------------------------------------------------------------------------------

    def _put(self, row: int, col: int, cell: Cell) -> None:
        before = self.cell(row, col)
        if self.protected:
            self.refuse_protected(Area(row, col, row + 1, col + 1))
        gate = self._owner.external_images_allowed if cell.formula is not None else False
        if cell.images_allowed != gate:
            cell = replace(cell, images_allowed=gate)
        if cell == EMPTY:
            self._cells[row].pop(col, None)
        else:
            self._cells[row][col] = cell
        self._owner.cell_changed(self.gid, row, col, before, cell)


def _storable(value: Value | int) -> Value:
    """Turn ints into the floats that Sheets keeps, "" into the empty cell, and refuse what is too long."""
    text = value.text if isinstance(value, Formula) else value
    if isinstance(text, str) and len(text) > MAX_CELL_CHARS:
        raise ValueError(TOO_LONG)
    if isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return None if value == "" else value


def _sort_key(cell: Cell) -> tuple[int, Any] | None:
    match cell.effective:
        case bool() as truth:
            return (2, truth)
        case float() as number:
            return (0, number)
        case str() as text:
            return (1, text.casefold())
        case CellError() as error:
            return (3, error.type)
        case _:
            return None
