"""
Serve the sandbox on one port: the page, its edits and events, the script's menu, and Google's endpoints.

Everything that changes something takes JSON only: another site in the same browser cannot send that here without a
permission that nobody gives. The server listens on 127.0.0.1. Who asks is the page's own word (`user`, `page`).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from sandbox.apps_script import ScriptProject
from sandbox.google_auth import GoogleAuth
from sandbox.live import KEEP_ALIVE_S, Live, PageUi, event_text
from sandbox.npm import install
from sandbox.page_edits import Edits
from sandbox.page_pictures import fetch, is_shown
from sandbox.page_script import ScriptRoutes
from sandbox.page_state import book_json
from sandbox.page_switches import Switches
from sandbox.sheets_serve import Served
from sandbox.sheets_v4 import SheetsV4
from sandbox.workbook import OWNER, Books, Sheet, Workbook

PAGE: Final = Path(__file__).with_name("page")
TABULATOR: Final = PAGE / "node_modules" / "tabulator-tables" / "dist"
_FRESH: Final = {"Cache-Control": "no-store"}

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
        self._ui = ui
        self._renders_on = renders_on
        self._port = port
        self._edits = Edits(self.book)
        self._switches = Switches(self.book, self.sheets, project)
        self._live = Live(self.book)
        self._script = ScriptRoutes(project, ui, self._live)
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
        for path, read in (
            ("/", self._page),
            ("/state", self._state),
            ("/about", self._about),
            ("/menu", self._script.menu),
            ("/events", self._events),
            ("/image", self._image),
            ("/script/functions", self._script.functions),
            ("/switches", self._switches_now),
        ):
            app.router.add_get(path, read)
        for path, change in (
            ("/edit", self._edit),
            ("/structure", self._structure),
            ("/allow-images", self._allow_images),
            ("/script/run", self._script.run),
            ("/script/call", self._script.call),
            ("/dialog", self._script.dialog),
            ("/presence", self._presence),
            ("/switches", self._switch),
            ("/share", self._share),
            ("/undo", self._undo),
            ("/redo", self._redo),
        ):
            app.router.add_post(path, _json_only(change))
        app.router.add_static("/assets/tabulator", TABULATOR)
        app.router.add_static("/assets", PAGE)
        app.on_startup.append(self._started)
        app.on_shutdown.append(self._shut)
        app.on_response_prepare.append(_always_fresh)
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
        return web.FileResponse(PAGE / "index.html", headers=_FRESH)

    async def _state(self, request: web.Request) -> web.StreamResponse:
        gid = request.query.get("sheet", "")
        user = request.query.get("user") or OWNER
        with self.book.lock:
            state = book_json(self.book, int(gid) if gid.lstrip("-").isdigit() else None, user)
        return web.json_response(state)

    async def _about(self, _request: web.Request) -> web.StreamResponse:
        return web.json_response({"renders_on": await asyncio.to_thread(self._renders_on), "owner": OWNER})

    async def _events(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        await response.prepare(request)
        watcher = self._live.open(request.query.get("page", ""), request.query.get("user") or OWNER)
        try:
            await response.write(event_text(("hello", {})))
            while True:
                try:
                    event = await asyncio.wait_for(watcher.news.get(), KEEP_ALIVE_S)
                except TimeoutError:
                    await response.write(b": still here\n\n")
                    continue
                if event is None:
                    return response
                await response.write(event_text(event))
        except (ConnectionResetError, asyncio.CancelledError):
            return response
        finally:
            self._live.close(watcher)

    async def _image(self, request: web.Request) -> web.StreamResponse:
        """Fetch what a cell's =IMAGE() shows, as Google's servers do; only what some cell shows right now."""
        url = request.query.get("url", "")
        with self.book.lock:
            shown = is_shown(self.book, url)
        if not shown:
            raise web.HTTPNotFound(text="No cell shows this picture.")
        status, kind, body = await asyncio.to_thread(fetch, url)
        keep = "max-age=3600" if status == 200 else "no-store"  # a picture that failed is asked for again
        return web.Response(status=status, body=body, content_type=kind, headers={"Cache-Control": keep})

    # -- changing -----------------------------------------------------------------------------------------------

    async def _edit(self, request: web.Request) -> web.StreamResponse:
        """Type into cells, all or none: {sheet, cells: [[row, col, text], …], user}."""
        asked = await request.json()
        sheet, user = self._sheet(asked), _user(asked)
        return _done(lambda: self._edits.type_cells(sheet, asked["cells"], user))

    async def _structure(self, request: web.Request) -> web.StreamResponse:
        """Do what a person does to rows, columns, cells and tabs (see Edits.do)."""
        asked = await request.json()
        sheet, user = self._sheet(asked), _user(asked)
        return _done(lambda: self._edits.do(sheet, asked, user))

    async def _allow_images(self, _request: web.Request) -> web.StreamResponse:
        self.book.allow_external_images()
        return web.json_response({})

    async def _presence(self, request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        place = asked.get("place")
        self._live.looks_at(
            str(asked.get("page", "")), int(asked["sheet"]), (int(place[0]), int(place[1])) if place else None
        )
        return web.json_response({})

    async def _switches_now(self, request: web.Request) -> web.StreamResponse:
        gid = request.query.get("sheet", "")
        sheet = self.book.sheet_by_id(int(gid)) if gid.isdigit() else None
        return web.json_response(self._switches.to_json(sheet or self.book.sheets[0]))

    async def _switch(self, request: web.Request) -> web.StreamResponse:
        """Turn a switch of the sandbox: {name, on, sheet}."""
        asked = await request.json()
        sheet = self._sheet(asked)
        answer = _done(lambda: self._switches.turn(str(asked["name"]), sheet, bool(asked["on"])))
        self._live.publish("switches", {})
        return answer

    async def _share(self, request: web.Request) -> web.StreamResponse:
        """Let somebody edit: {address}."""
        asked = await request.json()
        address = str(asked["address"]).strip()
        if not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", address):
            return web.json_response({"error": f"{address} is no e-mail address."}, status=400)
        self.book.change(lambda: self.book.shared_with.add(address))
        self._live.publish("switches", {})
        return web.json_response({})

    async def _undo(self, request: web.Request) -> web.StreamResponse:
        """Take back the user's own last edit; {done: false} when there is none."""
        return _stepped(self.book.undo, _user(await request.json()))

    async def _redo(self, request: web.Request) -> web.StreamResponse:
        """Do again what the user took back last."""
        return _stepped(self.book.redo, _user(await request.json()))

    def _sheet(self, asked: dict[str, Any]) -> Sheet:
        sheet = self.book.sheet_by_id(int(asked["sheet"]))
        if sheet is None:
            raise web.HTTPNotFound(text="There is no such tab.")
        return sheet


def _user(asked: dict[str, Any]) -> str:
    return str(asked.get("user") or OWNER)


def _done(deed: Callable[[], object]) -> web.Response:
    try:
        deed()
    except (ValueError, IndexError) as error:
        return web.json_response({"error": str(error)}, status=400)
    return web.json_response({})


def _stepped(step: Callable[[str], bool], user: str) -> web.Response:
    try:
        return web.json_response({"done": step(user)})
    except (ValueError, IndexError) as error:  # e.g. protected meanwhile
        return web.json_response({"error": str(error)}, status=400)


def _json_only(change: Handler) -> Handler:
    async def checked(request: web.Request) -> web.StreamResponse:
        if request.content_type != "application/json":
            raise web.HTTPUnsupportedMediaType(text="Send JSON.")
        return await change(request)

    return checked


async def _always_fresh(request: web.Request, response: web.StreamResponse) -> None:
    """Have the browser ask again for our own modules: who edits them must not see old ones."""
    if request.path.startswith("/assets/") and not request.path.startswith("/assets/tabulator"):
        response.headers["Cache-Control"] = "no-cache"
