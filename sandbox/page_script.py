"""
Let a page run the script: its menu, google.script.run, and the answers to its dialogs.

The page's user, tab and selection always go along; dialogs come back to the page that asked (see live.ASKING).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from sandbox.apps_script import ScriptError, ScriptProject, read_sources
from sandbox.apps_script_run import Selection
from sandbox.apps_script_ui import MenuItem
from sandbox.live import ASKING, Live, PageUi
from sandbox.workbook import OWNER

_FUNCTION: Final = re.compile(r"^(?:async\s+)?function\s*\*?\s*([A-Za-z_$][\w$]*)\s*\(", re.MULTILINE)


class ScriptRoutes:
    """Be what a page asks the script for."""

    def __init__(self, project: ScriptProject, ui: PageUi, live: Live) -> None:
        """Run *project*; *ui* waits for the answers to its dialogs, *live* tells the pages that it runs."""
        self._project = project
        self._ui = ui
        self._live = live

    async def menu(self, request: web.Request) -> web.StreamResponse:
        """Run onOpen and give the menus: [{title, items: [{label, function} | null]}]."""
        try:
            menus = await asyncio.to_thread(self._project.menus, request.query.get("user") or OWNER)
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

    async def functions(self, _request: web.Request) -> web.StreamResponse:
        """Name the functions that google.script.run offers."""
        return web.json_response(await asyncio.to_thread(public_functions, self._project._source_dir))

    async def run(self, request: web.Request) -> web.StreamResponse:
        """Run a menu function: {function, sheet, ranges: [[row0, col0, row1, col1], …], user, page}."""
        asked = await request.json()
        page = ASKING.set(str(asked.get("page", "")))
        self._live.publish("script", {"running": True, "function": asked["function"]})
        try:
            user = str(asked.get("user") or OWNER)
            await asyncio.to_thread(self._project.run, str(asked["function"]), _selection(asked), user=user)
        except ScriptError as error:
            return web.json_response({"error": str(error)}, status=500)
        finally:
            ASKING.reset(page)
            self._live.publish("script", {"running": False, "function": asked["function"]})
        return web.json_response({})

    async def call(self, request: web.Request) -> web.StreamResponse:
        """Answer google.script.run: {function, args, sheet, ranges, user, page} → {result} or {error}."""
        asked = await request.json()
        page = ASKING.set(str(asked.get("page", "")))
        try:
            given, user = list(asked.get("args", [])), str(asked.get("user") or OWNER)
            call = (str(asked["function"]), given, _selection(asked), user)
            return web.json_response({"result": await asyncio.to_thread(self._project.call, *call)})
        except ScriptError as error:
            return web.json_response({"error": error.message})
        finally:
            ASKING.reset(page)

    async def dialog(self, request: web.Request) -> web.StreamResponse:
        """Take the answer to an alert or a prompt: {id, button, text}."""
        asked = await request.json()
        answer = {"button": str(asked.get("button", "CLOSE")), "text": str(asked.get("text", ""))}
        return web.json_response({"answered": self._ui.answer(int(asked["id"]), answer)})


def public_functions(source_dir: Path) -> list[str]:
    """Name the functions that google.script.run offers: those of the files' top level that do not end in _."""
    found = {
        name
        for file, text in read_sources(source_dir).items()
        if file.endswith(".js")
        for name in _FUNCTION.findall(text)
    }
    return sorted(name for name in found if not name.endswith("_"))


def _selection(asked: Mapping[str, Any]) -> Selection:
    ranges = tuple((int(r0), int(c0), int(r1), int(c1)) for r0, c0, r1, c1 in asked.get("ranges", []))
    return Selection(int(asked["sheet"]), ranges)
