"""
Apply the requests of spreadsheets.batchUpdate to a workbook, one function for each kind.

The caller holds the workbook's `atomic`: a refusal undoes the whole batch. What is not here is refused with 501, never
ignored. Sentences are Google's where they are known.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from sandbox.sheets_around import KINDS, MASKED, mask_of
from sandbox.sheets_cells import sheet_properties, updated
from sandbox.sheets_errors import GoogleError
from sandbox.sheets_fields import Mask, read_mask
from sandbox.sheets_ranges import read_grid_range, sheet_of
from sandbox.workbook import Axis, Sheet, Workbook, hex_of

Request = Mapping[str, Any]
Reply = dict[str, Any]
#: Looks whether a mask fits a schema (the judge's refuse_mask).
RefuseMask = Callable[[str, Mask], None]


def apply_all(book: Workbook, requests: list[Request], refuse_mask: RefuseMask) -> list[Reply]:
    """Apply *requests* in order and give one reply for each; GoogleError names the one that was wrong."""
    if not requests:
        raise GoogleError(400, "Must specify at least one request.")
    replies: list[Reply] = []
    for at, request in enumerate(requests):
        given = {name: one for name, one in request.items() if one is not None}
        if len(given) != 1:
            raise GoogleError(400, f"Invalid requests[{at}]: No request set.")
        ((kind, one),) = given.items()
        apply = _KINDS.get(kind)
        if apply is None:
            raise GoogleError(501, f"The request {kind} is not emulated.")
        try:
            if one.get("fields"):
                refuse_mask(_MASKED[kind], read_mask(one["fields"]))
            replies.append(apply(book, one))
        except GoogleError as error:
            raise error.within(f"requests[{at}].{kind}") from error
        except (ValueError, IndexError) as error:  # the workbook's own sentences
            raise GoogleError(400, f"Invalid requests[{at}].{kind}: {error}") from error
    return replies


# -- cells ---------------------------------------------------------------------------------------------------------


def _update_cells(book: Workbook, request: Request) -> Reply:
    mask = mask_of(request)
    rows = [row.get("values") or [] for row in request.get("rows") or []]
    if request.get("start") is not None:
        start = request["start"]
        sheet = sheet_of(book, start.get("sheetId"))
        top, left = start.get("rowIndex", 0), start.get("columnIndex", 0)
        for row, values in enumerate(rows, start=top):
            for col, given in enumerate(values, start=left):
                _update_cell(sheet, row, col, given, mask)
        return {}
    if request.get("range") is None:
        raise GoogleError(400, "Must specify either a start or a range.")
    sheet, area = read_grid_range(book, request["range"])
    area = area.within(sheet.rows, sheet.cols)
    if len(rows) > area.bottom - area.top or max(map(len, rows), default=0) > area.right - area.left:
        raise GoogleError(400, "Attempting to write beyond the requested range.")
    for row, col in area.cells():  # what the rows do not cover is cleared
        values = rows[row - area.top] if row - area.top < len(rows) else []
        given = values[col - area.left] if col - area.left < len(values) else {}
        _update_cell(sheet, row, col, given, mask)
    return {}


def _update_cell(sheet: Sheet, row: int, col: int, given: Mapping[str, Any] | None, mask: Mask) -> None:
    for axis, at, count in (("row", row, sheet.rows), ("column", col, sheet.cols)):
        if not 0 <= at < count:
            raise GoogleError(
                400, f"Attempting to write {axis}: {at}, beyond the last requested {axis} of: {count - 1}"
            )
    sheet.put(row, col, updated(sheet.cell(row, col), given or {}, mask))


def _repeat_cell(book: Workbook, request: Request) -> Reply:
    mask = mask_of(request)
    sheet, area = read_grid_range(book, request.get("range") or {})
    for row, col in area.within(sheet.rows, sheet.cols).cells():
        sheet.put(row, col, updated(sheet.cell(row, col), request.get("cell") or {}, mask))
    return {}


def _append_cells(book: Workbook, request: Request) -> Reply:
    mask = mask_of(request)
    sheet = sheet_of(book, request.get("sheetId"))
    rows = [row.get("values") or [] for row in request.get("rows") or []]
    top, width = sheet.data_extent()[0], max(map(len, rows), default=0)
    if top + len(rows) > sheet.rows:
        sheet.insert_rows(sheet.rows, top + len(rows) - sheet.rows)
    if width > sheet.cols:
        sheet.insert_cols(sheet.cols, width - sheet.cols)
    for row, values in enumerate(rows, start=top):
        for col, given in enumerate(values):
            _update_cell(sheet, row, col, given, mask)
    return {}


def _set_data_validation(book: Workbook, request: Request) -> Reply:
    sheet, area = read_grid_range(book, request.get("range") or {})
    for row, col in area.within(sheet.rows, sheet.cols).cells():
        sheet.set_cell(row, col, validation=request.get("rule"))
    return {}


def _sort_range(book: Workbook, request: Request) -> Reply:
    sheet, area = read_grid_range(book, request.get("range") or {})
    for spec in reversed(request.get("sortSpecs") or []):  # sorting is stable: the first key comes last
        sheet.sort(area, spec.get("dimensionIndex", 0), spec.get("sortOrder") != "DESCENDING")
    return {}


# -- rows and columns ----------------------------------------------------------------------------------------------


def _span(book: Workbook, span: Request) -> tuple[Sheet, Axis, int, int]:
    """Read a DimensionRange: tab, axis, start, length."""
    sheet = sheet_of(book, span.get("sheetId"))
    axis: Axis = "COLUMNS" if span.get("dimension") == "COLUMNS" else "ROWS"
    if span.get("dimension") not in ("ROWS", "COLUMNS"):
        raise GoogleError(400, "No dimension specified.")
    start, end = span.get("startIndex", 0), span.get("endIndex", sheet.rows if axis == "ROWS" else sheet.cols)
    if end <= start:
        raise GoogleError(400, "endIndex must be greater than startIndex.")
    return sheet, axis, start, end - start


def _append_dimension(book: Workbook, request: Request) -> Reply:
    sheet = sheet_of(book, request.get("sheetId"))
    if request.get("dimension") == "COLUMNS":
        sheet.insert_cols(sheet.cols, request.get("length", 0))
    else:
        sheet.insert_rows(sheet.rows, request.get("length", 0))
    return {}


def _insert_dimension(book: Workbook, request: Request) -> Reply:
    sheet, axis, start, n = _span(book, request.get("range") or {})
    if request.get("inheritFromBefore") and start == 0:
        raise GoogleError(400, "inheritFromBefore cannot be set to true if inserting at index 0.")
    insert = sheet.insert_rows if axis == "ROWS" else sheet.insert_cols
    insert(start, n, "before" if request.get("inheritFromBefore") else "after")
    return {}


def _delete_dimension(book: Workbook, request: Request) -> Reply:
    sheet, axis, start, n = _span(book, request.get("range") or {})
    (sheet.delete_rows if axis == "ROWS" else sheet.delete_cols)(start, n)
    return {}


def _move_dimension(book: Workbook, request: Request) -> Reply:
    sheet, axis, start, n = _span(book, request.get("source") or {})
    (sheet.move_rows if axis == "ROWS" else sheet.move_cols)(start, n, request.get("destinationIndex", 0))
    return {}


def _update_dimension_properties(book: Workbook, request: Request) -> Reply:
    sheet, axis, start, n = _span(book, request.get("range") or {})
    given, names = request.get("properties") or {}, {"pixelSize": "pixel_size", "hiddenByUser": "hidden_by_user"}
    mask = mask_of(request) or {name: {} for name in names}
    for name in mask:
        if name not in names:
            raise GoogleError(501, f"Writing DimensionProperties.{name} is not emulated.")
        value = given.get(name)
        sheet.set_dimension(axis, start, n, **{names[name]: bool(value) if name == "hiddenByUser" else value})
    return {}


# -- tabs and the workbook -----------------------------------------------------------------------------------------


def _add_sheet(book: Workbook, request: Request) -> Reply:
    given = request.get("properties") or {}
    grid = given.get("gridProperties") or {}
    title = given.get("title") or _free_title(book)
    rows, cols = grid.get("rowCount", 1000), grid.get("columnCount", 26)
    sheet = book.add_sheet(title, gid=given.get("sheetId"), rows=rows, cols=cols, index=given.get("index"))
    sheet.freeze(grid.get("frozenRowCount"), grid.get("frozenColumnCount"))
    return {"addSheet": {"properties": sheet_properties(book, sheet)}}


def _free_title(book: Workbook) -> str:
    number = len(book.sheets) + 1
    while book.sheet_by_title(f"Sheet{number}"):
        number += 1
    return f"Sheet{number}"


def _delete_sheet(book: Workbook, request: Request) -> Reply:
    book.delete_sheet(sheet_of(book, request.get("sheetId")).gid)
    return {}


def _update_sheet_properties(book: Workbook, request: Request) -> Reply:
    given = request.get("properties") or {}
    sheet = sheet_of(book, given.get("sheetId"))
    for name, below in (mask_of(request) or {name: {} for name in given}).items():
        match name:
            case "title":
                book.rename_sheet(sheet.gid, given.get("title") or "")
            case "index":
                _move_sheet(book, sheet, given.get("index", 0))
            case "hidden":
                sheet.change(partial(setattr, sheet, "hidden", bool(given.get("hidden"))))
            case "gridProperties":
                _update_grid(sheet, given.get("gridProperties") or {}, below)
            case "tabColor" | "tabColorStyle":
                style = (given.get("tabColorStyle") or {}).get("rgbColor")
                sheet.change(partial(setattr, sheet, "tab_color", hex_of(style or given.get("tabColor"))))
            case "sheetId":
                pass
            case _:
                raise GoogleError(501, f"Writing SheetProperties.{name} is not emulated.")
    return {}


def _move_sheet(book: Workbook, sheet: Sheet, index: int) -> None:
    """Put the tab before the one at *index*, counted before the move, as the API does."""
    others = [one for one in book.sheets if one is not sheet]
    place = index - (1 if book.sheets.index(sheet) < index else 0)
    book.change(partial(setattr, book, "sheets", [*others[:place], sheet, *others[place:]]))


def _update_grid(sheet: Sheet, grid: Request, mask: Mask) -> None:
    for name in mask or grid:
        wanted = grid.get(name, 0)
        match name:
            case "frozenRowCount":
                sheet.freeze(rows=wanted)
            case "frozenColumnCount":
                sheet.freeze(cols=wanted)
            case "rowCount" if wanted > sheet.rows:
                sheet.insert_rows(sheet.rows, wanted - sheet.rows)
            case "rowCount" if wanted < sheet.rows:
                sheet.delete_rows(wanted, sheet.rows - wanted)
            case "columnCount" if wanted > sheet.cols:
                sheet.insert_cols(sheet.cols, wanted - sheet.cols)
            case "columnCount" if wanted < sheet.cols:
                sheet.delete_cols(wanted, sheet.cols - wanted)
            case "rowCount" | "columnCount":
                pass
            case _:
                raise GoogleError(501, f"Writing GridProperties.{name} is not emulated.")


def _update_spreadsheet_properties(book: Workbook, request: Request) -> Reply:
    given = request.get("properties") or {}
    for name in mask_of(request) or given:
        match name:
            case "title" | "locale" | "timeZone":
                if not given.get(name):
                    raise GoogleError(400, f"{name} must not be empty.")
                attribute = "time_zone" if name == "timeZone" else name
                book.change(partial(setattr, book, attribute, given[name]))
            case "importFunctionsExternalUrlAccessAllowed":
                if given.get(name):
                    book.allow_external_images()
                elif book.external_images_allowed:
                    raise GoogleError(400, f"{name} cannot be set back to false.")
            case _:
                raise GoogleError(501, f"Writing SpreadsheetProperties.{name} is not emulated.")
    return {}


_KINDS: Final[Mapping[str, Callable[[Workbook, Request], Reply]]] = {
    "updateCells": _update_cells,
    "repeatCell": _repeat_cell,
    "appendCells": _append_cells,
    "setDataValidation": _set_data_validation,
    "sortRange": _sort_range,
    "appendDimension": _append_dimension,
    "insertDimension": _insert_dimension,
    "deleteDimension": _delete_dimension,
    "moveDimension": _move_dimension,
    "updateDimensionProperties": _update_dimension_properties,
    "addSheet": _add_sheet,
    "deleteSheet": _delete_sheet,
    "updateSheetProperties": _update_sheet_properties,
    "updateSpreadsheetProperties": _update_spreadsheet_properties,
    **KINDS,
}
#: The schema that a request's `fields` speaks of.
_MASKED: Final = {
    "updateCells": "CellData",
    "repeatCell": "CellData",
    "appendCells": "CellData",
    "updateDimensionProperties": "DimensionProperties",
    "updateSheetProperties": "SheetProperties",
    "updateSpreadsheetProperties": "SpreadsheetProperties",
    **MASKED,
}
