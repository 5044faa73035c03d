"""
Serve the sandbox on one port: the page, its edits and events, the script's menu, and Google's endpoints.

Everything that changes something takes JSON only: another site in the same browser cannot send that here without a
permission that nobody gives. The server listens on 127.0.0.1.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import requests
from aiohttp import web

from sandbox.apps_script import ScriptError, ScriptProject
from sandbox.apps_script_run import Selection
from sandbox.apps_script_ui import MenuItem
from sandbox.google_auth import GoogleAuth
from sandbox.live import KEEP_ALIVE_S, Live, PageUi, as_typed, cell_json, event_text
from sandbox.npm import install
from sandbox.sheets_serve import Served
from sandbox.sheets_v4 import SheetsV4
from sandbox.workbook import OPEN, Area, Books, Sheet, Workbook

PAGE: Final = Path(__file__).with_name("page")
TABULATOR: Final = PAGE / "node_modules" / "tabulator-tables" / "dist"
IMAGE_TRIES: Final = 4

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class SandboxServer:
    """Be the server of one workbook and its script."""

    def __init__(
        self,
        books: Books,
        project: ScriptProject,
        ui: PageUi,
        *,
        auth: GoogleAuth,
        renders_on: Callable[[], str],
        port: int = 0,
    ) -> None:
        self.book: Workbook = next(iter(books))
        self.sheets = SheetsV4(books, auth=auth)
        self._auth = auth
        self._project = project
        self._ui = ui
        self._renders_on = renders_on
        self._port = port
        self._live = Live(self.book)
        self._served: Served | None = None
        ui.show_on(self._live)

    @property
    def url(self) -> str:
        """Give the address, without a slash at its end."""
        assert self._served is not None, "the server has not started"
        return self._served.url

    def start(self) -> None:
        """Install the page's packages if need be, and serve."""
        install(PAGE)
        app = web.Application(client_max_size=8 * 1024 * 1024)
        self.sheets.add_to(app)
        self._auth.add_to(app)
        app.router.add_get("/", self._page)
        app.router.add_get("/state", self._state)
        app.router.add_get("/menu", self._menu)
        app.router.add_get("/events", self._events)
        app.router.add_get("/image", self._image)
        for path, change in (
            ("/edit", self._edit),
            ("/structure", self._structure),
            ("/allow-images", self._allow_images),
            ("/script/run", self._run),
            ("/dialog", self._dialog),
        ):
            app.router.add_post(path, _json_only(change))
        app.router.add_static("/assets/tabulator", TABULATOR)
        app.router.add_static("/assets", PAGE)
        app.on_startup.append(self._started)
        app.on_shutdown.append(self._shut)
        self._served = Served(app, self._port)

    def stop(self) -> None:
        """Stop serving."""
        if self._served is not None:
            for number in self._ui.pending():
                self._ui.answer(number, {})
            self._served.close()

    async def _started(self, _app: web.Application) -> None:
        self._live.run_on(asyncio.get_running_loop())

    async def _shut(self, _app: web.Application) -> None:
        self._live.shut()

    # -- reading ------------------------------------------------------------------------------------------------

    async def _page(self, _request: web.Request) -> web.StreamResponse:
        return web.FileResponse(PAGE / "index.html", headers={"Cache-Control": "no-store"})

    async def _state(self, _request: web.Request) -> web.StreamResponse:
        renders_on = await asyncio.to_thread(self._renders_on)
        with self.book.lock:
            state = {
                "title": self.book.title,
                "images_allowed": self.book.external_images_allowed,
                "renders_on": renders_on,
                "sheets": [_sheet_json(sheet) for sheet in self.book.sheets],
            }
        return web.json_response(state)

    async def _menu(self, _request: web.Request) -> web.StreamResponse:
        try:
            menus = await asyncio.to_thread(self._project.menus)
        except ScriptError as error:
            return web.json_response({"error": str(error)}, status=500)
        return web.json_response(
            [
                {
                    "title": menu.title,
                    "items": [
                        {"label": entry.label, "function": entry.function} if isinstance(entry, MenuItem) else None
                        for entry in menu.entries
                    ],
                }
                for menu in menus
            ]
        )

    async def _events(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        await response.prepare(request)
        news = self._live.open()
        try:
            await response.write(event_text(("hello", {})))
            while True:
                try:
                    event = await asyncio.wait_for(news.get(), KEEP_ALIVE_S)
                except TimeoutError:
                    await response.write(b": still here\n\n")
                    continue
                if event is None:
                    return response
                await response.write(event_text(event))
        except (ConnectionResetError, asyncio.CancelledError):
            return response
        finally:
            self._live.close(news)

    async def _image(self, request: web.Request) -> web.StreamResponse:
        """Fetch what a cell's =IMAGE() shows, as Google's servers do; only what some cell shows right now."""
        url = request.query.get("url", "")
        with self.book.lock:
            shown = any(_shows(sheet, url) for sheet in self.book.sheets)
        if not shown:
            raise web.HTTPNotFound(text="No cell shows this picture.")
        status, kind, body = await asyncio.to_thread(_fetch, url)
        keep = "max-age=3600" if status == 200 else "no-store"  # a picture that failed is asked for again
        return web.Response(status=status, body=body, content_type=kind, headers={"Cache-Control": keep})

    # -- changing -----------------------------------------------------------------------------------------------

    async def _edit(self, request: web.Request) -> web.StreamResponse:
        """Type into cells, all or none: {sheet, cells: [[row, col, text], …]}."""
        asked = await request.json()
        sheet = self._sheet(asked)
        try:
            with self.book.atomic("person"):
                for row, col, text in asked["cells"]:
                    _type(sheet, int(row), int(col), str(text))
        except (ValueError, IndexError) as error:
            return web.json_response({"error": str(error)}, status=400)
        return web.json_response({})

    async def _structure(self, request: web.Request) -> web.StreamResponse:
        """Do what a person does to rows, columns and tabs: {sheet, do, at, n, to, ascending, title}."""
        asked = await request.json()
        sheet, at, n = self._sheet(asked), int(asked.get("at", 0)), int(asked.get("n", 1))
        rows, _ = sheet.data_extent()
        deeds: dict[str, Callable[[], object]] = {
            "insert_rows": lambda: sheet.insert_rows(at, n),
            "delete_rows": lambda: sheet.delete_rows(at, n),
            "insert_cols": lambda: sheet.insert_cols(at, n),
            "delete_cols": lambda: sheet.delete_cols(at, n),
            "move_cols": lambda: sheet.move_cols(at, n, int(asked["to"])),
            "sort": lambda: sheet.sort(Area(1, 0, max(rows, 1), OPEN), at, bool(asked.get("ascending", True))),
            "rename": lambda: self.book.rename_sheet(sheet.gid, str(asked["title"])),
            "add_sheet": lambda: self.book.add_sheet(str(asked["title"])),
        }
        try:
            with self.book.editing("person"):
                deeds[asked["do"]]()
        except (ValueError, IndexError) as error:
            return web.json_response({"error": str(error)}, status=400)
        return web.json_response({})

    async def _allow_images(self, _request: web.Request) -> web.StreamResponse:
        self.book.allow_external_images()
        return web.json_response({})

    async def _run(self, request: web.Request) -> web.StreamResponse:
        """Run a menu function with the page's selection: {function, sheet, ranges: [[row0, col0, row1, col1], …]}."""
        asked = await request.json()
        ranges = tuple((int(r0), int(c0), int(r1), int(c1)) for r0, c0, r1, c1 in asked.get("ranges", []))
        selection = Selection(int(asked["sheet"]), ranges)
        self._live.publish("script", {"running": True, "function": asked["function"]})
        try:
            await asyncio.to_thread(self._project.run, str(asked["function"]), selection)
        except ScriptError as error:
            return web.json_response({"error": str(error)}, status=500)
        finally:
            self._live.publish("script", {"running": False, "function": asked["function"]})
        return web.json_response({})

    async def _dialog(self, request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        answer = {"button": str(asked.get("button", "CLOSE")), "text": str(asked.get("text", ""))}
        return web.json_response({"answered": self._ui.answer(int(asked["id"]), answer)})

    def _sheet(self, asked: dict[str, Any]) -> Sheet:
        sheet = self.book.sheet_by_id(int(asked["sheet"]))
        if sheet is None:
            raise web.HTTPNotFound(text="There is no such tab.")
        return sheet


def _json_only(change: Handler) -> Handler:
    async def checked(request: web.Request) -> web.StreamResponse:
        if request.content_type != "application/json":
            raise web.HTTPUnsupportedMediaType(text="Send JSON.")
        return await change(request)

    return checked


def _type(sheet: Sheet, row: int, col: int, text: str) -> None:
    """Type *text*; what the cell shows in the formula bar, typed back, leaves it as it is."""
    if text != as_typed(sheet.cell(row, col)):
        sheet.enter(row, col, text)


def _sheet_json(sheet: Sheet) -> dict[str, Any]:
    rows, cols = sheet.data_extent()
    cells = [
        [row, col, shown]
        for row in range(rows)
        for col, cell in sheet.row_cells(row).items()
        if (shown := cell_json(cell)) is not None
    ]
    return {
        "id": sheet.gid,
        "title": sheet.title,
        "rows": min(sheet.rows, max(rows + 30, 60)),
        "cols": min(sheet.cols, max(cols + 2, 16)),
        "frozen": sheet.frozen_rows,
        "widths": {str(col): width for col, width in sheet.column_widths.items()},
        "hidden": sorted(sheet.hidden_rows()),
        "cells": cells,
    }


def _shows(sheet: Sheet, url: str) -> bool:
    rows, _ = sheet.data_extent()
    return any(cell.image_url == url for row in range(rows) for cell in sheet.row_cells(row).values())


def _fetch(url: str) -> tuple[int, str, bytes]:
    """Fetch a picture; the local cloud answers 429 while its functions are all busy, so try a few times."""
    answer = None
    for attempt in range(IMAGE_TRIES):
        if attempt:
            time.sleep(0.4 * attempt)
        try:
            answer = requests.get(url, timeout=20)
        except requests.RequestException:
            continue
        if answer.status_code != 429:
            break
    if answer is None:
        return 502, "text/plain", b"The picture could not be fetched."
    kind = answer.headers.get("Content-Type", "application/octet-stream").split(";")[0]
    return answer.status_code, kind, answer.content
