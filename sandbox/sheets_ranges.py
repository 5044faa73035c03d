"""
Read and write the API's ways to name cells: A1 texts, GridRange and DataFilter.

Answers carry normalised A1: bounded by the grid (A:A -> A1:A1000), quoted only when the title needs it.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from sandbox.sheets_errors import GoogleError
from sandbox.workbook import OPEN, Area, Sheet, Workbook, column_name

_A1: Final = re.compile(r"^\$?([A-Za-z]{1,3})?\$?([1-9]\d*)?(?::\$?([A-Za-z]{1,3})?\$?([1-9]\d*)?)?$")
_R1C1: Final = re.compile(r"^R([1-9]\d*)C([1-9]\d*)(?::R([1-9]\d*)C([1-9]\d*))?$", re.IGNORECASE)
_QUOTED: Final = re.compile(r"^'((?:[^']|'')*)'(?:!(.*))?$", re.DOTALL)
_PLAIN_TITLE: Final = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")


def column_index(name: str) -> int:
    """Turn A into 0, AA into 26."""
    index = 0
    for letter in name.upper():
        index = index * 26 + ord(letter) - 64
    return index - 1


def quoted(title: str) -> str:
    """Quote a tab's title where A1 needs it: anything but a plain word, and a word that could be a cell (AB12)."""
    if _PLAIN_TITLE.match(title) and not _A1.match(title) and not _R1C1.match(title):
        return title
    return "'" + title.replace("'", "''") + "'"


def a1_of(sheet: Sheet, area: Area) -> str:
    """Write *area* of *sheet* in normalised A1, cut to the grid."""
    area = area.within(sheet.rows, sheet.cols)
    first = f"{column_name(area.left)}{area.top + 1}"
    last = f"{column_name(area.right - 1)}{area.bottom}"
    return f"{quoted(sheet.title)}!{first if first == last else f'{first}:{last}'}"


def read_a1(book: Workbook, text: str) -> tuple[Sheet, Area]:
    """Find what *text* names; without a title it is the first tab. GoogleError 400 when it names nothing."""
    sheet, cells = _split(book, text)
    area = Area(0, 0) if cells is None else _area(cells)
    if sheet is None or area is None:
        raise GoogleError(400, f"Unable to parse range: {text}")
    if area.top >= sheet.rows or area.left >= sheet.cols:
        shown = f"{quoted(sheet.title)}!{cells}"
        raise GoogleError(
            400, f"Range ({shown}) exceeds grid limits. Max rows: {sheet.rows}, max columns: {sheet.cols}"
        )
    return sheet, area


def _split(book: Workbook, text: str) -> tuple[Sheet | None, str | None]:
    """Part *text* into the tab and the cells; no cells means the whole tab."""
    found = _QUOTED.match(text)
    if found:
        return book.sheet_by_title(found[1].replace("''", "'")), found[2]
    if "!" in text:
        title, _, cells = text.rpartition("!")
        return book.sheet_by_title(title), cells
    if _area(text) is not None:
        return book.sheets[0], text
    return book.sheet_by_title(text), None


def _area(cells: str) -> Area | None:
    """Read A1, A1:B2, A:B, 1:2, A2:B, R1C1, R1C1:R2C2; None when it is nothing of these."""
    grid = _R1C1.match(cells)
    if grid:
        top, left, bottom, right = (int(part) if part else None for part in grid.groups())
        assert top is not None and left is not None
        return _ordered(top - 1, left - 1, (bottom or top) - 1, (right or left) - 1)
    found = _A1.match(cells)
    if not found or not cells:
        return None
    left_name, top_text, right_name, bottom_text = found.groups()
    if ":" not in cells:
        if not (left_name and top_text):
            return None
        right_name, bottom_text = left_name, top_text
    elif not (left_name or top_text) or not (right_name or bottom_text):
        return None
    first_row = int(top_text) - 1 if top_text else 0
    first_col = column_index(left_name) if left_name else 0
    last_row = int(bottom_text) - 1 if bottom_text else OPEN - 1
    last_col = column_index(right_name) if right_name else OPEN - 1
    return _ordered(first_row, first_col, last_row, last_col)


def _ordered(row: int, col: int, other_row: int, other_col: int) -> Area:
    """Make an area of two corners in any order (B2:A1 is A1:B2)."""
    top, bottom = sorted((row, other_row))
    left, right = sorted((col, other_col))
    return Area(top, left, min(bottom + 1, OPEN), min(right + 1, OPEN))


def sheet_of(book: Workbook, gid: Any) -> Sheet:
    """Find the tab with the id *gid* (absent = 0)."""
    sheet = book.sheet_by_id(gid or 0)
    if sheet is None:
        raise GoogleError(400, f"No grid with id: {gid or 0}")
    return sheet


def read_grid_range(book: Workbook, grid: Mapping[str, Any]) -> tuple[Sheet, Area]:
    """Find what a GridRange names; absent ends are open. GoogleError 400 beyond the grid."""
    sheet = sheet_of(book, grid.get("sheetId"))
    parts = [("startRowIndex", sheet.rows, 0), ("startColumnIndex", sheet.cols, 0),
             ("endRowIndex", sheet.rows, OPEN), ("endColumnIndex", sheet.cols, OPEN)]  # fmt: skip
    ends: list[int] = []
    for name, last, absent in parts:
        given = grid.get(name)
        inside = given is None or 0 <= given < last + (absent == OPEN)  # an end may be the count itself
        if not inside:
            axis = "row" if "Row" in name else "column"
            raise GoogleError(400, f"range.{name}[{given}] is after last {axis} in grid[{last}]")
        ends.append(absent if given is None else given)
    area = Area(*ends)
    if area.bottom <= area.top or area.right <= area.left:
        raise GoogleError(400, "Range must have a start index less than its end index.")
    return sheet, area


def grid_range_of(sheet: Sheet, area: Area) -> dict[str, int]:
    """Write *area* as a GridRange; open ends are left out."""
    grid = {"sheetId": sheet.gid, "startRowIndex": area.top, "startColumnIndex": area.left}
    if area.bottom != OPEN:
        grid["endRowIndex"] = area.bottom
    if area.right != OPEN:
        grid["endColumnIndex"] = area.right
    return grid


def read_filter(book: Workbook, data_filter: Mapping[str, Any]) -> list[tuple[Sheet, Area]]:
    """Find what a DataFilter names: one range, or every row, column or tab whose metadata matches."""
    if data_filter.get("a1Range") is not None:
        return [read_a1(book, data_filter["a1Range"])]
    if data_filter.get("gridRange") is not None:
        return [read_grid_range(book, data_filter["gridRange"])]
    lookup = data_filter.get("developerMetadataLookup")
    if lookup is None:
        raise GoogleError(400, "DataFilter must have one of a1Range, gridRange, developerMetadataLookup.")
    from sandbox.sheets_metadata import places_of  # it reads ranges with this module

    return places_of(book, lookup)
