"""Turn cells into what a script reads, and what a script writes into cells."""

import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

from sandbox.apps_script_host import ScriptFault
from sandbox.workbook import Cell, CellError, Format, Picture, Sheet, Workbook

ScriptValue = str | float | bool | datetime


def read_value(book: Workbook, cell: Cell) -> ScriptValue:
    """Give what getValue gives: '' for a blank cell and for a picture, a Date for a date or a time."""
    match cell.effective:
        case None | Picture():
            return ""
        case CellError() as error:
            return error.shown
        case float() as number if not isinstance(number, bool) and cell.number_type in ("DATE", "DATE_TIME", "TIME"):
            with suppress(OverflowError):
                return book.moment_of(number)
            return number
        case value:
            return value


def write_value(book: Workbook, sheet: Sheet, row: int, col: int, value: Any) -> None:
    """Do what setValue does: text is read as if it were typed, unless the cell's format is plain text."""
    try:
        match value:
            case None | "":
                sheet.set_cell(row, col, None)
            case str():
                sheet.enter(row, col, value)
            case bool() | int() | float():
                sheet.set_cell(row, col, value, judged=True)
            case datetime():
                form = _dated(sheet.cell(row, col))
                sheet.set_cell(row, col, book.serial_of(value), format=form, judged=True)
            case _:
                raise ScriptFault(f"Writing {type(value).__name__} into a cell is not emulated")
    except ValueError as error:
        raise ScriptFault(str(error)) from error


def merged(cell: Cell, **parts: Any) -> Format:
    """Give the cell's format with *parts* (in the API's words) over it; nested mappings are merged, None takes away."""
    form = dict(cell.format or {})
    for name, part in parts.items():
        before = form.get(name)
        form[name] = {**before, **part} if isinstance(part, Mapping) and isinstance(before, Mapping) else part
    return {name: part for name, part in form.items() if part is not None}


def number_format(pattern: str) -> dict[str, str]:
    """Give the API's NumberFormat for a pattern."""
    bare = re.sub(r'"[^"]*"|\\.', "", pattern).lower()
    has_date, has_time = bool(re.search(r"[yd]", bare)), bool(re.search(r"[hs]", bare))
    if "@" in bare:
        return {"type": "TEXT", "pattern": "@"}
    if has_date or has_time:
        return {"type": "DATE_TIME" if has_date and has_time else "DATE" if has_date else "TIME", "pattern": pattern}
    return {"type": "PERCENT" if "%" in bare else "NUMBER", "pattern": pattern}


def _dated(cell: Cell) -> Format | None:
    if cell.number_type in ("DATE", "DATE_TIME", "TIME"):
        return cell.format
    return merged(cell, numberFormat={"type": "DATE_TIME", "pattern": "m/d/yyyy h:mm:ss"})
