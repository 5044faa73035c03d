"""Set up one workbook behind a real HTTP endpoint, reached by the real Google client as a real service account."""

from functools import cache
from types import TracebackType
from typing import Any

from google.oauth2 import service_account
from googleapiclient.discovery import build
from googleapiclient.errors import HttpError

from sandbox.google_auth import GoogleAuth, make_service_account
from sandbox.judge import Judge
from sandbox.sheets_faults import Quota
from sandbox.sheets_serve import Served
from sandbox.sheets_v4 import ENDPOINT, sheets_app
from sandbox.workbook import Books, Sheet, Workbook

SCOPE = "https://www.googleapis.com/auth/spreadsheets"
BOOK = "book-1"


@cache
def _account() -> dict[str, str]:
    return make_service_account("http://127.0.0.1:1/token")  # making an RSA key takes a while: one for all tests


@cache
def _judge() -> Judge:
    return Judge()  # it only reads, and the document is large


class World:
    """Be the workbook, the endpoint and a client of it."""

    def __init__(
        self, *, quota: Quota | None = None, judge: Judge | None = None, rows: int = 50, cols: int = 10
    ) -> None:
        self.book = Workbook(BOOK, "Renders of today", time_zone="Europe/Berlin")
        self.sheet: Sheet = self.book.add_sheet("Renders", rows=rows, cols=cols)
        self.auth = GoogleAuth()
        app = sheets_app(Books(self.book), auth=self.auth, quota=quota, judge=judge or _judge())
        self.endpoint = app[ENDPOINT]
        self.faults, self.log = self.endpoint.faults, self.endpoint.log
        self.served = Served(app)
        self.account = {**_account(), "token_uri": f"{self.served.url}/token"}
        self.auth.register(self.account)
        self.book.shared_with.add(self.account["client_email"])
        self.api = self.client().spreadsheets()

    def client(self, *, scopes: tuple[str, ...] = (SCOPE,), account: dict[str, str] | None = None) -> Any:
        credentials = service_account.Credentials.from_service_account_info(
            account or self.account, scopes=list(scopes)
        )
        return build(
            "sheets", "v4", credentials=credentials, static_discovery=True, cache_discovery=False,
            client_options={"api_endpoint": self.served.url},
        )  # fmt: skip

    def fill(self, *rows: tuple[Any, ...]) -> None:
        with self.book.editing("person"):
            for row, values in enumerate(rows):
                for col, value in enumerate(values):
                    self.sheet.set_cell(row, col, value)

    def shown(self, rows: int, cols: int) -> list[list[str]]:
        return [[self.sheet.cell(row, col).formatted for col in range(cols)] for row in range(rows)]

    def batch(self, *requests: dict[str, Any], **more: Any) -> Any:
        return self.api.batchUpdate(spreadsheetId=BOOK, body={"requests": list(requests), **more}).execute()

    def refused(self, request: Any) -> tuple[int, str]:
        """Execute a request that must fail; gives (HTTP status, Google's sentence)."""
        try:
            answer = request.execute()
        except HttpError as error:
            return error.status_code, error.reason
        raise AssertionError(f"it was not refused: {answer}")

    def __enter__(self) -> "World":
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        self.served.close()


def text(value: str) -> dict[str, Any]:
    return {"userEnteredValue": {"stringValue": value}}


def cells(row: int, col: int, *values: dict[str, Any], fields: str = "userEnteredValue") -> dict[str, Any]:
    """Make an updateCells request for one row of CellData."""
    start = {"sheetId": 0, "rowIndex": row, "columnIndex": col}
    return {"updateCells": {"start": start, "rows": [{"values": list(values)}], "fields": fields}}
