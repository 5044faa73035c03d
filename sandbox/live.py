"""
Tell the pages what happens: cell changes, toasts, dialogs, scripts, who else is here.

One `Live` a server. Anything may be published from any thread; the pages hear it over Server-Sent Events. Cell changes
are gathered for a moment, so that a hundred cells are one message.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final

from sandbox.page_cells import Drawing
from sandbox.workbook import Change, Workbook

GATHER_S: Final = 0.05
KEEP_ALIVE_S: Final = 15.0

#: The page that started the script of this context; "" is none: its dialogs then go to every page.
ASKING: Final[ContextVar[str]] = ContextVar("ASKING", default="")

Event = tuple[str, Any]


@dataclass(eq=False)
class Watcher:
    """Be one open page: a tab of somebody's browser."""

    page: str
    user: str
    sheet: int | None = None
    place: tuple[int, int] | None = None
    news: asyncio.Queue[Event | None] = field(default_factory=asyncio.Queue)


class Live:
    """Be the pages' news of one workbook."""

    def __init__(self, book: Workbook) -> None:
        self._book = book
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watchers: list[Watcher] = []
        self._cells: dict[int, set[tuple[int, int]]] = {}
        self._redrawn: set[int] = set()
        self._timer: asyncio.TimerHandle | None = None
        book.listen(self._heard)

    def run_on(self, loop: asyncio.AbstractEventLoop) -> None:
        """Say which loop serves the pages."""
        self._loop = loop

    def is_watched(self, page: str = "") -> bool:
        """Say whether *page* listens ("": any page)."""
        return any(page in ("", watcher.page) for watcher in self._watchers)

    def open(self, page: str, user: str) -> Watcher:
        """Add a page; call on the loop."""
        watcher = Watcher(page, user)
        self._watchers.append(watcher)
        self._tell_presence()
        return watcher

    def close(self, watcher: Watcher) -> None:
        """Remove a page; call on the loop."""
        self._watchers.remove(watcher)
        self._tell_presence()

    def looks_at(self, page: str, sheet: int, place: tuple[int, int] | None) -> None:
        """Note on which tab and cell *page* is; call on the loop."""
        for watcher in self._watchers:
            if watcher.page == page and (watcher.sheet, watcher.place) != (sheet, place):
                watcher.sheet, watcher.place = sheet, place
                self._tell_presence()

    def shut(self) -> None:
        """Send every page away; call on the loop."""
        for watcher in self._watchers:
            watcher.news.put_nowait(None)

    def publish(self, name: str, news: Any, page: str = "") -> None:
        """Tell *page*, or every page; from any thread."""
        self._call(lambda: self._send(name, news, page))

    def _call(self, what: Callable[[], None]) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(what)

    def _send(self, name: str, news: Any, page: str = "") -> None:
        for watcher in self._watchers:
            if page in ("", watcher.page):
                watcher.news.put_nowait((name, news))

    def _tell_presence(self) -> None:
        people = [
            {"page": one.page, "user": one.user, "sheet": one.sheet, "place": one.place} for one in self._watchers
        ]
        self._send("presence", people)

    def _heard(self, change: Change) -> None:
        self._call(lambda: self._gather(change))

    def _gather(self, change: Change) -> None:
        if change.cells is None:
            self._redrawn.add(change.sheet_id)
        else:
            self._cells.setdefault(change.sheet_id, set()).update(change.cells)
        if self._timer is None and self._loop is not None:
            self._timer = self._loop.call_later(GATHER_S, self._flush)

    def _flush(self) -> None:
        self._timer = None
        cells, self._cells, redrawn, self._redrawn = self._cells, {}, self._redrawn, set()
        if redrawn:
            self._send("redraw", {"sheets": sorted(redrawn)})
        with self._book.lock:
            for sheet_id, places in cells.items():
                sheet = self._book.sheet_by_id(sheet_id)
                if sheet is None or sheet_id in redrawn:
                    continue
                drawing = Drawing()
                there = ((row, col) for row, col in sorted(places) if row < sheet.rows and col < sheet.cols)
                found = [[row, col, drawing.cell(sheet.cell(row, col))] for row, col in there]
                news = {"sheet": sheet_id, "cells": found, "rules": drawing.rules, "looks": drawing.looks}
                self._send("cells", news)


class PageUi:
    """
    Be the script's face: dialogs and toasts on the page that started it (see ASKING).

    With no such page open a dialog answers as if closed.
    """

    def __init__(self) -> None:
        self._live: Live | None = None
        self._ids = itertools.count(1)
        self._open: dict[int, tuple[threading.Event, dict[str, str]]] = {}
        self._said: list[str] = []

    def show_on(self, live: Live) -> None:
        """Say where the pages listen."""
        self._live = live

    @property
    def said(self) -> tuple[str, ...]:
        """Give every toast and alert so far, oldest first."""
        return tuple(self._said)

    def alert(self, title: str, text: str, buttons: str) -> str:
        """Show a message and wait for the answer."""
        self._said.append(text)
        return self._ask("alert", title, text, buttons)["button"]

    def prompt(self, title: str, text: str, buttons: str) -> tuple[str, str]:
        """Ask for a line of text and wait for it."""
        answer = self._ask("prompt", title, text, buttons)
        return answer["button"], answer.get("text", "")

    def toast(self, message: str, title: str, seconds: float) -> None:
        """Show a message that goes by itself."""
        self._said.append(message)
        self._publish("toast", {"message": message, "title": title, "seconds": seconds})

    def sidebar(self, title: str, html: str) -> None:
        """Show a sidebar; it is 300 px wide whatever the script says, as at Google's."""
        self._publish("html", {"place": "sidebar", "title": title, "html": html})

    def dialog(
        self, title: str, html: str, width: int | None = None, height: int | None = None, modal: bool = True
    ) -> None:
        """Show a dialog of the script's own making; sizes in px."""
        news = {"place": "dialog", "title": title, "html": html, "width": width, "height": height, "modal": modal}
        self._publish("html", news)

    def select(self, sheet_id: int, ranges: Sequence[tuple[int, int, int, int]]) -> None:
        """Show the tab and select (row0, col0, row1, col1), 0-based, inclusive."""
        self._publish("select", {"sheet": sheet_id, "ranges": [list(one) for one in ranges]})

    def answer(self, number: int, given: dict[str, str]) -> bool:
        """Hand a page's answer to the waiting script; False when nobody waits."""
        waiting = self._open.get(number)
        if waiting is None:
            return False
        waiting[1].update(given)
        waiting[0].set()
        self._publish("answered", {"id": number}, everywhere=True)
        return True

    def pending(self) -> list[int]:
        """Give the numbers of the dialogs that wait."""
        return list(self._open)

    def _ask(self, kind: str, title: str, text: str, buttons: str) -> dict[str, str]:
        if self._live is None or not self._live.is_watched(ASKING.get()):
            return {"button": "CLOSE"}
        number, done, answer = next(self._ids), threading.Event(), {"button": "CLOSE"}
        self._open[number] = (done, answer)
        self._publish("ask", {"id": number, "kind": kind, "title": title, "text": text, "buttons": buttons})
        # A script may run six minutes; a dialog that nobody answers ends with it.
        done.wait(360)
        del self._open[number]
        return answer

    def _publish(self, name: str, news: Any, *, everywhere: bool = False) -> None:
        if self._live is not None:
            self._live.publish(name, news, "" if everywhere else ASKING.get())


def event_text(event: Event) -> bytes:
    """Write an event as Server-Sent Events have it."""
    name, news = event
    return f"event: {name}\ndata: {json.dumps(news, ensure_ascii=False)}\n\n".encode()
