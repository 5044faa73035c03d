"""
Serve the Google Sheets API v4 over the sandbox's workbooks.

    auth = GoogleAuth(); auth.register(account)
    endpoint = SheetsV4(Books(book), auth=auth)
    app = web.Application(); endpoint.add_to(app); auth.add_to(app)      # or: sheets_app(books, auth=auth)

The real client reaches it with `client_options={"api_endpoint": url}`. Every request is judged by Google's discovery
document before it is done, every answer before it is sent (a wrong one is a 500 that says so: a bug of the sandbox).
"""

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from aiohttp import web

from sandbox.google_auth import GoogleAuth
from sandbox.judge import Judge, Route
from sandbox.sheets_errors import GoogleError, insufficient_scopes, unauthenticated
from sandbox.sheets_faults import Call, CallLog, Faults, Kind, Quota
from sandbox.sheets_fields import cut
from sandbox.sheets_methods import METHODS, Asked
from sandbox.workbook import Books, Workbook

_SCOPE: Final = "https://www.googleapis.com/auth/"
_WRITING: Final = frozenset(_SCOPE + name for name in ("spreadsheets", "drive", "drive.file"))
_READING: Final = _WRITING | {_SCOPE + "spreadsheets.readonly", _SCOPE + "drive.readonly"}
#: Methods that only read although they are POSTs.
_READS: Final = frozenset(
    {
        "spreadsheets.getByDataFilter",
        "spreadsheets.values.batchGetByDataFilter",
        "spreadsheets.developerMetadata.search",
    }
)
_ANYBODY: Final = "anonymous"
_MAX_BODY_BYTES: Final = 100 * 1024 * 1024


class SheetsV4:
    """Be the endpoint: routes, who may, quota, faults and the log."""

    def __init__(
        self,
        books: Books,
        *,
        auth: GoogleAuth | None,
        judge: Judge | None = None,
        quota: Quota | None = None,
        faults: Faults | None = None,
    ) -> None:
        """Serve *books*; without *auth* everybody may do everything (as user "anonymous")."""
        self.books = books
        self.auth = auth
        self.judge = judge or Judge()
        self.quota = quota
        self.faults = faults or Faults()
        self.log = CallLog()

    def add_to(self, app: web.Application) -> None:
        """Serve everything under /v4/ in *app*."""
        app.router.add_route("*", "/v4/{rest:.*}", self._answer)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        began = time.monotonic()
        raw_path = request.raw_path.partition("?")[0]
        route = self.judge.route(request.method, raw_path[raw_path.index("/v4/") + 1 :])
        kind: Kind = "read" if request.method == "GET" or (route and route.id in _READS) else "write"
        user, status = _ANYBODY, 0
        try:
            user, scopes = self._caller(request)
            body = await self._met_by_faults(request, route, kind, user, scopes)
            status = 200
        except GoogleError as error:
            body, status = error.body, error.code
        except _Dropped:
            if request.transport:
                request.transport.abort()
            return web.Response()
        finally:
            took_s = time.monotonic() - began
            method = route.id if route else ""
            self.log.add(Call(request.method, raw_path, method, kind, user, time.time(), status, took_s))
        return web.Response(
            body=_written(body, request).encode("utf-8"),
            status=status,
            content_type="application/json",
            charset="utf-8",
        )

    async def _met_by_faults(
        self, request: web.Request, route: Route | None, kind: Kind, user: str, scopes: frozenset[str] | None
    ) -> Any:
        fault = self.faults.next_for(kind, route.path.get("spreadsheetId", "") if route else "")
        if fault and fault.delay_s:
            # Whoever hangs up meanwhile has been heard: the call is done all the same, late.
            await request.read()
            await asyncio.sleep(fault.delay_s)
        if fault and not fault.applied:
            raise fault.error or _Dropped
        if self.quota:
            self.quota.take(user, kind)
        if scopes is not None and not scopes & (_READING if kind == "read" else _WRITING):
            raise insufficient_scopes()
        body = await self._do(request, route, user, kind)
        if fault and not fault.delay_s:
            raise fault.error or _Dropped
        return body

    async def _do(self, request: web.Request, route: Route | None, user: str, kind: Kind) -> Any:
        if route is None:
            raise GoogleError(404, "Requested entity was not found.")
        query = [(name, text) for name, text in request.query.items()]
        self.judge.refuse_query(route, query)
        body = await _json_body(request)
        self.judge.refuse_request(route, body)
        method = METHODS.get(route.id)
        if method is None:
            raise GoogleError(501, f"The method {route.id} is not emulated.")
        book = self._book(route, user)
        asked = Asked(route.path, query, _without_nulls(body or {}), self.judge, str(request.url.origin()))
        answer = cut(_run(method, book, asked, user, writes=kind == "write"), asked.mask)
        wrong = self.judge.faults_of_response(route, answer)
        if wrong:
            raise GoogleError(500, f"The sandbox answered {route.id} against the discovery document: {wrong[:5]}")
        return answer

    def _caller(self, request: web.Request) -> tuple[str, frozenset[str] | None]:
        """Say who calls and with which scopes (None: no scopes needed)."""
        if self.auth is None:
            return _ANYBODY, None
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise unauthenticated(missing=True)
        grant = self.auth.grant_of(token)
        if grant is None:
            raise unauthenticated(missing=False)
        return grant.email, grant.scopes

    def _book(self, route: Route, user: str) -> Workbook:
        book = self.books.get(route.path["spreadsheetId"]) if "spreadsheetId" in route.path else None
        if book is None:
            raise GoogleError(404)
        if self.auth is not None and user not in book.shared_with:
            raise GoogleError(403)
        return book


def _written(body: Any, request: web.Request) -> str:
    """Write an answer with line breaks and indentation, unless prettyPrint=false: so says the discovery document."""
    if request.query.get("prettyPrint", "true") == "false":
        return json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    return json.dumps(body, ensure_ascii=False, indent=2)


class _Dropped(Exception):
    """Say that the caller gets no answer."""


def _run(method: Callable[[Workbook, Asked], Any], book: Workbook, asked: Asked, user: str, *, writes: bool) -> Any:
    email = None if user == _ANYBODY else user
    try:
        with book.atomic("api", email) if writes else book.editing("api", email):
            return method(book, asked)
    except (ValueError, IndexError) as error:  # the workbook's own sentences
        raise GoogleError(400, str(error)) from error


async def _json_body(request: web.Request) -> Any:
    text = await request.text()
    if not text:
        return None
    try:
        return json.loads(text)
    except ValueError as error:
        raise GoogleError(400, f"Invalid JSON payload received. {error}") from error


def _without_nulls(value: Any) -> Any:
    """Leave out object fields that are null (they count as absent); nulls in lists mean something and stay."""
    if isinstance(value, Mapping):
        return {name: _without_nulls(part) for name, part in value.items() if part is not None}
    if isinstance(value, list):
        return [_without_nulls(part) for part in value]
    return value


def sheets_app(
    books: Books,
    *,
    auth: GoogleAuth | None = None,
    judge: Judge | None = None,
    quota: Quota | None = None,
    faults: Faults | None = None,
) -> web.Application:
    """Make an application that serves *books*, and the token endpoint when there is *auth*."""
    app = web.Application(client_max_size=_MAX_BODY_BYTES)
    endpoint = SheetsV4(books, auth=auth, judge=judge, quota=quota, faults=faults)
    endpoint.add_to(app)
    if auth is not None:
        auth.add_to(app)
    app[ENDPOINT] = endpoint
    return app


#: Where `sheets_app` keeps its SheetsV4 (log, faults, quota).
ENDPOINT: Final = web.AppKey("sheets_v4", SheetsV4)
