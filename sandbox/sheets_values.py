"""Read and write plain values: the ValueRange part of the API (values.get, update, append, clear and their batches)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sandbox.sheets_errors import GoogleError
from sandbox.sheets_ranges import a1_of
from sandbox.workbook import Area, Cell, CellError, Picture, Sheet, column_name


@dataclass(frozen=True, slots=True)
class Rendering:
    """Say how values are read."""

    values: str = "FORMATTED_VALUE"
    dates: str = "SERIAL_NUMBER"
    by_columns: bool = False

    @classmethod
    def of(cls, options: Mapping[str, Any], prefix: str = "") -> "Rendering":
        """Take it from a query or a body; *prefix* is "response" where the names have one."""

        def option(name: str, default: str) -> str:
            return options.get(prefix + name[0].upper() + name[1:] if prefix else name) or default

        by_columns = option("majorDimension", "ROWS") == "COLUMNS"
        values = option("valueRenderOption", "FORMATTED_VALUE")
        return cls(values, option("dateTimeRenderOption", "SERIAL_NUMBER"), by_columns)


def plain(number: float) -> float | int:
    """Turn a whole float into an int: Google writes 5, not 5.0."""
    return int(number) if number.is_integer() and abs(number) < 1e21 else number


def shown(cell: Cell, how: Rendering) -> str | float | bool:
    """Give the value of *cell* as *how* asks; "" for an empty one."""
    if how.values == "FORMATTED_VALUE":
        return cell.formatted
    if how.values == "FORMULA" and cell.formula is not None:
        return cell.formula
    if how.dates == "FORMATTED_STRING" and (cell.is_date or cell.number_type == "TIME"):
        return cell.formatted
    match cell.effective:
        case None | Picture():
            return ""
        case CellError() as error:
            return error.shown
        case float() as number:
            return plain(number)
        case value:
            return value


def value_range(sheet: Sheet, area: Area, how: Rendering) -> dict[str, Any]:
    """Read *area* as a ValueRange: trailing blanks cut, no `values` when there are none."""
    area = area.within(sheet.rows, sheet.cols)
    rows = [_trimmed(_row(sheet, row, area, how)) for row in range(area.top, area.bottom)]
    if how.by_columns:
        width = max(map(len, rows), default=0)
        rows = [_trimmed([row[at] if at < len(row) else "" for row in rows]) for at in range(width)]
    while rows and not rows[-1]:
        rows.pop()
    result: dict[str, Any] = {
        "range": a1_of(sheet, area),
        "majorDimension": "COLUMNS" if how.by_columns else "ROWS",
    }
    return {**result, "values": rows} if rows else result


def _row(sheet: Sheet, row: int, area: Area, how: Rendering) -> list[Any]:
    cells = sheet.row_cells(row)
    last = min(max(cells, default=-1) + 1, area.right)
    return [shown(cells[col], how) if col in cells else "" for col in range(area.left, last)]


def _trimmed(values: list[Any]) -> list[Any]:
    end = len(values)
    while end and values[end - 1] == "":
        end -= 1
    return values[:end]


@dataclass(frozen=True, slots=True)
class Written:
    """Count what a write touched; *area* is what was given, in the grid."""

    sheet: Sheet
    area: Area
    rows: int
    cols: int
    cells: int

    def to_json(self, spreadsheet_id: str, response: Rendering | None) -> dict[str, Any]:
        """Give the UpdateValuesResponse, with the values when *response* says how to read them."""
        result: dict[str, Any] = {"spreadsheetId": spreadsheet_id, "updatedRange": a1_of(self.sheet, self.area)}
        counts = {"updatedRows": self.rows, "updatedColumns": self.cols, "updatedCells": self.cells}
        result.update({name: count for name, count in counts.items() if count})
        if response is not None:
            result["updatedData"] = value_range(self.sheet, self.area, response)
        return result


def write(sheet: Sheet, area: Area, given: Mapping[str, Any], option: str | None) -> Written:
    """
    Write the values of a ValueRange from the first cell of *area* on.

    None leaves a cell alone, "" clears it. *option* RAW keeps text as text, USER_ENTERED reads it as typing does.
    """
    if option not in ("RAW", "USER_ENTERED"):
        raise GoogleError(400, "'valueInputOption' is required but not specified")
    rows = _by_rows(given)
    height, width = len(rows), max(map(len, rows), default=0)
    area = area.within(sheet.rows, sheet.cols)
    single = area.bottom - area.top == 1 and area.right - area.left == 1
    if single:  # one cell as a range is only the place to start at
        area = Area(area.top, area.left).within(sheet.rows, sheet.cols)
    _refuse_overflow(sheet, area, height, width)
    touched = [
        (row, col, value)
        for row, values in enumerate(rows, start=area.top)
        for col, value in enumerate(values, start=area.left)
        if value is not None
    ]
    for row, col, value in touched:
        _write_cell(sheet, row, col, value, option)
    used = Area(area.top, area.left, area.top + max(height, 1), area.left + max(width, 1))
    used = used if single or not height else _span(area, used)
    return Written(sheet, used, len({row for row, _, _ in touched}), len({col for _, col, _ in touched}), len(touched))


def _span(area: Area, used: Area) -> Area:
    return Area(area.top, area.left, min(area.bottom, used.bottom), min(area.right, used.right))


def _by_rows(given: Mapping[str, Any]) -> list[list[Any]]:
    values: list[list[Any]] = given.get("values") or []
    if given.get("majorDimension") != "COLUMNS":
        return values
    height = max(map(len, values), default=0)
    return [[column[row] if row < len(column) else None for column in values] for row in range(height)]


def _refuse_overflow(sheet: Sheet, area: Area, height: int, width: int) -> None:
    where = a1_of(sheet, area)
    if area.top + height > area.bottom:
        raise GoogleError(
            400, f"Requested writing within range [{where}], but tried writing to row [{area.bottom + 1}]"
        )
    if area.left + width > area.right:
        column = column_name(area.right)
        raise GoogleError(400, f"Requested writing within range [{where}], but tried writing to column [{column}]")


def _write_cell(sheet: Sheet, row: int, col: int, value: Any, option: str) -> None:
    if isinstance(value, list | dict):
        raise GoogleError(
            400, f"Invalid values[{row}][{col}]: {'list_value' if isinstance(value, list) else 'struct_value'}"
        )
    if isinstance(value, str) and option == "USER_ENTERED":
        sheet.enter(row, col, value)
    else:
        sheet.set_cell(row, col, value)


def append(
    sheet: Sheet, area: Area, given: Mapping[str, Any], option: str | None, *, insert: bool
) -> tuple[str | None, Written]:
    """
    Write below the table that *area* touches; the grid grows when it must.

    Gives the table's A1 (None when there is no table) and what was written.
    """
    table = _table(sheet, area.within(sheet.rows, sheet.cols))
    top, left = (table.bottom, table.left) if table else (area.top, area.left)
    rows = _by_rows(given)
    height, width = len(rows), max(map(len, rows), default=0)
    if insert and table and height and top < sheet.rows:
        sheet.insert_rows(top, height)
    if top + height > sheet.rows:
        sheet.insert_rows(sheet.rows, top + height - sheet.rows)
    if left + width > sheet.cols:
        sheet.insert_cols(sheet.cols, left + width - sheet.cols)
    target = Area(top, left, top + max(height, 1), left + max(width, 1))
    written = write(sheet, target, given, option) if height else Written(sheet, target, 0, 0, 0)
    return (a1_of(sheet, table) if table else None), written


def _table(sheet: Sheet, area: Area) -> Area | None:
    """Find the block of filled cells that begins in *area*: grown until an empty border surrounds it."""
    filled = {
        (row, col)
        for row in range(sheet.rows)
        for col, cell in sheet.row_cells(row).items()
        if cell.user_entered is not None
    }
    seeds = [place for place in filled if area.holds(*place)]
    if not seeds:
        return None
    top, left = min(row for row, _ in seeds), min(col for _, col in seeds)
    bottom, right = max(row for row, _ in seeds) + 1, max(col for _, col in seeds) + 1
    grown = True
    while grown:
        grown = False
        while any((bottom, col) in filled for col in range(left - 1, right + 1)):
            bottom, grown = bottom + 1, True
        while any((top - 1, col) in filled for col in range(left - 1, right + 1)):
            top, grown = top - 1, True
        while any((row, right) in filled for row in range(top - 1, bottom + 1)):
            right, grown = right + 1, True
        while any((row, left - 1) in filled for row in range(top - 1, bottom + 1)):
            left, grown = left - 1, True
    return Area(top, left, bottom, right)
