"""Name what one execution of a script stands on, and the seams through which it meets the world."""

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import requests

from sandbox.workbook import Workbook


@dataclass(frozen=True, slots=True)
class Selection:
    """Hold what is selected on which tab: (row0, col0, row1, col1), 0-based, inclusive; the last one is active."""

    sheet_id: int
    ranges: tuple[tuple[int, int, int, int], ...]


class Ui(Protocol):
    """Show what a script says to whoever started it. Called from the script's thread; alert and prompt wait."""

    def alert(self, title: str, text: str, buttons: str) -> str:
        """Show a dialog with the *buttons* of a ButtonSet (OK, OK_CANCEL, YES_NO, YES_NO_CANCEL); give the pressed."""

    def prompt(self, title: str, text: str, buttons: str) -> tuple[str, str]:
        """Ask for a line of text; give the pressed button (OK, CANCEL, CLOSE ...) and the text."""

    def toast(self, message: str, title: str, seconds: float) -> None:
        """Show *message* in passing; negative *seconds*: until closed."""

    def sidebar(self, title: str, html: str) -> None:
        """Show a sidebar."""

    def dialog(self, title: str, html: str, width: int | None = None, height: int | None = None) -> None:
        """Show a dialog of its own HTML; None is the size that the page likes."""

    def select(self, sheet_id: int, ranges: tuple[tuple[int, int, int, int], ...]) -> None:
        """Show this tab with these cells selected, as in `Selection`; no ranges: leave the tab's selection."""


class Clock(Protocol):
    """Tell and spend time."""

    def now(self) -> float:
        """Give Unix seconds."""

    def sleep(self, seconds: float) -> None:
        """Wait."""


class WallClock:
    """Be the real clock."""

    def now(self) -> float:
        """Give Unix seconds."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


@dataclass(frozen=True, slots=True)
class FetchRequest:
    """Hold what UrlFetchApp sends; header names as given."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes = b""
    follow_redirects: bool = True


@dataclass(frozen=True, slots=True)
class FetchResponse:
    """Hold what came back."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


Fetch = Callable[[FetchRequest], FetchResponse]


def fetch_over_http(request: FetchRequest) -> FetchResponse:
    """
    Fetch for real; OSError when nothing answers.

    A single call dies at about 60 s at Google's, undocumented.
    """
    with requests.Session() as session:
        session.trust_env = False  # the sandbox talks to its own machine, whatever proxy there is
        response = session.request(
            request.method,
            request.url,
            headers=dict(request.headers),
            data=request.body,
            allow_redirects=request.follow_redirects,
            timeout=60,
        )
    return FetchResponse(response.status_code, response.content, dict(response.headers))


class PropertyStore:
    """Keep a script's properties: one store for the document, one for the script, one for each user."""

    def __init__(self, kept: Mapping[str, Any] | None = None) -> None:
        """Start empty, or from what `to_json` gave."""
        found: Mapping[str, Any] = kept or {}
        self.document: dict[str, str] = dict(found.get("document", {}))
        self.script: dict[str, str] = dict(found.get("script", {}))
        self.users: dict[str, dict[str, str]] = {user: dict(own) for user, own in found.get("users", {}).items()}

    def user(self, email: str) -> dict[str, str]:
        """Give the store of one user."""
        return self.users.setdefault(email, {})

    def to_json(self) -> dict[str, Any]:
        """Give plain JSON values."""
        return {
            "document": dict(self.document),
            "script": dict(self.script),
            "users": {user: dict(own) for user, own in self.users.items()},
        }


@dataclass(frozen=True, slots=True)
class FetchCall:
    """Log one fetch; *unflushed* counts the cells' writes since the last flush: nobody else sees those yet."""

    method: str
    url: str
    status: int | None
    seconds: float
    unflushed: int


@dataclass(slots=True)
class Execution:
    """Log one execution; *error* is what the person was shown."""

    function: str
    user: str = ""
    seconds: float = 0.0
    #: What it would have taken at Google's; None without a pace.
    emulated_s: float | None = None
    error: str | None = None
    fetches: list[FetchCall] = field(default_factory=list)
    logged: list[str] = field(default_factory=list)
    host_calls: int = 0


@dataclass(slots=True)
class Run:
    """Be what the faces of one execution share."""

    book: Workbook
    selection: Selection
    ui: Ui
    fetch: Fetch
    clock: Clock
    user: str
    properties: PropertyStore
    cached: dict[str, tuple[float, str]]
    sources: Mapping[str, str]
    execution: Execution
    #: Counts one use of a service by this user; raises when the day's quota is over.
    count: Callable[[str], None]
    unflushed: int = 0

    def editing(self) -> AbstractContextManager[None]:
        """Edit the workbook as the script of this user."""
        return self.book.editing("script", self.user)

    def select(self, sheet_id: int, ranges: tuple[tuple[int, int, int, int], ...]) -> None:
        """Move the person's selection, and what the script reads as active from now on."""
        self.selection = Selection(sheet_id, ranges)
        self.ui.select(sheet_id, ranges)


class DocumentLocks:
    """Give each workbook its one document lock, shared by all executions in this process."""

    def __init__(self) -> None:
        """Start with none."""
        self._guard = threading.Lock()
        self._locks: WeakKeyDictionary[Workbook, threading.Lock] = WeakKeyDictionary()

    def of(self, book: Workbook) -> threading.Lock:
        """Give the lock of *book*."""
        with self._guard:
            return self._locks.setdefault(book, threading.Lock())


DOCUMENT_LOCKS = DocumentLocks()
