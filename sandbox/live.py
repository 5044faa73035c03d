"""
Tell the pages what happens: cell changes, toasts, dialogs, scripts.

One `Live` a server. Anything may be published from any thread; the pages hear it over Server-Sent Events. Cell changes
are gathered for a moment, so that a hundred cells are one message.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
from collections.abc import Callable
from typing import Any, Final

from sandbox.workbook import Cell, Change, Workbook, read_typed

GATHER_S: Final = 0.05
KEEP_ALIVE_S: Final = 15.0

Event = tuple[str, Any]


class Live:
    """Be the pages' news of one workbook."""

    def __init__(self, book: Workbook) -> None:
        self._book = book
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pages: set[asyncio.Queue[Event | None]] = set()
        self._cells: dict[int, set[tuple[int, int]]] = {}
        self._redraw = False
        self._timer: asyncio.TimerHandle | None = None
        book.listen(self._heard)

    def run_on(self, loop: asyncio.AbstractEventLoop) -> None:
        """Say which loop serves the pages."""
        self._loop = loop

    @property
    def is_watched(self) -> bool:
        """Say whether any page listens."""
        return bool(self._pages)

    def open(self) -> asyncio.Queue[Event | None]:
        """Add a page; call on the loop."""
        queue: asyncio.Queue[Event | None] = asyncio.Queue()
        self._pages.add(queue)
        return queue

    def close(self, queue: asyncio.Queue[Event | None]) -> None:
        """Remove a page; call on the loop."""
        self._pages.discard(queue)

    def shut(self) -> None:
        """Send every page away; call on the loop."""
        for queue in self._pages:
            queue.put_nowait(None)

    def publish(self, name: str, news: Any) -> None:
        """Tell every page; from any thread."""
        self._call(lambda: self._send(name, news))

    def _call(self, what: Callable[[], None]) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(what)

    def _send(self, name: str, news: Any) -> None:
        for queue in self._pages:
            queue.put_nowait((name, news))

    def _heard(self, change: Change) -> None:
        self._call(lambda: self._gather(change))

    def _gather(self, change: Change) -> None:
        if change.cells is None:
            self._redraw = True
        else:
            self._cells.setdefault(change.sheet_id, set()).update(change.cells)
        if self._timer is None and self._loop is not None:
            self._timer = self._loop.call_later(GATHER_S, self._flush)

    def _flush(self) -> None:
        self._timer = None
        cells, self._cells, redraw, self._redraw = self._cells, {}, self._redraw, False
        if redraw:
            self._send("redraw", {})
            return
        with self._book.lock:
            for sheet_id, places in cells.items():
                sheet = self._book.sheet_by_id(sheet_id)
                if sheet is not None:
                    found = [[row, col, cell_json(sheet.cell(row, col))] for row, col in sorted(places)]
                    self._send("cells", {"sheet": sheet_id, "cells": found})


class PageUi:
    """Be the script's face: dialogs and toasts on the pages. With no page open a dialog answers as if closed."""

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
        """Show a sidebar."""
        self._publish("html", {"place": "sidebar", "title": title, "html": html})

    def dialog(self, title: str, html: str, width: int | None = None, height: int | None = None) -> None:
        """Show a dialog of the script's own making; None is the size that the page likes."""
        self._publish("html", {"place": "dialog", "title": title, "html": html, "width": width, "height": height})

    def select(self, sheet_id: int, ranges: tuple[tuple[int, int, int, int], ...]) -> None:
        """Show a tab with these cells selected: (row0, col0, row1, col1), inclusive."""
        self._publish("select", {"sheet": sheet_id, "ranges": [list(one) for one in ranges]})

    def answer(self, number: int, given: dict[str, str]) -> bool:
        """Hand a page's answer to the waiting script; False when nobody waits."""
        waiting = self._open.get(number)
        if waiting is None:
            return False
        waiting[1].update(given)
        waiting[0].set()
        self._publish("answered", {"id": number})
        return True

    def pending(self) -> list[int]:
        """Give the numbers of the dialogs that wait."""
        return list(self._open)

    def _ask(self, kind: str, title: str, text: str, buttons: str) -> dict[str, str]:
        if self._live is None or not self._live.is_watched:
            return {"button": "CLOSE"}
        number, done, answer = next(self._ids), threading.Event(), {"button": "CLOSE"}
        self._open[number] = (done, answer)
        self._publish("ask", {"id": number, "kind": kind, "title": title, "text": text, "buttons": buttons})
        # A script may run six minutes; a dialog that nobody answers ends with it.
        done.wait(360)
        del self._open[number]
        return answer

    def _publish(self, name: str, news: Any) -> None:
        if self._live is not None:
            self._live.publish(name, news)


def cell_json(cell: Cell) -> dict[str, str] | None:
    """Give what a page shows of a cell: t text, e as entered (for the formula bar), i picture, n note; None: empty."""
    entered = cell.formula if cell.formula is not None else cell.user_entered
    if entered is None and not cell.note:
        return None
    shown: dict[str, str] = {"t": cell.formatted}
    raw = as_typed(cell)
    if raw != shown["t"]:
        shown["e"] = raw
    if cell.image_url:
        shown["i"] = cell.image_url
    if cell.note:
        shown["n"] = cell.note
    return shown


def as_typed(cell: Cell) -> str:
    """Give what the formula bar shows. Text that typing would read as something else wears an apostrophe."""
    if not isinstance(cell.user_entered, str):
        return cell.formula or cell.formatted
    text = cell.user_entered
    if cell.number_type == "TEXT":
        # Such a cell keeps all it is given but a formula (Sheet.enter), an apostrophe too.
        return f"'{text}" if text.startswith("=") else text
    typed = read_typed(text)
    return f"'{text}" if typed.is_formula or typed.value != text else text


def event_text(event: Event) -> bytes:
    """Write an event as Server-Sent Events have it."""
    name, news = event
    return f"event: {name}\ndata: {json.dumps(news, ensure_ascii=False)}\n\n".encode()
