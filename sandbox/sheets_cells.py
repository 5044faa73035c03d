"""Turn cells into the API's CellData and back, and read a spreadsheet as the API shows it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sandbox.sheets_errors import GoogleError
from sandbox.sheets_fields import Mask, merged
from sandbox.sheets_metadata import Placed, seen_by_api
from sandbox.sheets_ranges import grid_range_of
from sandbox.sheets_values import plain
from sandbox.workbook import (
    DEFAULT_COLUMN_WIDTH,
    DEFAULT_ROW_HEIGHT,
    Area,
    Axis,
    Cell,
    CellError,
    ConditionalFormat,
    FilterView,
    Formula,
    Picture,
    Protected,
    Sheet,
    Value,
    Workbook,
    colour_of,
)

_WRITABLE = {"userEnteredValue", "userEnteredFormat", "note", "dataValidation"}
_KINDS = {"stringValue", "numberValue", "boolValue", "formulaValue"}


def cell_data(cell: Cell) -> dict[str, Any]:
    """Show *cell* as CellData; {} for an empty one."""
    entered = cell.user_entered
    if type(entered) is str and not (cell.note or cell.format or cell.validation):  # most cells, and tabs are long
        text = {"stringValue": entered}
        return {"userEnteredValue": text, "effectiveValue": text, "formattedValue": entered}
    data: dict[str, Any] = _entered(cell)
    match cell.effective:
        case None:
            pass
        case Picture():  # a picture has neither text nor a value that the API can show
            data["effectiveValue"] = {}
        case CellError() as error:
            data["effectiveValue"] = {"errorValue": {"type": error.type, "message": error.message}}
            data["formattedValue"] = error.shown
        case value:
            data["effectiveValue"] = _extended(value)
            data["formattedValue"] = cell.formatted
    if cell.format:
        data["effectiveFormat"] = cell.format
    return data


def updated(cell: Cell, given: Mapping[str, Any], mask: Mask) -> Cell:
    """Change *cell* as an update with *given* CellData and *mask* does: masked but absent fields are cleared."""
    beyond = [
        name for name in given if name not in _WRITABLE and (not mask or name in mask) and given[name] is not None
    ]
    if beyond:
        raise GoogleError(501, f"Writing CellData.{beyond[0]} is not emulated.")
    data = merged(_entered(cell), given, mask) or {}
    return replace(
        cell,
        user_entered=_value(data.get("userEnteredValue")),
        note=data.get("note") or None,
        format=data.get("userEnteredFormat") or None,
        validation=data.get("dataValidation"),
    )


def _entered(cell: Cell) -> dict[str, Any]:
    parts = {
        "userEnteredValue": None if cell.user_entered is None else _extended(cell.user_entered),
        "userEnteredFormat": cell.format,
        "note": cell.note,
        "dataValidation": cell.validation,
    }
    return {name: part for name, part in parts.items() if part is not None}


def _extended(value: Value) -> dict[str, Any]:
    match value:
        case Formula():
            return {"formulaValue": value.text}
        case bool():
            return {"boolValue": value}
        case float():
            return {"numberValue": plain(value)}
        case _:
            return {"stringValue": value}


def _value(given: Mapping[str, Any] | None) -> Value:
    """Read an ExtendedValue; no parsing happens, so a stringValue that starts with "=" stays text."""
    kinds = [name for name, part in (given or {}).items() if part is not None]
    if not given or not kinds:
        return None
    if len(kinds) > 1 or kinds[0] not in _KINDS:
        raise GoogleError(400, f"userEnteredValue must have exactly one of {', '.join(sorted(_KINDS))}.")
    value = given[kinds[0]]
    match kinds[0]:
        case "formulaValue":
            if not value.startswith("="):
                raise GoogleError(400, "formulaValue must start with '='.")
            return Formula(value)
        case "numberValue":
            return float(value)
        case _:
            return value  # type: ignore[no-any-return]


def grid_data(sheet: Sheet, area: Area, mask: Mask) -> dict[str, Any]:
    """
    Show *area* as GridData: rows and cells without anything are cut at the ends, zero starts left out.

    Of sizes and hiding only what *mask* names is built.
    """
    area = area.within(sheet.rows, sheet.cols)
    rows: list[dict[str, Any]] = []
    for row in range(area.top, area.bottom):
        cells = sheet.row_cells(row)
        last = min(max(cells, default=-1) + 1, area.right)
        values = [cell_data(cells[col]) if col in cells else {} for col in range(area.left, last)]
        rows.append({"values": values} if values else {})
    while rows and not rows[-1]:
        rows.pop()
    data: dict[str, Any] = {"startRow": area.top, "startColumn": area.left, "rowData": rows}
    data = {name: part for name, part in data.items() if part}
    if not mask or "rowMetadata" in mask:
        data["rowMetadata"] = [_dimension(sheet, "ROWS", at) for at in range(area.top, area.bottom)]
    if not mask or "columnMetadata" in mask:
        data["columnMetadata"] = [_dimension(sheet, "COLUMNS", at) for at in range(area.left, area.right)]
    return data


def _dimension(sheet: Sheet, axis: Axis, at: int) -> dict[str, Any]:
    dim = sheet.dimension(axis, at)
    default = DEFAULT_ROW_HEIGHT if axis == "ROWS" else DEFAULT_COLUMN_WIDTH
    shown: dict[str, Any] = {"pixelSize": dim.pixel_size or default}
    if dim.hidden_by_filter:
        shown["hiddenByFilter"] = True
    if dim.hidden_by_user:
        shown["hiddenByUser"] = True
    entries = seen_by_api(dim.metadata)
    if entries:
        shown["developerMetadata"] = [Placed(entry, sheet, axis, at).to_json() for entry in entries]
    return shown


def sheet_properties(book: Workbook, sheet: Sheet) -> dict[str, Any]:
    """Show a tab's SheetProperties."""
    grid = {"rowCount": sheet.rows, "columnCount": sheet.cols}
    frozen = {"frozenRowCount": sheet.frozen_rows, "frozenColumnCount": sheet.frozen_cols}
    grid.update({name: count for name, count in frozen.items() if count})
    shown = {
        "sheetId": sheet.gid,
        "title": sheet.title,
        "index": book.sheets.index(sheet),
        "sheetType": "GRID",
        "gridProperties": grid,
    }
    if sheet.tab_color:
        colour = colour_of(sheet.tab_color)
        shown |= {"tabColor": colour, "tabColorStyle": {"rgbColor": colour}}
    return {**shown, "hidden": True} if sheet.hidden else shown


def spreadsheet(
    book: Workbook, ranges: Sequence[tuple[Sheet, Area]] | None, *, with_grid: bool, mask: Mask, address: str
) -> dict[str, Any]:
    """
    Show *book* as Spreadsheet: every tab, or the tabs of *ranges*; *with_grid* adds the cells.

    The answer is cut by *mask* later; here it only saves building what nobody asked for.
    """
    wanted = [(sheet, Area(0, 0)) for sheet in book.sheets] if ranges is None else ranges
    grid_mask = mask.get("sheets", {}).get("data", {})
    sheets = []
    for sheet in book.sheets:
        areas = [area for other, area in wanted if other is sheet]
        if areas:
            data = [grid_data(sheet, area, grid_mask) for area in areas] if with_grid else []
            sheets.append(_sheet(book, sheet, data))
    properties: dict[str, Any] = {"title": book.title, "locale": book.locale, "autoRecalc": "ON_CHANGE"}
    properties["timeZone"] = book.time_zone
    if book.external_images_allowed:
        properties["importFunctionsExternalUrlAccessAllowed"] = True
    shown: dict[str, Any] = {"spreadsheetId": book.spreadsheet_id, "properties": properties, "sheets": sheets}
    entries = seen_by_api(book.metadata)
    if entries:
        shown["developerMetadata"] = [Placed(entry).to_json() for entry in entries]
    return {**shown, "spreadsheetUrl": address}


def _sheet(book: Workbook, sheet: Sheet, data: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    shown: dict[str, Any] = {"properties": sheet_properties(book, sheet)}
    if data:
        shown["data"] = data
    if sheet.protected:
        shown["protectedRanges"] = [protected_range(book, sheet, one) for one in sheet.protected]
    if sheet.conditional_formats:
        shown["conditionalFormats"] = [conditional_format(sheet, one) for one in sheet.conditional_formats]
    if sheet.basic_filter:
        shown["basicFilter"] = {"range": grid_range_of(sheet, sheet.basic_filter), **_criteria(sheet.filter_criteria)}
    if sheet.filter_views:
        shown["filterViews"] = [filter_view(sheet, view) for view in sheet.filter_views]
    entries = seen_by_api(sheet.metadata)
    if entries:
        shown["developerMetadata"] = [Placed(entry, sheet).to_json() for entry in entries]
    return shown


def conditional_format(sheet: Sheet, one: ConditionalFormat) -> dict[str, Any]:
    """Show a rule as ConditionalFormatRule."""
    return {**one.rule, "ranges": [grid_range_of(sheet, area) for area in one.areas]}


def filter_view(sheet: Sheet, view: FilterView) -> dict[str, Any]:
    """Show a saved filter as FilterView."""
    shown: dict[str, Any] = {"filterViewId": view.id, "title": view.title, "range": grid_range_of(sheet, view.area)}
    if view.sorting:
        shown["sortSpecs"] = [
            {"dimensionIndex": col, "sortOrder": "ASCENDING" if ascending else "DESCENDING"}
            for col, ascending in view.sorting
        ]
    return {**shown, **_criteria(view.criteria)}


def _criteria(criteria: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """Show a filter's criteria in the present way and in the deprecated one, as the API does."""
    if not criteria:
        return {}
    specs = [{"columnIndex": col, "filterCriteria": dict(one)} for col, one in criteria.items()]
    return {"criteria": {str(col): dict(one) for col, one in criteria.items()}, "filterSpecs": specs}


def protected_range(book: Workbook, sheet: Sheet, one: Protected) -> dict[str, Any]:
    """Show a protection as ProtectedRange; only who may edit it learns who else may."""
    shown: dict[str, Any] = {"protectedRangeId": one.id, "range": grid_range_of(sheet, one.area)}
    may = book.may_edit(one)
    if may:
        shown["requestingUserCanEdit"] = True
    if one.description:
        shown["description"] = one.description
    if one.warning_only:
        shown["warningOnly"] = True
    elif may and (one.editors or one.mirrors_sharing):
        users = {book.owner, *(book.shared_with if one.mirrors_sharing else one.editors)}
        shown["editors"] = {"users": sorted(users)}
    return shown
