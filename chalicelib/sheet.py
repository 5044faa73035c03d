"""
Reach Google Sheets: one read and one write per tab, however many rows.

Every call is counted before it is made (`Spend`): a service account has 60 of each kind a minute. Writes are
`updateCells` with typed cells, addressed by the tab's id, so nothing is parsed, and the same call answers what it hit.
The client is built once and used by one thread: httplib2 mixes up answers between threads.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal

from chalicelib.cells import Cell, Moved, Tab, Unreachable
from chalicelib.contract.counts import NOWHERE, Counts, Metric
from chalicelib.contract.errors import Unavailable
from chalicelib.contract.sheets import PROOF_KEY
from chalicelib.google_key import GoogleKey
from chalicelib.grid import FILTER_VIEWS, cell_data, filter_view, tab_of, updates
from chalicelib.mend import Held

SCOPES: Final = ("https://www.googleapis.com/auth/spreadsheets",)
TIMEOUT_S: Final = 20
_RETRIES: Final = 0
"""The queue repeats. A call repeated here is counted once and made twice, and two waits for an answer are 40 s."""

_LABELS: Final = "columnMetadata(developerMetadata(metadataKey,metadataValue))"
_READ_FIELDS: Final = (
    "properties.timeZone,sheets(properties(sheetId,title),data(startRow,startColumn,{labels},"
    "rowData(values(formattedValue,userEnteredValue,userEnteredFormat.numberFormat,note{more}))))"
)
_WORTH: Final = ",effectiveValue,effectiveFormat.numberFormat.type"
_WRITE_FIELDS: Final = (
    f"updatedSpreadsheet.sheets(properties.sheetId,data(startRow,startColumn,{_LABELS},"
    "rowData(values(formattedValue))))"
)
_BARE: Final[Mapping[str, bool]] = {"prettyPrint": False}
"""Line breaks and indentation, which Google writes otherwise (discovery document), are half of a large tab's answer."""
_REFUSED: Final = "Google Sheets refused the call"

Service = Any
"""googleapiclient's Resource for Sheets v4; it carries no types."""
Spend = Callable[[Literal["reads", "writes"], str, bool], None]
"""Count a call for a spreadsheet (urgent: it puts something right); raise `Unavailable` when the minute's are spent."""


def connect(key: GoogleKey, api_endpoint: str) -> Service:
    """
    Build the Sheets client; *api_endpoint* empty: Google's own. Raise `Unreachable` when *key* is broken.

    Without a key, google-auth 2.62 signs a GetCallerIdentity with AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
    AWS_SESSION_TOKEN and AWS_REGION, which a Lambda has in its environment (google/auth/aws.py).
    """
    import google_auth_httplib2
    import httplib2
    from googleapiclient.discovery import build

    http = google_auth_httplib2.AuthorizedHttp(_credentials(key), http=httplib2.Http(timeout=TIMEOUT_S))
    options = {"api_endpoint": api_endpoint} if api_endpoint else None
    return build("sheets", "v4", http=http, static_discovery=True, cache_discovery=False, client_options=options)


def try_key(key: GoogleKey) -> None:
    """Ask Google for access once. Raise `Unreachable` when it refuses, `Unavailable` when it cannot be asked."""
    import google_auth_httplib2
    import httplib2
    from google.auth.exceptions import GoogleAuthError, RefreshError

    try:
        _credentials(key).refresh(google_auth_httplib2.Request(httplib2.Http(timeout=TIMEOUT_S)))
    except RefreshError as error:
        if not error.retryable:
            raise Unreachable("Google refused the service account's key.", may_heal=True) from error
        raise Unavailable("Google does not hand out access just now.") from error
    except (GoogleAuthError, httplib2.HttpLib2Error, OSError) as error:
        raise Unavailable("Google cannot be reached.") from error


def _credentials(key: GoogleKey) -> Any:
    """Make google-auth's credentials. Raise `Unreachable` when *key* is broken."""
    from google.auth import aws
    from google.oauth2 import service_account

    credentials: Any
    try:
        if key.kind == "service_account":
            credentials = service_account.Credentials.from_service_account_info(key.info, scopes=SCOPES)
        else:
            credentials = aws.Credentials.from_info(key.info, scopes=SCOPES)
    except ValueError as error:
        # What it says may hold parts of the key.
        reason = "The secret with Google's key holds a private key that cannot be read. "
        raise Unreachable(f"{reason}The operator puts it right with python -m infra google.", may_heal=True) from error
    return credentials


class Sheets:
    """
    Read and write tabs. All rows and columns are 0-based.

    *service* gives the client, another one when the key is another; *renew* looks whether it is, when Google refuses.
    """

    def __init__(
        self,
        service: Callable[[], Service],
        spend: Spend = lambda _kind, _id, _urgent: None,
        counts: Counts = NOWHERE,
        renew: Callable[[], bool] = lambda: False,
    ) -> None:
        self._service = service
        self._spend = spend
        self._counts = counts
        self._renew = renew
        self._client: Service = None
        self._built: Service = None

    def read(self, spreadsheet_id: str, sheet_id: int, *, with_values: bool = False, urgent: bool = False) -> Tab:
        """
        Read a tab whole: whatever a write may hit by mistake has to be known to be put back.

        *with_values* adds what formulas are worth; a date or a time is worth what it shows. Raise `Unreachable` (not
        shared, deleted) or `Unavailable`.
        """
        body = {"dataFilters": [{"gridRange": {"sheetId": sheet_id}}], "includeGridData": True}
        fields = _READ_FIELDS.format(labels=_LABELS, more=_WORTH if with_values else "")
        call = self._spreadsheets().getByDataFilter(spreadsheetId=spreadsheet_id, body=body, fields=fields, **_BARE)
        answer = self._execute(call, "reads", spreadsheet_id, urgent=urgent)
        titles = [
            sheet["properties"]["title"]
            for sheet in answer.get("sheets", [])
            if sheet["properties"].get("sheetId", 0) == sheet_id
        ]
        if not titles:
            raise Unreachable("The tab of these rows was deleted.", may_heal=False, of_tab=True)
        time_zone = answer.get("properties", {}).get("timeZone", "UTC")
        return tab_of(spreadsheet_id, sheet_id, titles[0], time_zone, answer)

    def write(self, tab: Tab, rows: Mapping[int, Mapping[int, Cell | Held]], *, urgent: bool = False) -> Tab:
        """
        Write cells by row and column; answer what the header and these rows hold now.

        Raise as `read`, and `Moved` when the tab is no longer what was read.
        """
        data = {
            row: {column: cell_data(cell, tab.notes.get((row, column), "")) for column, cell in cells.items()}
            for row, cells in rows.items()
        }
        return self._update(tab, data, urgent=urgent)

    def rest(self, seconds: float) -> None:
        """Let some time pass."""
        time.sleep(seconds)

    def tabs(self, spreadsheet_id: str) -> dict[int, str]:
        """Give the titles of all tabs by id. Raise as `read`."""
        call = self._spreadsheets().get(spreadsheetId=spreadsheet_id, fields="sheets.properties(sheetId,title)")
        answer = self._execute(call, "reads", spreadsheet_id)
        found = [sheet["properties"] for sheet in answer.get("sheets", [])]
        return {each.get("sheetId", 0): each["title"] for each in found}

    def add_tab(self, spreadsheet_id: str, title: str) -> int:
        """Make a tab at the end; its id. Raise as `read`."""
        properties = {"title": title, "gridProperties": {"frozenRowCount": 1}}
        answer = self._change(spreadsheet_id, [{"addSheet": {"properties": properties}}])
        return int(answer["replies"][0]["addSheet"]["properties"].get("sheetId", 0))

    def append(self, spreadsheet_id: str, sheet_id: int, rows: Sequence[Sequence[Cell]]) -> None:
        """Add rows below the last one that holds something. Raise as `read`."""
        data = [{"values": [cell_data(cell, "")[0] for cell in row]} for row in rows]
        fields = "userEnteredValue,userEnteredFormat.numberFormat,note"
        self._change(spreadsheet_id, [{"appendCells": {"sheetId": sheet_id, "rows": data, "fields": fields}}])

    def proofs(self, spreadsheet_id: str) -> list[str]:
        """Read what connecting scripts wrote to prove that their people are editors. Raise as `read`."""
        body = {"dataFilters": [{"developerMetadataLookup": {"metadataKey": PROOF_KEY}}]}
        call = self._spreadsheets().developerMetadata().search(spreadsheetId=spreadsheet_id, body=body)
        answer = self._execute(call, "reads", spreadsheet_id)
        return [
            str(each["developerMetadata"].get("metadataValue", ""))
            for each in answer.get("matchedDeveloperMetadata", [])
        ]

    def try_write(self, spreadsheet_id: str) -> None:
        """Write something that nobody sees and take it away again, in one call. Raise as `read`."""
        entry = {"metadataKey": "comfysheet-try", "visibility": "DOCUMENT", "location": {"spreadsheet": True}}
        lookup = {"developerMetadataLookup": {"metadataKey": "comfysheet-try"}}
        self._change(
            spreadsheet_id,
            [
                {"createDeveloperMetadata": {"developerMetadata": entry}},
                {"deleteDeveloperMetadata": {"dataFilter": lookup}},
            ],
        )

    def prepare(self, tab: Tab, *, allow_images: bool) -> None:
        """Add our filter views where they lack, and open the gate before =IMAGE() if told. Raise as `read`."""
        fields = "sheets(properties.sheetId,filterViews(title))"
        call = self._spreadsheets().get(spreadsheetId=tab.spreadsheet_id, fields=fields)
        answer = self._execute(call, "reads", tab.spreadsheet_id)
        there = {
            view.get("title")
            for sheet in answer.get("sheets", [])
            if sheet.get("properties", {}).get("sheetId", 0) == tab.sheet_id
            for view in sheet.get("filterViews", [])
        }
        requests = (
            []
            if "status" not in tab.columns
            else [filter_view(tab, title) for title in FILTER_VIEWS if title not in there]
        )
        if allow_images:
            gate = "importFunctionsExternalUrlAccessAllowed"
            requests.append({"updateSpreadsheetProperties": {"properties": {gate: True}, "fields": gate}})
        if requests:
            self._change(tab.spreadsheet_id, requests)

    def _change(self, spreadsheet_id: str, requests: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        body = {"requests": list(requests)}
        call = self._spreadsheets().batchUpdate(spreadsheetId=spreadsheet_id, body=body)
        return self._execute(call, "writes", spreadsheet_id)

    def _update(self, tab: Tab, rows: Mapping[int, Mapping[int, tuple[dict[str, Any], str]]], *, urgent: bool) -> Tab:
        quoted = tab.title.replace("'", "''")
        body = {
            "requests": [request for row, cells in rows.items() for request in updates(tab.sheet_id, row, cells)],
            "includeSpreadsheetInResponse": True,
            "responseIncludeGridData": True,
            "responseRanges": [f"'{quoted}'!1:1", f"'{quoted}'!{min(rows) + 1}:{max(rows) + 1}"],
        }
        call = self._spreadsheets().batchUpdate(
            spreadsheetId=tab.spreadsheet_id, body=body, fields=_WRITE_FIELDS, **_BARE
        )
        try:
            answer = self._execute(call, "writes", tab.spreadsheet_id, urgent=urgent)
        except Unreachable as error:
            if error.reason.startswith(_REFUSED):
                raise Moved from error
            raise
        return tab_of(tab.spreadsheet_id, tab.sheet_id, tab.title, tab.time_zone, answer["updatedSpreadsheet"])

    def _spreadsheets(self) -> Service:
        # The client makes a resource's methods anew, with their documentation, whenever it is asked for one: 50 ms.
        client = self._service()
        if client is not self._client:
            self._client, self._built = client, client.spreadsheets()
        return self._built

    def _execute(
        self, call: Any, kind: Literal["reads", "writes"], spreadsheet_id: str, *, urgent: bool = False
    ) -> dict[str, Any]:
        """Count and make the call; rename Google's errors. Their texts are localised: only the status is looked at."""
        from http.client import HTTPException

        from google.auth.exceptions import OAuthError, RefreshError, TransportError
        from googleapiclient.errors import HttpError
        from httplib2 import HttpLib2Error

        self._spend(kind, spreadsheet_id, urgent)
        self._counts.add(Metric.SHEETS_CALLS)
        try:
            answer: dict[str, Any] = call.execute(num_retries=_RETRIES)
        except HttpError as error:
            if int(error.resp.status) == 401:
                self._look_for_a_new_key(error)
            raise self._counted(_renamed(int(error.resp.status), error.error_details)) from error
        except (OAuthError, RefreshError) as error:
            if error.retryable or (isinstance(error, OAuthError) and not _is_refusal(error)):
                raise self._counted(Unavailable("Google does not hand out access just now.")) from error
            self._look_for_a_new_key(error)
            raise self._counted(Unreachable("Google refused the service account's key.", may_heal=True)) from error
        except (TransportError, HttpLib2Error, HTTPException, OSError, ValueError) as error:
            # ValueError: an answer that was cut off is no JSON.
            raise self._counted(Unavailable("Google Sheets cannot be reached.")) from error
        return answer

    def _counted(self, trouble: Exception) -> Exception:
        self._counts.add(Metric.SHEETS_BUSY if isinstance(trouble, Unavailable) else Metric.SHEETS_REFUSED)
        return trouble

    def _look_for_a_new_key(self, error: Exception) -> None:
        """Have the call made again at once when the key was changed meanwhile: the one before may be dead already."""
        if self._renew():
            raise Unavailable("Google's key has just been changed.", retry_in_s=1) from error


def _is_refusal(error: Exception) -> bool:
    """Say whether the exchange of AWS's word was refused (RFC 6749, 5.2), rather than not answered by its service."""
    try:
        told = json.loads(error.args[1])
    except (IndexError, TypeError, ValueError):
        return False
    return isinstance(told, dict) and isinstance(told.get("error"), str)


def _renamed(status: int, details: object) -> Exception:
    if status == 429 or status >= 500 or (status == 403 and "RATE_LIMIT" in str(details).upper()):
        return Unavailable(f"Google Sheets is busy (status {status}).")
    if status in (401, 403):
        return Unreachable("The spreadsheet is not shared with the service account as an editor.", may_heal=True)
    if status == 404:
        return Unreachable("The spreadsheet was deleted.", may_heal=False)
    return Unreachable(f"{_REFUSED} (status {status}): the tab may be gone.", may_heal=False, of_tab=True)
