"""
Hold one tab of a workbook: its cells, its rows and columns, and what happens to them when people edit the structure.

Every change runs in the workbook's `editing` (which takes the lock and tells the listeners); reading one cell needs no
lock, reading several that belong together does. Indexes are 0-based; an index outside the grid is an IndexError,
a request that Sheets would refuse a ValueError with a sentence.
"""

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, Final, Literal, Protocol

from sandbox.workbook_areas import (
    PROTECTED,
    Area,
    Axis,
    ConditionalFormat,
    Dimension,
    FilterView,
    Metadata,
    Protected,
    Refused,
    column_name,
    new_places,
    order_after_delete,
    order_after_insert,
    order_after_move,
)
from sandbox.workbook_cells import MAX_CELL_CHARS, TOO_LONG, Cell, CellError, Format, Formula, Value
from sandbox.workbook_conditions import passes, refusal_of
from sandbox.workbook_formats import read_typed

DEFAULT_ROW_HEIGHT: Final = 21
DEFAULT_COLUMN_WIDTH: Final = 100
MAX_COLUMNS: Final = 18_278
EMPTY: Final = Cell()


class _Keep:
    """Say "leave this part as it is" where None already says "clear it"."""


KEEP: Final = _Keep()
Neighbour = Literal["before", "after"]


class Owner(Protocol):
    """Be the workbook, as far as a sheet knows it."""

    external_images_allowed: bool

    @property
    def who(self) -> str:
        """Say what kind of editor is editing."""

    def may_edit(self, protected: Protected) -> bool:
        """Say whether the protection lets the present user edit."""

    def editing(self) -> AbstractContextManager[None]:
        """Take the lock and tell the listeners at the end."""

    def cell_changed(self, gid: int, row: int, col: int, before: Cell, after: Cell) -> None:
        """Note a changed cell."""

    def structure_changed(self, gid: int) -> None:
        """Note a change that needs a redraw."""


class Sheet:
    """Be one tab; made by Workbook.add_sheet."""

    def __init__(self, owner: Owner, gid: int, title: str, rows: int = 1000, cols: int = 26) -> None:
        """Make an empty grid of *rows* x *cols*."""
        self._owner = owner
        self.gid = gid
        self.title = title
        self._cells: list[dict[int, Cell]] = [{} for _ in range(rows)]
        self._dims: dict[Axis, list[Dimension]] = {
            "ROWS": [Dimension()] * rows,
            "COLUMNS": [Dimension()] * cols,
        }
        self._frozen: dict[Axis, int] = {"ROWS": 0, "COLUMNS": 0}
        self.hidden = False
        self.protected: list[Protected] = []
        self.conditional_formats: list[ConditionalFormat] = []
        self.basic_filter: Area | None = None
        #: What the basic filter asks of each column, in the API's words (FilterCriteria); never change one in place.
        self.filter_criteria: dict[int, Mapping[str, Any]] = {}
        self.filter_views: list[FilterView] = []
        self.tab_color: str | None = None
        self.metadata: tuple[Metadata, ...] = ()

    # -- reading ---------------------------------------------------------------------------------------------------

    @property
    def rows(self) -> int:
        """Count the grid's rows."""
        return len(self._dims["ROWS"])

    @property
    def cols(self) -> int:
        """Count the grid's columns."""
        return len(self._dims["COLUMNS"])

    def cell(self, row: int, col: int) -> Cell:
        """Read one cell; empty ones are equal to Cell()."""
        self._check(row, col)
        return self._cells[row].get(col, EMPTY)

    def row_cells(self, row: int) -> Mapping[int, Cell]:
        """Read the cells of *row* that are not empty, by column; do not keep it over a change."""
        return self._cells[row]

    def data_extent(self) -> tuple[int, int]:
        """Count the rows and columns up to the last cell with a value (not just a note or a format)."""
        last_row = last_col = 0
        for row, cells in enumerate(self._cells):
            for col, cell in cells.items():
                if cell.user_entered is not None:
                    last_row, last_col = row + 1, max(last_col, col + 1)
        return last_row, last_col

    def dimension(self, axis: Axis, at: int) -> Dimension:
        """Read size, hiding and metadata of one row or column."""
        return self._dims[axis][at]

    @property
    def frozen_rows(self) -> int:
        """Count the frozen rows at the top."""
        return self._frozen["ROWS"]

    @property
    def frozen_cols(self) -> int:
        """Count the frozen columns at the left."""
        return self._frozen["COLUMNS"]

    @property
    def row_heights(self) -> dict[int, int]:
        """Give the heights in px of the rows that have one of their own."""
        return {at: dim.pixel_size for at, dim in enumerate(self._dims["ROWS"]) if dim.pixel_size is not None}

    @property
    def column_widths(self) -> dict[int, int]:
        """Give the widths in px of the columns that have one of their own."""
        return {at: dim.pixel_size for at, dim in enumerate(self._dims["COLUMNS"]) if dim.pixel_size is not None}

    def hidden_rows(self, by: Literal["filter", "user"] | None = None) -> set[int]:
        """Give the hidden rows: all, or those hidden by the filter or by a person."""
        dims = enumerate(self._dims["ROWS"])
        return {at for at, d in dims if (by != "user" and d.hidden_by_filter) or (by != "filter" and d.hidden_by_user)}

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
            columns = range(area.left, area.right)
            rows = [
                {c: self._cells[r][c] for c in columns if c in self._cells[r]} for r in range(area.top, area.bottom)
            ]
            filled = [cells for cells in rows if _sort_key(cells.get(by_col, EMPTY)) is not None]
            empty = [cells for cells in rows if _sort_key(cells.get(by_col, EMPTY)) is None]
            # reverse=True keeps equal keys in their order
            filled.sort(key=lambda cells: _sort_key(cells.get(by_col, EMPTY)) or (0, 0), reverse=not ascending)
            for row, cells in enumerate([*filled, *empty], start=area.top):
                kept = {c: cell for c, cell in self._cells[row].items() if not area.left <= c < area.right}
                self._cells[row] = kept | cells
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

    # -- structure -------------------------------------------------------------------------------------------------

    def insert_rows(self, at: int, n: int = 1, inherit: Neighbour | None = None) -> None:
        """Put *n* rows before row *at*; they take formats and validations of the row *inherit* says."""
        self._insert("ROWS", at, n, inherit)

    def insert_cols(self, at: int, n: int = 1, inherit: Neighbour | None = None) -> None:
        """Put *n* columns before column *at*; they take formats and validations of the column *inherit* says."""
        if self.cols + n > MAX_COLUMNS:
            raise ValueError(f"A sheet has at most {MAX_COLUMNS} columns.")
        self._insert("COLUMNS", at, n, inherit)

    def delete_rows(self, at: int, n: int = 1) -> None:
        """Delete *n* rows from *at* on; at least one row must stay."""
        self._delete("ROWS", at, n)

    def delete_cols(self, at: int, n: int = 1) -> None:
        """Delete *n* columns from *at* on; at least one column must stay."""
        self._delete("COLUMNS", at, n)

    def move_rows(self, start: int, n: int, to: int) -> None:
        """Move *n* rows from *start* on to before row *to*, counted before the move."""
        self._move("ROWS", start, n, to)

    def move_cols(self, start: int, n: int, to: int) -> None:
        """Move *n* columns from *start* on to before column *to*, counted before the move."""
        self._move("COLUMNS", start, n, to)

    def rename(self, title: str) -> None:
        """Give the tab another title (Workbook.rename_sheet also keeps titles unique)."""
        with self._owner.editing():
            self.title = title
            self._owner.structure_changed(self.gid)

    def freeze(self, rows: int | None = None, cols: int | None = None) -> None:
        """Freeze the first *rows* rows and *cols* columns; None leaves that side."""
        self.change(lambda: self._frozen.update(
            {"ROWS": self.frozen_rows if rows is None else rows, "COLUMNS": self.frozen_cols if cols is None else cols}
        ))  # fmt: skip

    def set_dimension(self, axis: Axis, start: int, n: int, **parts: Any) -> None:
        """Change size (`pixel_size`), hiding or metadata of *n* rows or columns from *start* on."""
        dims = self._dims[axis]
        if not 0 <= start <= start + n <= len(dims):
            raise IndexError(f"{axis.lower()} {start}..{start + n - 1} are outside the grid")

        def apply() -> None:
            dims[start : start + n] = [replace(dim, **parts) for dim in dims[start : start + n]]

        self.change(apply)

    def hide_rows(self, start: int, n: int = 1, *, by: Literal["filter", "user"] = "user", hidden: bool = True) -> None:
        """Hide (or show) *n* rows from *start* on, as a filter or a person does."""
        self.set_dimension("ROWS", start, n, **{f"hidden_by_{by}": hidden})

    def change(self, apply: Callable[[], object]) -> None:
        """Run *apply*, which alters this sheet's attributes, as one change that needs a redraw."""
        with self._owner.editing():
            apply()
            self._owner.structure_changed(self.gid)

    # -- for the workbook ------------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """Copy what an edit may alter, for `restore`."""
        kept = dict(self.__dict__)
        kept["_cells"] = [dict(cells) for cells in self._cells]
        kept["_dims"] = {axis: list(dims) for axis, dims in self._dims.items()}
        kept["_frozen"] = dict(self._frozen)
        kept["protected"] = list(self.protected)
        kept["conditional_formats"] = list(self.conditional_formats)
        kept["filter_views"] = list(self.filter_views)
        kept["filter_criteria"] = dict(self.filter_criteria)
        return kept

    def restore(self, kept: dict[str, Any]) -> None:
        """Be again as the snapshot was taken."""
        self.__dict__.update(kept)

    def refresh_gate(self) -> None:
        """Re-evaluate the formulas after the workbook's gate opened."""
        allowed = self._owner.external_images_allowed
        for cells in self._cells:
            for col, cell in cells.items():
                if cell.formula is not None:
                    cells[col] = replace(cell, images_allowed=allowed)

    # -- within ----------------------------------------------------------------------------------------------------

    def _check(self, row: int, col: int) -> None:
        if not (0 <= row < self.rows and 0 <= col < self.cols):
            raise IndexError(f"cell ({row}, {col}) is outside the grid of {self.rows} x {self.cols}")

    def refuse_protected(self, area: Area) -> None:
        """Raise Refused when the present user may not edit some cell of *area*."""
        if any(one.area.meets(area) and not self._owner.may_edit(one) for one in self.protected):
            raise Refused(PROTECTED)

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

    def _insert(self, axis: Axis, at: int, n: int, inherit: Neighbour | None) -> None:
        count = len(self._dims[axis])
        if not 0 <= at <= count or n < 1:
            raise IndexError(f"cannot insert {n} {axis.lower()} at {at} of {count}")
        with self._owner.editing():
            self._reorder(axis, order_after_insert(count, at, n), growing_from=at)
            model = at - 1 if inherit == "before" else at + n
            if inherit and 0 <= model < count + n:
                for place in range(at, at + n):
                    self._inherit(axis, model, place)

    def _inherit(self, axis: Axis, model: int, place: int) -> None:
        """Give the blank row or column at *place* the formats and validations of the one at *model*."""
        if axis == "ROWS":
            self._cells[place] = {
                col: only for col, cell in self._cells[model].items() if (only := _dress(cell)) != EMPTY
            }
            return
        for cells in self._cells:
            if (only := _dress(cells.get(model, EMPTY))) != EMPTY:
                cells[place] = only

    def _delete(self, axis: Axis, at: int, n: int) -> None:
        count = len(self._dims[axis])
        if not 0 <= at < at + n <= count:
            raise IndexError(f"cannot delete {n} {axis.lower()} at {at} of {count}")
        if n == count:
            raise ValueError(f"You can't delete all the {axis.lower()} on the sheet.")
        self.refuse_protected(Area(at, 0, at + n) if axis == "ROWS" else Area(0, at, right=at + n))
        self._reorder(axis, order_after_delete(count, at, n))

    def _move(self, axis: Axis, start: int, n: int, to: int) -> None:
        count = len(self._dims[axis])
        if not (0 <= start < start + n <= count and 0 <= to <= count):
            raise IndexError(f"cannot move {n} {axis.lower()} from {start} to {to} of {count}")
        self.refuse_protected(Area(start, 0, start + n) if axis == "ROWS" else Area(0, start, right=start + n))
        self._reorder(axis, order_after_move(count, start, n, to))

    def _reorder(self, axis: Axis, order: list[int | None], growing_from: int | None = None) -> None:
        """Lay the rows or columns out anew: *order* gives the old index of each place, None is a blank one."""
        dims = self._dims[axis]
        places = new_places(order)
        with self._owner.editing():
            self._dims[axis] = [Dimension() if old is None else dims[old] for old in order]
            if axis == "ROWS":
                self._cells = [{} if old is None else self._cells[old] for old in order]
            else:
                self._cells = [{places[c]: cell for c, cell in cells.items() if c in places} for cells in self._cells]
            frozen = self._frozen[axis]
            self._frozen[axis] = sum(old < frozen for old in places)  # deleted ones are no longer frozen
            if growing_from is not None and growing_from < frozen:
                self._frozen[axis] += len(order) - len(dims)
            self._follow(axis, places, len(dims))
            self._owner.structure_changed(self.gid)

    def _follow(self, axis: Axis, places: Mapping[int, int], count: int) -> None:
        """Let protections, rules and the filter follow their cells."""

        def moved(area: Area) -> Area | None:
            return area.moved(axis, places, count)

        self.protected = [replace(p, area=area) for p in self.protected if (area := moved(p.area))]
        rules = [(rule, tuple(area for old in rule.areas if (area := moved(old)))) for rule in self.conditional_formats]
        self.conditional_formats = [replace(rule, areas=areas) for rule, areas in rules if areas]
        self.basic_filter = moved(self.basic_filter) if self.basic_filter else None
        views = [(view, area) for view in self.filter_views if (area := moved(view.area))]
        self.filter_views = [replace(view, area=area) for view, area in views]
        if axis == "COLUMNS":
            self.filter_criteria = {places[col]: one for col, one in self.filter_criteria.items() if col in places}
            self.filter_views = [
                replace(
                    view,
                    criteria={places[col]: one for col, one in view.criteria.items() if col in places},
                    sorting=tuple((places[col], up) for col, up in view.sorting if col in places),
                )
                for view in self.filter_views
            ]
        if self.basic_filter is None:
            self.filter_criteria = {}


def _storable(value: Value | int) -> Value:
    """Turn ints into the floats that Sheets keeps, "" into the empty cell, and refuse what is too long."""
    text = value.text if isinstance(value, Formula) else value
    if isinstance(text, str) and len(text) > MAX_CELL_CHARS:
        raise ValueError(TOO_LONG)
    if isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return None if value == "" else value


def _dress(cell: Cell) -> Cell:
    return Cell(format=cell.format, validation=cell.validation)


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
