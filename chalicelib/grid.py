"""Turn our cells into the words of the Sheets API, and its grids into ours. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from chalicelib.cells import Cell, Image, Number, Tab, Text, Tick, Time, note_to_write
from chalicelib.mend import Held

COLUMN_KEY: Final = "comfysheet-column"
"""Name of the developer metadata in which set-up says what a column is."""

FILTER_VIEWS: Final[dict[str, tuple[str, ...]]] = {
    "To do": ("done", "error", "cancelled", "queued", "processing"),
    "Running": ("", "pending", "done", "error", "cancelled"),
    "Failed": ("", "pending", "queued", "processing", "done"),
}
"""Our filter views, and the words of Status that each hides."""

_TIME_FORMAT: Final = {"numberFormat": {"type": "DATE_TIME", "pattern": "yyyy-mm-dd hh:mm:ss"}}


def filter_view(tab: Tab, title: str) -> dict[str, Any]:
    """Ask for one of our filter views, over the whole width of *tab*."""
    status = tab.columns["status"]
    area = {"sheetId": tab.sheet_id, "startRowIndex": 0, "startColumnIndex": 0, "endColumnIndex": len(tab.header)}
    hidden = {"hiddenValues": list(FILTER_VIEWS[title])}
    specs = [{"columnIndex": status, "filterCriteria": hidden}]
    return {"addFilterView": {"filter": {"title": title, "range": area, "filterSpecs": specs}}}


def _held_data(held: Held) -> tuple[dict[str, Any], str]:
    data: dict[str, Any] = {"userEnteredValue": dict(held.value)} if held.value else {}
    fields = "userEnteredValue"
    if held.form is not None:
        data |= {"userEnteredFormat": {"numberFormat": dict(held.form)}} if held.form else {}
        fields += ",userEnteredFormat.numberFormat"
    if held.note is None:
        return data, fields
    return (data | {"note": held.note} if held.note else data), f"{fields},note"


def cell_data(cell: Cell | Held, there: str) -> tuple[dict[str, Any], str]:
    """
    Give a cell's CellData and the fields mask that goes with it. A masked but absent field is cleared.

    *there* is the note that the cell has now.
    """
    if isinstance(cell, Held):
        return _held_data(cell)
    note = note_to_write(cell, there)
    data, fields = _value_data(cell)
    if note is None:
        return data, fields
    return (data | {"note": note} if note else data), f"{fields},note"


def _value_data(cell: Cell) -> tuple[dict[str, Any], str]:
    if isinstance(cell, Time):
        data = {"userEnteredValue": {"numberValue": cell.serial}, "userEnteredFormat": _TIME_FORMAT}
        return data, "userEnteredValue,userEnteredFormat.numberFormat"
    if isinstance(cell, Text):
        return ({"userEnteredValue": {"stringValue": cell.text}} if cell.text else {}), "userEnteredValue"
    if isinstance(cell, Tick):
        return {"userEnteredValue": {"boolValue": cell.is_on}}, "userEnteredValue"
    if isinstance(cell, Number):
        return {"userEnteredValue": {"numberValue": cell.number}}, "userEnteredValue"
    if isinstance(cell, Image):
        return {"userEnteredValue": {"formulaValue": cell.formula}}, "userEnteredValue"
    raise TypeError(f"no such cell: {cell!r}")


def updates(sheet_id: int, row: int, cells: Mapping[int, tuple[dict[str, Any], str]]) -> Iterator[dict[str, Any]]:
    """Make one updateCells for each run of neighbouring columns with the same mask."""
    run: list[int] = []
    for column in [*sorted(cells), -1]:
        if run and (column != run[-1] + 1 or cells[column][1] != cells[run[0]][1]):
            yield {
                "updateCells": {
                    "start": {"sheetId": sheet_id, "rowIndex": row, "columnIndex": run[0]},
                    "rows": [{"values": [cells[place][0] for place in run]}],
                    "fields": cells[run[0]][1],
                }
            }
            run = []
        run.append(column)


def _is_moment(value: Mapping[str, Any]) -> bool:
    """Tell a date or a time, which Sheets keeps as a number of days, from a number: by its format alone."""
    form = value.get("effectiveFormat", {}).get("numberFormat", {})
    return form.get("type") in ("DATE", "TIME", "DATE_TIME")


def tab_of(spreadsheet_id: str, sheet_id: int, title: str, time_zone: str, answer: Mapping[str, Any]) -> Tab:
    """Collect the cells of an answer with grid data; other tabs in it are left out."""
    texts: dict[tuple[int, int], str] = {}
    entered: dict[tuple[int, int], Mapping[str, object]] = {}
    notes: dict[tuple[int, int], str] = {}
    values: dict[tuple[int, int], Mapping[str, object]] = {}
    forms: dict[tuple[int, int], Mapping[str, object]] = {}
    labels: dict[int, str] = {}
    for sheet in answer.get("sheets", []):
        if sheet["properties"].get("sheetId", 0) != sheet_id:
            continue
        for block in sheet.get("data", []):
            for column, described in enumerate(block.get("columnMetadata", []), start=block.get("startColumn", 0)):
                for entry in described.get("developerMetadata", []):
                    if entry.get("metadataKey") == COLUMN_KEY:
                        labels[column] = str(entry.get("metadataValue", ""))
            for row, line in enumerate(block.get("rowData", []), start=block.get("startRow", 0)):
                for column, value in enumerate(line.get("values", []), start=block.get("startColumn", 0)):
                    if text := value.get("formattedValue"):
                        texts[row, column] = text
                    if "userEnteredValue" in value:
                        entered[row, column] = value["userEnteredValue"]
                    if "effectiveValue" in value and not _is_moment(value):
                        values[row, column] = value["effectiveValue"]
                    if form := value.get("userEnteredFormat", {}).get("numberFormat"):
                        forms[row, column] = form
                    if note := value.get("note"):
                        notes[row, column] = note
    width = max((column for row, column in texts if row == 0), default=-1) + 1
    header = tuple(texts.get((0, column), "") for column in range(width))
    return Tab(spreadsheet_id, sheet_id, title, time_zone, header, texts, entered, notes, values, labels, forms)
