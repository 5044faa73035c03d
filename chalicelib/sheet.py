"""
Reach Google Sheets: one read and one write per tab, however many rows.

Writes are `updateCells` with typed cells, addressed by the tab's id, so nothing is parsed. The same call answers what
it hit. The client is built once and used by one thread: httplib2 mixes up answers
between threads.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from chalicelib.cells import Cell, Image, Moved, Number, Tab, Text, Time, Unreachable
from chalicelib.contract.errors import Unavailable

SCOPES: Final = ("https://www.googleapis.com/auth/spreadsheets",)
TIMEOUT_S: Final = 20
_RETRIES: Final = 2
"""Within one call; the client sleeps random()*2**k and ignores Retry-After, so the queue does the rest."""

_READ_FIELDS: Final = (
    "properties.timeZone,"
    "sheets(properties(sheetId,title),data(startRow,startColumn,rowData(values(formattedValue,userEnteredValue))))"
)
_WRITE_FIELDS: Final = (
    "updatedSpreadsheet.sheets(properties.sheetId,data(startRow,startColumn,rowData(values(formattedValue))))"
)
_REFUSED: Final = "Google Sheets refused the call"
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

    def read(self, spreadsheet_id: str, sheet_id: int) -> Tab:
        """
        Read a tab whole: whatever a write may hit by mistake has to be known to be put back.

        Raise `Unreachable` (not shared, deleted) or `Unavailable`.
        """
        body = {"dataFilters": [{"gridRange": {"sheetId": sheet_id}}], "includeGridData": True}
        call = self._spreadsheets().getByDataFilter(spreadsheetId=spreadsheet_id, body=body, fields=_READ_FIELDS)
        answer = self._execute(call)
        titles = [
            sheet["properties"]["title"]
            for sheet in answer.get("sheets", [])
            if sheet["properties"].get("sheetId", 0) == sheet_id
        ]
        if not titles:
            raise Unreachable("The tab was deleted.", may_heal=False)
        time_zone = answer.get("properties", {}).get("timeZone", "UTC")
        return _tab(spreadsheet_id, sheet_id, titles[0], time_zone, answer)

    def write(self, tab: Tab, rows: Mapping[int, Mapping[int, Cell]]) -> Tab:
        """
        Write cells by row and column; answer what the header and these rows hold now.

        Raise as `read`, and `Moved` when the tab is no longer what was read.
        """
        data = {row: {column: _cell_data(cell) for column, cell in cells.items()} for row, cells in rows.items()}
        return self._update(tab, data)

    def restore(self, tab: Tab, rows: Mapping[int, Mapping[int, Mapping[str, object] | None]]) -> None:
        """Put entered values back (None: clear the cell). Raise as `write`."""
        data = {
            row: {
                column: ({"userEnteredValue": dict(value)} if value else {}, "userEnteredValue")
                for column, value in cells.items()
            }
            for row, cells in rows.items()
        }
        self._update(tab, data)

    def _update(self, tab: Tab, rows: Mapping[int, Mapping[int, tuple[dict[str, Any], str]]]) -> Tab:
        quoted = tab.title.replace("'", "''")
        body = {
            "requests": [request for row, cells in rows.items() for request in _updates(tab.sheet_id, row, cells)],
            "includeSpreadsheetInResponse": True,
            "responseIncludeGridData": True,
            "responseRanges": [f"'{quoted}'!1:1", f"'{quoted}'!{min(rows) + 1}:{max(rows) + 1}"],
        }
        call = self._spreadsheets().batchUpdate(spreadsheetId=tab.spreadsheet_id, body=body, fields=_WRITE_FIELDS)
        try:
            answer = self._execute(call)
        except Unreachable as error:
            if error.reason.startswith(_REFUSED):
                raise Moved from error
            raise
        return _tab(tab.spreadsheet_id, tab.sheet_id, tab.title, tab.time_zone, answer["updatedSpreadsheet"])

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


def _renamed(status: int, details: object) -> Exception:
    if status == 429 or status >= 500 or (status == 403 and "RATE_LIMIT" in str(details).upper()):
        return Unavailable(f"Google Sheets is busy (status {status}).")
    if status in (401, 403):
        return Unreachable("The spreadsheet is not shared with the service account as an editor.", may_heal=True)
    if status == 404:
        return Unreachable("The spreadsheet was deleted.", may_heal=False)
    return Unreachable(f"{_REFUSED} (status {status}): the tab may be gone.", may_heal=False)


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


def _tab(spreadsheet_id: str, sheet_id: int, title: str, time_zone: str, answer: Mapping[str, Any]) -> Tab:
    """Collect the cells of an answer with grid data; other tabs in it are left out."""
    texts: dict[tuple[int, int], str] = {}
    entered: dict[tuple[int, int], Mapping[str, object]] = {}
    for sheet in answer.get("sheets", []):
        if sheet["properties"].get("sheetId", 0) != sheet_id:
            continue
        for block in sheet.get("data", []):
            for row, line in enumerate(block.get("rowData", []), start=block.get("startRow", 0)):
                for column, value in enumerate(line.get("values", []), start=block.get("startColumn", 0)):
                    if text := value.get("formattedValue"):
                        texts[row, column] = text
                    if "userEnteredValue" in value:
                        entered[row, column] = value["userEnteredValue"]
    width = max((column for row, column in texts if row == 0), default=-1) + 1
    header = tuple(texts.get((0, column), "") for column in range(width))
    return Tab(spreadsheet_id, sheet_id, title, time_zone, header, texts, entered)
