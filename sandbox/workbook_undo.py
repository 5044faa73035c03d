"""Undo one deed (see workbook_history) on the workbook as it is now; what is gone meanwhile is left out."""

from dataclasses import fields, replace
from typing import Any, Protocol, TypeVar

from sandbox.workbook_areas import Dimension
from sandbox.workbook_cells import Cell
from sandbox.workbook_history import (
    Attributes,
    CellWas,
    Deed,
    Deleted,
    DimensionsWere,
    Inserted,
    Moved,
    Shuffled,
    TabAdded,
    TabDeleted,
)
from sandbox.workbook_sheet import Sheet

_Value = TypeVar("_Value", Cell, Dimension)


class Book(Protocol):
    """Be the workbook, as far as undoing knows it."""

    sheets: list[Sheet]

    def sheet_by_id(self, gid: int) -> Sheet | None:
        """Find a tab."""

    def delete_sheet(self, gid: int) -> None:
        """Delete a tab."""

    def restore_sheet(self, sheet: Sheet, index: int) -> None:
        """Put a deleted tab back."""


def undo_deed(book: Book, deed: Deed) -> None:
    """Undo *deed*."""
    match deed:
        case TabAdded():
            if book.sheet_by_id(deed.gid) and len(book.sheets) > 1:
                book.delete_sheet(deed.gid)
        case TabDeleted():
            if book.sheet_by_id(deed.sheet.gid) is None:
                book.restore_sheet(deed.sheet, deed.index)
        case _:
            sheet = book.sheet_by_id(deed.gid)
            if sheet is not None:
                _undo_within(sheet, deed)


def _undo_within(sheet: Sheet, deed: Deed) -> None:
    match deed:
        case CellWas():
            _undo_cell(sheet, deed)
        case Shuffled():
            rows = sheet.places("ROWS")
            sources = [rows[row] for row in deed.contents if row in rows]
            columns = sheet.places("COLUMNS")
            sheet.permute(sorted(sources), sources, {columns[col] for col in deed.cols if col in columns})
        case Attributes():
            _set(sheet, _untouched(sheet, deed))
        case DimensionsWere():
            lines = sheet.places(deed.axis)
            for id_, before, after in deed.lines:
                if id_ in lines:
                    now = sheet.dimension(deed.axis, lines[id_])
                    sheet.set_dimension(deed.axis, lines[id_], 1, **_parts(_undone(now, before, after)))
        case Moved() | Inserted() | Deleted():
            # What nobody touched since is afterwards as it was; the rest follows the rows and columns.
            wanted = _untouched(sheet, deed.attributes)
            _undo_structure(sheet, deed)
            _set(sheet, wanted)


def _undo_cell(sheet: Sheet, deed: CellWas) -> None:
    row, col = sheet.places("ROWS").get(deed.row), sheet.places("COLUMNS").get(deed.col)
    if row is not None and col is not None:
        sheet.put(row, col, _undone(sheet.cell(row, col), deed.before, deed.after))


def _undo_structure(sheet: Sheet, deed: Moved | Inserted | Deleted) -> None:
    lines = sheet.places(deed.axis)
    order: list[int | None] = list(range(len(lines)))
    match deed:
        case Moved():
            present = [lines[id_] for id_ in deed.order if id_ in lines]
            for place, source in zip(sorted(present), present, strict=True):
                order[place] = source
            sheet.reorder(deed.axis, order)
        case Inserted():
            gone = {lines[id_] for id_ in deed.lines if id_ in lines}
            if gone and len(gone) < len(lines):
                sheet.reorder(deed.axis, [at for at in order if at not in gone])
        case Deleted():
            at = next((lines[id_] for id_ in deed.following if id_ in lines), len(lines))
            back = [line for line in deed.lines if line.id not in lines]
            sheet.reorder(deed.axis, [*order[:at], *([None] * len(back)), *order[at:]], growing_from=at, lines=back)


def _untouched(sheet: Sheet, deed: Attributes) -> dict[str, Any]:
    """Give what each attribute was before, where it is still what the deed made of it."""
    now = sheet.attributes()
    return {name: before for name, (before, after) in deed.changed.items() if now[name] == after}


def _set(sheet: Sheet, wanted: dict[str, Any]) -> None:
    if wanted:
        sheet.change(lambda: sheet.set_attributes(wanted))


def _undone(now: _Value, before: _Value, after: _Value) -> _Value:
    """Give *now* with those parts as in *before* that the deed changed."""
    changed = {
        one.name: getattr(before, one.name)
        for one in fields(now)
        if getattr(before, one.name) != getattr(after, one.name)
    }
    return replace(now, **changed)


def _parts(dimension: Dimension) -> dict[str, Any]:
    return {one.name: getattr(dimension, one.name) for one in fields(dimension)}
