"""
Do what a person does on the page: type, paste, insert, delete, move, sort, hide.

Every deed is one change of the workbook by one user; what Sheets refuses is a ValueError with its sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from sandbox.page_cells import as_typed
from sandbox.workbook import OPEN, Area, Cell, Refused, Sheet, Workbook
from sandbox.workbook_conditions import refusal_of

_MAX_PASTED: Final = 200_000


@dataclass(frozen=True)
class Edits:
    """Be the hands of the people at one workbook."""

    book: Workbook

    def type_cells(self, sheet: Sheet, cells: list[list[Any]], user: str) -> None:
        """Type into cells, all or none: [[row, col, text], …]. What the formula bar shows, typed back, is no change."""
        with self.book.atomic("person", user):
            for row, col, text in cells:
                _type(sheet, int(row), int(col), str(text))

    def do(self, sheet: Sheet, asked: Mapping[str, Any], user: str) -> None:
        """Do the deed that *asked* names: {do, at, n, to, like, ascending, title, area, from, from_sheet, cut}."""
        deed = self._deeds(sheet, asked).get(str(asked.get("do")))
        if deed is None:
            raise ValueError(f"The page asked for {asked.get('do')!r}, which is not known here.")
        with self.book.atomic("person", user):
            deed()

    def _deeds(self, sheet: Sheet, asked: Mapping[str, Any]) -> dict[str, Callable[[], object]]:
        at, n = int(asked.get("at", 0)), int(asked.get("n", 1))
        to, like = int(asked.get("to", 0)), asked.get("like")
        title, shift = str(asked.get("title", "")), str(asked.get("shift", ""))
        ascending = bool(asked.get("ascending", True))
        return {
            "insert_rows": lambda: sheet.insert_rows(at, n, like),
            "insert_cols": lambda: sheet.insert_cols(at, n, like),
            "delete_rows": lambda: sheet.delete_rows(at, n),
            "delete_cols": lambda: sheet.delete_cols(at, n),
            "move_rows": lambda: sheet.move_rows(at, n, to),
            "move_cols": lambda: sheet.move_cols(at, n, to),
            "hide_rows": lambda: sheet.hide_rows(at, n),
            "show_rows": lambda: sheet.hide_rows(at, min(n, sheet.rows - at), hidden=False),
            "sort": lambda: _sort(sheet, at, ascending),
            "set_filter": lambda: _set_filter(sheet),
            "clear_filter": lambda: sheet.clear_filter(),
            "filter": lambda: sheet.filter_by_values(at, [str(one) for one in asked["hidden"]]),
            "delete_cells": lambda: _delete_cells(sheet, _area(asked["area"]), shift),
            "insert_cells": lambda: _insert_cells(sheet, _area(asked["area"]), shift),
            "paste": lambda: self._paste(sheet, asked),
            "rename": lambda: self.book.rename_sheet(sheet.gid, title),
            "add_sheet": lambda: self.book.add_sheet(title),
            "delete_sheet": lambda: self.book.delete_sheet(sheet.gid),
        }

    def _paste(self, sheet: Sheet, asked: Mapping[str, Any]) -> None:
        """Paste what was copied or cut: *from* of *from_sheet* to *area*, repeated where the area is a multiple."""
        source = self.book.sheet_by_id(int(asked["from_sheet"]))
        if source is None:
            raise ValueError("The tab that was copied from is gone.")
        src = _area(asked["from"]).within(source.rows, source.cols)
        dst = _area(asked["area"])
        height, width = src.bottom - src.top, src.right - src.left
        if height < 1 or width < 1:
            raise ValueError("What was copied is gone.")
        cut = bool(asked.get("cut"))
        down, right = 1, 1
        if not cut:
            down = max(1, (dst.bottom - dst.top) // height if (dst.bottom - dst.top) % height == 0 else 1)
            right = max(1, (dst.right - dst.left) // width if (dst.right - dst.left) % width == 0 else 1)
        target = Area(dst.top, dst.left, dst.top + height * down, dst.left + width * right)
        if (target.bottom - target.top) * (target.right - target.left) > _MAX_PASTED:
            raise ValueError("That is too much to paste at once.")
        _grow(sheet, target)
        if cut and source is sheet:
            sheet.cut_paste(src, (target.top, target.left))
            return
        held = {(row - src.top, col - src.left): source.cell(row, col) for row, col in src.cells()}
        for row, col in target.cells():
            sheet.put(row, col, held[(row - target.top) % height, (col - target.left) % width])
        if cut:
            for row, col in src.cells():
                source.put(row, col, Cell())


def _type(sheet: Sheet, row: int, col: int, text: str) -> None:
    """Type *text*; a rule that only warns lets a wrong value stand, with a red corner."""
    if text == as_typed(sheet.cell(row, col)):
        return
    sheet.enter(row, col, text)
    refusal = refusal_of(sheet.cell(row, col), name_of(row, col))
    if refusal:
        raise Refused(refusal)


def _sort(sheet: Sheet, col: int, ascending: bool) -> None:
    """Sort below the header: within the filter where there is one, else below the frozen rows."""
    found = sheet.basic_filter
    if found is not None and found.left <= col < found.right:
        sheet.sort_filter(col, ascending)
        return
    rows, _ = sheet.data_extent()
    sheet.sort(Area(max(sheet.frozen_rows, 1), 0, max(rows, 1), OPEN), col, ascending)


def _set_filter(sheet: Sheet) -> None:
    """Put a filter over all data, its header in the first row; it reaches down to where rows come later."""
    _, cols = sheet.data_extent()
    if not cols:
        raise Refused("There is nothing here to filter.")
    sheet.set_filter(Area(0, 0, sheet.rows, cols))


def _delete_cells(sheet: Sheet, area: Area, shift: str) -> None:
    area = area.within(sheet.rows, sheet.cols)
    rows, cols = sheet.data_extent()
    rest = replace(area, top=area.bottom, bottom=rows) if shift == "up" else replace(area, left=area.right, right=cols)
    for row, col in area.cells():
        sheet.put(row, col, Cell())
    if rest.top < rest.bottom and rest.left < rest.right:
        sheet.cut_paste(rest, (area.top, area.left))


def _insert_cells(sheet: Sheet, area: Area, shift: str) -> None:
    area = area.within(sheet.rows, sheet.cols)
    rows, cols = sheet.data_extent()
    rest = replace(area, bottom=rows) if shift == "down" else replace(area, right=cols)
    if rest.top >= rest.bottom or rest.left >= rest.right:
        return
    down, right = (area.bottom - area.top, 0) if shift == "down" else (0, area.right - area.left)
    _grow(sheet, Area(0, 0, rest.bottom + down, rest.right + right))
    sheet.cut_paste(rest, (area.top + down, area.left + right))


def _grow(sheet: Sheet, target: Area) -> None:
    if target.bottom > sheet.rows:
        sheet.insert_rows(sheet.rows, target.bottom - sheet.rows)
    if target.right > sheet.cols:
        sheet.insert_cols(sheet.cols, target.right - sheet.cols)


def name_of(row: int, col: int) -> str:
    """Name a cell: (0, 0) is A1."""
    letters = ""
    rest = col + 1
    while rest:
        rest, digit = divmod(rest - 1, 26)
        letters = chr(65 + digit) + letters
    return f"{letters}{row + 1}"


def _area(inclusive: list[int]) -> Area:
    """Read [row0, col0, row1, col1], inclusive, as the page has ranges."""
    top, left, bottom, right = (int(one) for one in inclusive)
    return Area(top, left, bottom + 1, right + 1)
