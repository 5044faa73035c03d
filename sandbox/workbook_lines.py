"""
Hold the grid of one tab: its rows and columns, what follows them, and how they come, go and move.

The cells' own part is in workbook_sheet. Indexes are 0-based; an index outside the grid is an IndexError, a request
that Sheets would refuse a ValueError with a sentence.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from copy import copy
from dataclasses import replace
from functools import partial
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
    new_places,
    order_after_delete,
    order_after_insert,
    order_after_move,
)
from sandbox.workbook_cells import Cell
from sandbox.workbook_history import (
    Attributes,
    Deed,
    Deleted,
    DimensionsWere,
    Inserted,
    Line,
    Moved,
    new_ids,
    runs,
)

DEFAULT_ROW_HEIGHT: Final = 21
DEFAULT_COLUMN_WIDTH: Final = 100
MAX_COLUMNS: Final = 18_278
EMPTY: Final = Cell()
_ATTRIBUTES: Final = (
    "title", "hidden", "tab_color", "metadata", "protected", "conditional_formats", "basic_filter", "filter_criteria",
    "filter_views", "_frozen",
)  # fmt: skip
#: Those that follow rows and columns.
_FOLLOWING: Final = _ATTRIBUTES[4:]
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

    def done(self, deed: Deed) -> None:
        """Note what can be undone."""

    def shuffled(self, gid: int, places: Mapping[int, int], cols: Collection[int]) -> None:
        """Note that cells moved from row to row: ids of rows before -> after, ids of the columns."""


class SheetLines:
    """Be the rows and columns of one tab."""

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
        #: What rows and columns are called in the history, wherever they go; the lists are replaced, never changed.
        self._ids: dict[Axis, list[int]] = {"ROWS": new_ids(rows), "COLUMNS": new_ids(cols)}
        #: What `places` found, and for which list.
        self._places: dict[Axis, tuple[list[int], dict[int, int]]] = {}
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

    def ids(self, axis: Axis) -> Sequence[int]:
        """Give the ids of the rows or columns, which stay the same wherever they move."""
        return self._ids[axis]

    def places(self, axis: Axis) -> dict[int, int]:
        """Say where each row or column is by its id; not to be changed."""
        ids = self._ids[axis]
        known = self._places.get(axis)
        if known is None or known[0] is not ids:
            known = self._places[axis] = (ids, {id_: at for at, id_ in enumerate(ids)})
        return known[1]

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
        self.change(partial(setattr, self, "title", title))

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

        with self._owner.editing():
            before = dims[start : start + n]
            after = [replace(dim, **parts) for dim in before]
            dims[start : start + n] = after
            ids = self._ids[axis][start : start + n]
            changed = tuple((id_, old, new) for id_, old, new in zip(ids, before, after, strict=True) if old != new)
            if changed:
                self._owner.done(DimensionsWere(self.gid, axis, changed))
            self._owner.structure_changed(self.gid)

    def hide_rows(self, start: int, n: int = 1, *, by: Literal["filter", "user"] = "user", hidden: bool = True) -> None:
        """Hide (or show) *n* rows from *start* on, as a filter or a person does."""
        self.set_dimension("ROWS", start, n, **{f"hidden_by_{by}": hidden})

    def change(self, apply: Callable[[], object]) -> None:
        """Run *apply*, which alters this sheet's attributes, as one change that needs a redraw."""
        with self._owner.editing():
            before = self.attributes()
            apply()
            changed = self._since(before)
            if changed.changed:
                self._owner.done(changed)
            self._owner.structure_changed(self.gid)

    # -- for the workbook ------------------------------------------------------------------------------------------

    def attributes(self) -> dict[str, Any]:
        """Copy what the tab is beside its cells, rows and columns."""
        return {name: copy(getattr(self, name)) for name in _ATTRIBUTES}

    def set_attributes(self, wanted: Mapping[str, Any]) -> None:
        """Be as `attributes` was; call within `change`."""
        for name, value in wanted.items():
            setattr(self, name, copy(value))

    def _since(self, before: Mapping[str, Any]) -> Attributes:
        now = self.attributes()
        changed = {name: (before[name], now[name]) for name in _ATTRIBUTES if before[name] != now[name]}
        return Attributes(self.gid, changed)

    def snapshot(self) -> dict[str, Any]:
        """Copy what an edit may alter, for `restore`."""
        kept = dict(self.__dict__)
        kept["_cells"] = [dict(cells) for cells in self._cells]
        kept["_dims"] = {axis: list(dims) for axis, dims in self._dims.items()}
        kept["_frozen"] = dict(self._frozen)
        kept["_ids"] = dict(self._ids)
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

    def _insert(self, axis: Axis, at: int, n: int, inherit: Neighbour | None) -> None:
        count = len(self._dims[axis])
        if not 0 <= at <= count or n < 1:
            raise IndexError(f"cannot insert {n} {axis.lower()} at {at} of {count}")
        with self._owner.editing():
            self.reorder(axis, order_after_insert(count, at, n), growing_from=at)
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
        self.reorder(axis, order_after_delete(count, at, n))

    def _move(self, axis: Axis, start: int, n: int, to: int) -> None:
        count = len(self._dims[axis])
        if not (0 <= start < start + n <= count and 0 <= to <= count):
            raise IndexError(f"cannot move {n} {axis.lower()} from {start} to {to} of {count}")
        self.refuse_protected(Area(start, 0, start + n) if axis == "ROWS" else Area(0, start, right=start + n))
        self.reorder(axis, order_after_move(count, start, n, to))

    def reorder(
        self,
        axis: Axis,
        order: list[int | None],
        growing_from: int | None = None,
        lines: Sequence[Line] | None = None,
    ) -> None:
        """
        Lay the rows or columns out anew: *order* gives the old index of each place, None is a blank one.

        *lines* come back from the history in the places of the blank ones, *growing_from* is the first of those.
        """
        dims, ids, before = self._dims[axis], self._ids[axis], self.attributes()
        places = new_places(order)
        with self._owner.editing():
            gone = self._leaving(axis, [at for at in range(len(dims)) if at not in places])
            if lines is None:
                lines = [Line(id_, Dimension(), {}) for id_ in new_ids(order.count(None))]
            fresh = iter(lines)
            laid = [next(fresh) if old is None else Line(ids[old], dims[old], {}) for old in order]
            self._dims[axis] = [line.dimension for line in laid]
            self._ids[axis] = [line.id for line in laid]
            if axis == "ROWS":
                self._cells = [{} if old is None else self._cells[old] for old in order]
            else:
                self._cells = [{places[c]: cell for c, cell in cells.items() if c in places} for cells in self._cells]
            self._fill(axis, laid)
            frozen = self._frozen[axis]
            self._frozen[axis] = sum(old < frozen for old in places)  # deleted ones are no longer frozen
            if growing_from is not None and growing_from < frozen:
                self._frozen[axis] += len(order) - len(dims)
            self._follow(axis, places, len(dims))
            now = self.attributes()
            followed = Attributes(self.gid, {name: (before[name], now[name]) for name in _FOLLOWING})
            self._tell_history(axis, order, ids, gone, followed)
            self._owner.structure_changed(self.gid)

    def _leaving(self, axis: Axis, gone: list[int]) -> list[tuple[tuple[Line, ...], tuple[int, ...]]]:
        """Keep the rows or columns that are about to go, run by run, each with the ids of those behind it."""
        crossing = self._ids["COLUMNS" if axis == "ROWS" else "ROWS"]
        ids, kept, going = self._ids[axis], [], set(gone)

        def cells_of(at: int) -> dict[int, Cell]:
            if axis == "ROWS":
                return {crossing[col]: cell for col, cell in self._cells[at].items()}
            return {crossing[row]: cells[at] for row, cells in enumerate(self._cells) if at in cells}

        for run in runs(gone):
            lines = tuple(Line(ids[at], self._dims[axis][at], cells_of(at)) for at in run)
            kept.append((lines, tuple(ids[at] for at in range(run[-1] + 1, len(ids)) if at not in going)))
        return kept

    def _fill(self, axis: Axis, laid: Sequence[Line]) -> None:
        """Give the rows or columns that came back their cells."""
        crossing = self.places("COLUMNS" if axis == "ROWS" else "ROWS")
        for at, line in enumerate(laid):
            for id_, cell in line.cells.items():
                if id_ in crossing:
                    row, col = (at, crossing[id_]) if axis == "ROWS" else (crossing[id_], at)
                    self._cells[row][col] = cell

    def _tell_history(
        self,
        axis: Axis,
        order: list[int | None],
        ids: Sequence[int],
        gone: list[tuple[tuple[Line, ...], tuple[int, ...]]],
        attributes: Attributes,
    ) -> None:
        came = tuple(self._ids[axis][at] for at, old in enumerate(order) if old is None)
        if came:
            self._owner.done(Inserted(self.gid, axis, came, attributes))
        for lines, following in gone:
            self._owner.done(Deleted(self.gid, axis, lines, following, attributes))
        if not came and not gone:
            moved = tuple(ids[at] for at, old in enumerate(order) if at != old)
            self._owner.done(Moved(self.gid, axis, moved, attributes))

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


def _dress(cell: Cell) -> Cell:
    return Cell(format=cell.format, validation=cell.validation)
