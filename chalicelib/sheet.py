"""
Reach Google Sheets: one read and one write per tab, however many rows.

Writes are `updateCells` with typed cells, addressed by the tab's id: nothing is parsed, a renamed tab breaks nothing.
The same call answers which rows it hit. The client is built once and used by one thread: httplib2 mixes up answers
between threads.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from chalicelib.cells import Cell, Identity, Image, Number, Tab, Text, Time, Unreachable, find_columns
from chalicelib.contract.errors import Unavailable

SCOPES: Final = ("https://www.googleapis.com/auth/spreadsheets",)
TIMEOUT_S: Final = 20
_RETRIES: Final = 2
"""Within one call; the client sleeps random()*2**k and ignores Retry-After, so the queue does the rest."""

_READ_FIELDS: Final = (
    "properties.timeZone,"
    "sheets(properties(sheetId,title),data(startRow,startColumn,rowData(values(formattedValue,userEnteredValue))))"
)
_WRITE_FIELDS: Final = "updatedSpreadsheet.sheets(data(startRow,startColumn,rowData(values(formattedValue))))"
_TIME_FORMAT: Final = {"numberFormat": {"type": "DATE_TIME", "pattern": "yyyy-mm-dd hh:mm:ss"}}

Service = Any
"""googleapiclient's Resource for Sheets v4; it carries no types."""


def connect(credentials_json: str, api_endpoint: str) -> Service:
    """Build the Sheets client from a service account's JSON key; *api_endpoint* empty: Google's own."""
    import google_auth_httplib2
    import httplib2
    from google.oauth2 import service_account
    from googleapiclient.discovery import build

    credentials = service_account.Credentials.from_service_account_info(json.loads(credentials_json), scopes=SCOPES)
    http = google_auth_httplib2.AuthorizedHttp(credentials, http=httplib2.Http(timeout=TIMEOUT_S))
    options = {"api_endpoint": api_endpoint} if api_endpoint else None
    return build("sheets", "v4", http=http, static_discovery=True, cache_discovery=False, client_options=options)


class Sheets:
    """Read and write tabs. *service* makes the client on first use. All rows and columns are 0-based."""

    def __init__(self, service: Callable[[], Service]) -> None:
        self._service = service
        self._built: Service = None

    def read(self, spreadsheet_id: str, sheet_id: int, hint: Mapping[str, int]) -> Tab:
        """
        Read our columns of a tab; *hint* says where they were last seen, and makes one call enough if they still are.

        Raise `Unreachable` (not shared, deleted) or `Unavailable`.
        """
        places = dict(hint)
        try:
            answer = self._fetch(spreadsheet_id, sheet_id, places.values())
        except Unreachable:
            if not places:
                raise
            # A column that is no longer in the grid makes the whole read invalid.
            answer, places = self._fetch(spreadsheet_id, sheet_id, ()), {}
        found = find_columns(_header(answer, sheet_id))
        if not set(found.values()) <= set(places.values()):
            answer = self._fetch(spreadsheet_id, sheet_id, found.values())
            found = find_columns(_header(answer, sheet_id))
        return _tab(spreadsheet_id, sheet_id, answer, found)

    def write(self, tab: Tab, rows: Mapping[int, Mapping[str, Cell]]) -> dict[int, Identity]:
        """
        Write cells by row and column name; names that the tab has no column for are left out.

        Answer which row really stood where each of *rows* was written. Raise as `read`.
        """
        requests = [
            request
            for row, cells in rows.items()
            for request in _updates(
                tab.sheet_id,
                row,
                {tab.columns[name]: _cell_data(cell) for name, cell in cells.items() if name in tab.columns},
            )
        ]
        return self._update(tab, requests, rows)

    def restore(self, tab: Tab, rows: Mapping[int, int | None], columns: Iterable[str]) -> None:
        """Put back into each row of *rows* what its source row held when *tab* was read (None: nothing)."""
        places = sorted({tab.columns[name] for name in columns if name in tab.columns})
        requests = [
            request
            for row, source in rows.items()
            for request in _updates(
                tab.sheet_id,
                row,
                {
                    column: ({"userEnteredValue": value} if value else {}, "userEnteredValue")
                    for column in places
                    for value in [tab.entered.get((source, column)) if source is not None else None]
                },
            )
        ]
        self._update(tab, requests, rows)

    def _fetch(self, spreadsheet_id: str, sheet_id: int, columns: Iterable[int]) -> dict[str, Any]:
        header = {"sheetId": sheet_id, "startRowIndex": 0, "endRowIndex": 1}
        ranges = [header] + [
            {"sheetId": sheet_id, "startRowIndex": 1, "startColumnIndex": column, "endColumnIndex": column + 1}
            for column in sorted(set(columns))
        ]
        body = {"dataFilters": [{"gridRange": part} for part in ranges], "includeGridData": True}
        call = self._spreadsheets().getByDataFilter(spreadsheetId=spreadsheet_id, body=body, fields=_READ_FIELDS)
        return self._execute(call)

    def _update(self, tab: Tab, requests: Sequence[Any], rows: Iterable[int]) -> dict[int, Identity]:
        wanted = list(rows)
        if not requests:
            return {row: tab.identity(row) for row in wanted}
        first, last = min(wanted) + 1, max(wanted) + 1
        quoted = tab.title.replace("'", "''")
        watched = [name for name in ("job_id", "prompt") if name in tab.columns]
        letters = [column_letters(tab.columns[name]) for name in watched]
        body = {
            "requests": requests,
            "includeSpreadsheetInResponse": True,
            "responseIncludeGridData": True,
            "responseRanges": [f"'{quoted}'!{letter}{first}:{letter}{last}" for letter in letters],
        }
        call = self._spreadsheets().batchUpdate(spreadsheetId=tab.spreadsheet_id, body=body, fields=_WRITE_FIELDS)
        seen = {(row, column): text for row, column, text, _ in _cells(self._execute(call)["updatedSpreadsheet"], None)}
        texts = {name: {row: seen.get((row, tab.columns[name]), "") for row in wanted} for name in watched}
        return {
            row: Identity(texts.get("job_id", {}).get(row, ""), texts.get("prompt", {}).get(row, "")) for row in wanted
        }

    def _spreadsheets(self) -> Service:
        if self._built is None:
            self._built = self._service()
        return self._built.spreadsheets()

    def _execute(self, call: Any) -> dict[str, Any]:
        """Make the call; rename Google's errors. Their texts are localised, so only the status is looked at."""
        from google.auth.exceptions import RefreshError, TransportError
        from googleapiclient.errors import HttpError
        from httplib2 import HttpLib2Error

        try:
            answer: dict[str, Any] = call.execute(num_retries=_RETRIES)
        except HttpError as error:
            raise _renamed(int(error.resp.status), error.error_details) from error
        except RefreshError as error:
            raise Unreachable("Google refused the service account's key.", may_heal=True) from error
        except (TransportError, HttpLib2Error, OSError) as error:
            raise Unavailable("Google Sheets cannot be reached.") from error
        return answer


def column_letters(column: int) -> str:
    """Name a 0-based column as A1 notation does: 0 is A, 26 is AA."""
    letters = ""
    number = column + 1
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters


def _renamed(status: int, details: object) -> Exception:
    if status == 429 or status >= 500 or (status == 403 and "RATE_LIMIT" in str(details).upper()):
        return Unavailable(f"Google Sheets is busy (status {status}).")
    if status in (401, 403):
        return Unreachable("The spreadsheet is not shared with the service account as an editor.", may_heal=True)
    if status == 404:
        return Unreachable("The spreadsheet was deleted.", may_heal=False)
    return Unreachable(f"Google Sheets refused the call (status {status}): the tab may be gone.", may_heal=False)


def _cell_data(cell: Cell) -> tuple[dict[str, Any], str]:
    """Give a cell's CellData and the fields mask that goes with it. A masked but absent field is cleared."""
    if isinstance(cell, Time):
        data = {"userEnteredValue": {"numberValue": cell.serial}, "userEnteredFormat": _TIME_FORMAT}
        return data, "userEnteredValue,userEnteredFormat.numberFormat"
    if isinstance(cell, Text):
        return ({"userEnteredValue": {"stringValue": cell.text}} if cell.text else {}), "userEnteredValue"
    if isinstance(cell, Number):
        return {"userEnteredValue": {"numberValue": cell.number}}, "userEnteredValue"
    if isinstance(cell, Image):
        return {"userEnteredValue": {"formulaValue": cell.formula}}, "userEnteredValue"
    raise TypeError(f"no such cell: {cell!r}")


def _updates(sheet_id: int, row: int, cells: Mapping[int, tuple[dict[str, Any], str]]) -> Iterator[dict[str, Any]]:
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


def _cells(answer: Mapping[str, Any], sheet_id: int | None) -> Iterator[tuple[int, int, str, Mapping[str, object]]]:
    """Give (row, column, displayed text, entered value) of every cell in an answer with grid data."""
    for sheet in answer.get("sheets", []):
        if sheet_id is not None and sheet["properties"].get("sheetId", 0) != sheet_id:
            continue
        for block in sheet.get("data", []):
            for down, line in enumerate(block.get("rowData", [])):
                for across, value in enumerate(line.get("values", [])):
                    row, column = block.get("startRow", 0) + down, block.get("startColumn", 0) + across
                    yield row, column, value.get("formattedValue", ""), value.get("userEnteredValue", {})


def _header(answer: Mapping[str, Any], sheet_id: int) -> list[str]:
    texts = {column: text for row, column, text, _ in _cells(answer, sheet_id) if row == 0}
    return [texts.get(column, "") for column in range(max(texts, default=-1) + 1)]


def _tab(spreadsheet_id: str, sheet_id: int, answer: Mapping[str, Any], columns: Mapping[str, int]) -> Tab:
    titles = [
        sheet["properties"]["title"]
        for sheet in answer.get("sheets", [])
        if sheet["properties"].get("sheetId", 0) == sheet_id
    ]
    if not titles:
        raise Unreachable("The tab was deleted.", may_heal=False)
    name_of = {column: name for name, column in columns.items()}
    texts: dict[str, dict[int, str]] = {name: {} for name in columns}
    entered: dict[tuple[int, int], Mapping[str, object]] = {}
    for row, column, text, value in _cells(answer, sheet_id):
        if row == 0 or column not in name_of:
            continue
        if text:
            texts[name_of[column]][row] = text
        if value:
            entered[row, column] = value
    time_zone = answer.get("properties", {}).get("timeZone", "UTC")
    return Tab(spreadsheet_id, sheet_id, titles[0], time_zone, columns, texts, entered)
