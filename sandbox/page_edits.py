"""
Do what a person does on the page: type, paste, insert, delete, move, sort, hide.

Every deed is one change of the workbook by one user; what Sheets refuses is a ValueError with its sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from sandbox.page_cells import as_typed
from sandbox.page_protection import Refused, check
from sandbox.page_rules import fault_of, help_of
from sandbox.workbook import OPEN, Area, Cell, Sheet, Workbook

_MAX_PASTED: Final = 200_000
_VIOLATES: Final = "The data you entered in cell {0} violates the data validation rules set on this cell."


@dataclass(frozen=True)
class Edits:
    """Be the hands of the people at one workbook."""

    book: Workbook

    def type_cells(self, sheet: Sheet, cells: list[list[Any]], user: str) -> None:
        """Type into cells, all or none: [[row, col, text], …]. What the formula bar shows, typed back, is no change."""
        places = [(int(row), int(col)) for row, col, _ in cells]
        check(sheet, places, user)
        with self.book.atomic("person"):
            for (row, col), (_, _, text) in zip(places, cells, strict=True):
                if str(text) != as_typed(sheet.cell(row, col)):
                    sheet.enter(row, col, str(text))
                    _refuse_invalid(sheet, row, col)

    def do(self, sheet: Sheet, asked: Mapping[str, Any], user: str) -> None:
        """Do the deed that *asked* names: {do, at, n, to, like, ascending, title, area, from, from_sheet, cut}."""
        deed = self._deeds(sheet, asked, user).get(str(asked.get("do")))
        if deed is None:
            raise ValueError(f"The page asked for {asked.get('do')!r}, which is not known here.")
        with self.book.atomic("person"):
            deed()

    def undo(self, user: str) -> bool:
        """Take back the last edit that *user* made here and that is not undone; False when there is none."""
        return _by_workbook(self.book, "undo", user)

    def redo(self, user: str) -> bool:
        """Do again what *user* took back last; False when there is nothing."""
        return _by_workbook(self.book, "redo", user)

    def _deeds(self, sheet: Sheet, asked: Mapping[str, Any], user: str) -> dict[str, Callable[[], object]]:
        at, n = int(asked.get("at", 0)), int(asked.get("n", 1))
        to, like = int(asked.get("to", 0)), asked.get("like")
        title = str(asked.get("title", ""))

        def rows_free(deed: Callable[[], object], first: int = at, count: int = n) -> Callable[[], object]:
            return _checked(deed, sheet, Area(first, 0, first + count, sheet.cols), user)

        def cols_free(deed: Callable[[], object]) -> Callable[[], object]:
            return _checked(deed, sheet, Area(0, at, sheet.rows, at + n), user)

        return {
            "insert_rows": lambda: sheet.insert_rows(at, n, like),
            "insert_cols": lambda: sheet.insert_cols(at, n, like),
            "delete_rows": rows_free(lambda: sheet.delete_rows(at, n)),
            "delete_cols": cols_free(lambda: sheet.delete_cols(at, n)),
            "move_rows": rows_free(lambda: sheet.move_rows(at, n, to)),
            "move_cols": cols_free(lambda: sheet.move_cols(at, n, to)),
            "hide_rows": lambda: sheet.hide_rows(at, n),
            "show_rows": lambda: sheet.hide_rows(at, n, hidden=False),
            "sort": lambda: self._sort(sheet, at, bool(asked.get("ascending", True)), user),
            "delete_cells": lambda: self._delete_cells(sheet, _area(asked["area"]), str(asked.get("shift")), user),
            "insert_cells": lambda: self._insert_cells(sheet, _area(asked["area"]), str(asked.get("shift")), user),
            "paste": lambda: self._paste(sheet, asked, user),
            "rename": lambda: self.book.rename_sheet(sheet.gid, title),
            "add_sheet": lambda: self.book.add_sheet(title),
            "delete_sheet": lambda: self.book.delete_sheet(sheet.gid),
        }

    def _sort(self, sheet: Sheet, col: int, ascending: bool, user: str) -> None:
        """Sort below the header: within the filter where there is one, else below the frozen rows."""
        rows, _ = sheet.data_extent()
        found = sheet.basic_filter
        if found is not None and found.left <= col < found.right:
            area = replace(found, top=found.top + 1).within(max(rows, 1), sheet.cols)
        else:
            area = Area(max(sheet.frozen_rows, 1), 0, max(rows, 1), OPEN)
        check(sheet, _data_places(sheet, area), user)
        sheet.sort(area, col, ascending)

    def _delete_cells(self, sheet: Sheet, area: Area, shift: str, user: str) -> None:
        area = area.within(sheet.rows, sheet.cols)
        rows, cols = sheet.data_extent()
        up = shift == "up"
        rest = replace(area, top=area.bottom, bottom=rows) if up else replace(area, left=area.right, right=cols)
        check(sheet, [*area.cells(), *rest.cells()], user)
        for row, col in area.cells():
            sheet.put(row, col, Cell())
        if rest.top < rest.bottom and rest.left < rest.right:
            sheet.cut_paste(rest, (area.top, area.left))

    def _insert_cells(self, sheet: Sheet, area: Area, shift: str, user: str) -> None:
        area = area.within(sheet.rows, sheet.cols)
        rows, cols = sheet.data_extent()
        down = shift == "down"
        rest = replace(area, bottom=rows) if down else replace(area, right=cols)
        if rest.top >= rest.bottom or rest.left >= rest.right:
            return
        check(sheet, rest.cells(), user)
        height, width = (area.bottom - area.top, 0) if down else (0, area.right - area.left)
        if rest.bottom + height > sheet.rows:
            sheet.insert_rows(sheet.rows, rest.bottom + height - sheet.rows)
        if rest.right + width > sheet.cols:
            sheet.insert_cols(sheet.cols, rest.right + width - sheet.cols)
        sheet.cut_paste(rest, (area.top + height, area.left + width))

    def _paste(self, sheet: Sheet, asked: Mapping[str, Any], user: str) -> None:
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
        self._grow(sheet, target)
        check(sheet, target.cells(), user)
        if cut:
            check(source, src.cells(), user)
            if source is sheet:
                sheet.cut_paste(src, (target.top, target.left))
                return
        held = {(row - src.top, col - src.left): source.cell(row, col) for row, col in src.cells()}
        for row, col in target.cells():
            sheet.put(row, col, held[(row - target.top) % height, (col - target.left) % width])
        if cut:
            for row, col in src.cells():
                source.put(row, col, Cell())

    def _grow(self, sheet: Sheet, target: Area) -> None:
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


def _refuse_invalid(sheet: Sheet, row: int, col: int) -> None:
    """Refuse what a rule forbids; one that only warns lets it stand with a red corner."""
    cell = sheet.cell(row, col)
    if cell.validation is None or not cell.validation.get("strict"):
        return
    fault = fault_of(cell.validation, cell)
    if fault:
        raise Refused(f"{_VIOLATES.format(name_of(row, col))} {help_of(cell.validation, fault)}")


def _by_workbook(book: Workbook, deed: str, user: str) -> bool:
    method = getattr(book, deed, None)
    return bool(method(user)) if method else False


def _checked(deed: Callable[[], object], sheet: Sheet, area: Area, user: str) -> Callable[[], object]:
    def checked() -> None:
        check(sheet, _data_places(sheet, area), user)
        deed()

    return checked


def _data_places(sheet: Sheet, area: Area) -> Iterator[tuple[int, int]]:
    """Give the places of *area* that matter for a protection: the data's, and one at least."""
    rows, cols = sheet.data_extent()
    return area.within(max(rows, area.top + 1), max(cols, area.left + 1)).cells()


def _area(inclusive: list[int]) -> Area:
    """Read [row0, col0, row1, col1], inclusive, as the page has ranges."""
    top, left, bottom, right = (int(one) for one in inclusive)
    return Area(top, left, bottom + 1, right + 1)

