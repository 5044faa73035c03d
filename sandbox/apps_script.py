"""
Run the unmodified files of an Apps Script project over a workbook of the sandbox.

    project = ScriptProject(Path("apps_script"), book, properties=PropertyStore(), ui=ui)
    project.menu()                                     # runs onOpen
    project.run("generateSelectedRows", Selection(sheet_id=0, ranges=((1, 0, 3, 0),)))

Every run has a process and a global scope of its own, as every menu click at Google's has. Runs may go on at the same
time; they share the workbook, its document lock, the properties and the cache.
"""

import json
import re
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from sandbox.apps_script_engine import Ended, SourceFile, execute, number_lines
from sandbox.apps_script_fetch import UrlFetchApp
from sandbox.apps_script_host import Face, Host
from sandbox.apps_script_run import (
    Clock,
    Execution,
    Fetch,
    FetchCall,
    FetchRequest,
    FetchResponse,
    PropertyStore,
    Run,
    Selection,
    Ui,
    WallClock,
    fetch_over_http,
)
from sandbox.apps_script_services import (
    CacheService,
    Console,
    LockService,
    Logger,
    PropertiesService,
    ScriptApp,
    Session,
)
from sandbox.apps_script_sheets import SpreadsheetApp
from sandbox.apps_script_syntax import refusals_of
from sandbox.apps_script_ui import HtmlService, MenuEntry, MenuItem, Separator, SubMenu
from sandbox.apps_script_utilities import Utilities
from sandbox.workbook import Workbook

__all__ = [
    "Clock", "Execution", "FetchCall", "FetchRequest", "FetchResponse", "MenuEntry", "MenuItem", "PropertyStore",
    "ScriptError", "ScriptProject", "Selection", "Separator", "SubMenu", "Ui", "WallClock", "fetch_over_http",
]  # fmt: skip

#: What Google grants a menu function and a simple trigger.
TIME_LIMIT_S: Final = 360.0
TRIGGER_TIME_LIMIT_S: Final = 30.0
_PLACE: Final = re.compile(r"<input>:(\d+)")


class ScriptError(Exception):
    """Be what Apps Script shows when a script fails; *line* counts in *file*, both None when unknown."""

    def __init__(self, message: str, line: int | None = None, file: str | None = None) -> None:
        """Keep message and place."""
        super().__init__(message if line is None else f"{message} ({file}:{line})")
        self.message = message
        self.line = line
        self.file = file


class ScriptProject:
    """Be the script that is bound to one workbook."""

    def __init__(
        self,
        source_dir: Path,
        book: Workbook,
        *,
        properties: PropertyStore,
        ui: Ui,
        fetch: Fetch = fetch_over_http,
        user: str = "user@example.com",
        clock: Clock | None = None,
        time_limit_s: float = TIME_LIMIT_S,
    ) -> None:
        """
        Bind the files of *source_dir* to *book*; they are read anew for every run.

        *user* is who presses the menu; the script's clock is for sleeping and caching, Date is always the real time.
        """
        self._source_dir = source_dir
        self._book = book
        self._ui = ui
        self._fetch = fetch
        self._user = user
        self._clock: Clock = clock or WallClock()
        self._time_limit_s = time_limit_s
        self._cached: dict[str, tuple[float, str]] = {}
        self.properties = properties
        #: The last thousand executions, finished ones only, oldest first.
        self.log: deque[Execution] = deque(maxlen=1000)

    def menus(self) -> list[SubMenu]:
        """Run onOpen, as opening the spreadsheet does, and give the menus it adds to the bar."""
        menus: list[SubMenu] = []
        selection = Selection(self._book.sheets[0].gid, ())
        self._execute("onOpen", selection, (), menus, simple_trigger=True)
        return menus

    def menu(self) -> list[MenuEntry]:
        """Run onOpen and give the entries of the first menu."""
        menus = self.menus()
        return list(menus[0].entries) if menus else []

    def run(self, function: str, selection: Selection, args: Sequence[Any] = ()) -> Any:
        """Run *function* as a menu click does; give its result as JSON has it, or raise ScriptError."""
        return self._execute(function, selection, args, [], simple_trigger=False)

    def _execute(
        self, function: str, selection: Selection, args: Sequence[Any], menus: list[SubMenu], *, simple_trigger: bool
    ) -> Any:
        execution = Execution(function)
        begun = time.monotonic()
        try:
            texts = read_sources(self._source_dir)
            manifest = json.loads(texts["appsscript.json"])
            files = number_lines([(name, text) for name, text in texts.items() if name.endswith(".js")])
            _refuse(files)
            run = Run(
                self._book, selection, self._ui, self._fetch, self._clock, self._user, self.properties, self._cached,
                texts, execution,
            )  # fmt: skip
            limit = min(self._time_limit_s, TRIGGER_TIME_LIMIT_S) if simple_trigger else self._time_limit_s
            ended = _perform(run, files, function, args, menus, manifest, simple_trigger, limit)
            if ended.error is not None:
                raise _placed(ended, files)
            return ended.result
        except ScriptError as error:
            execution.error = str(error)
            raise
        finally:
            execution.seconds = time.monotonic() - begun
            self.log.append(execution)


def read_sources(source_dir: Path) -> dict[str, str]:
    """Read a project's files by name, in the order in which they load: by name."""
    kept = (path for path in sorted(source_dir.iterdir()) if path.suffix in (".js", ".html", ".json"))
    return {path.name: path.read_text("utf-8") for path in kept}


def _perform(
    run: Run,
    files: tuple[SourceFile, ...],
    function: str,
    args: Sequence[Any],
    menus: list[SubMenu],
    manifest: dict[str, Any],
    simple_trigger: bool,
    time_limit_s: float,
) -> Ended:
    locks = LockService(run)
    globals_: dict[str, Face] = {
        "SpreadsheetApp": SpreadsheetApp(run, menus),
        "LockService": locks,
        "PropertiesService": PropertiesService(run),
        "CacheService": CacheService(run),
        "UrlFetchApp": UrlFetchApp(run),
        "HtmlService": HtmlService(run),
        "Utilities": Utilities(run),
        "Session": Session(run, manifest["timeZone"]),
        "ScriptApp": ScriptApp(),
        "console": Console(run),
        "Logger": Logger(run),
    }
    host = Host(globals_, scopes=manifest.get("oauthScopes", []), simple_trigger=simple_trigger)

    def answer(call: str) -> str:
        run.execution.host_calls += 1
        return host.answer(call)

    try:
        return execute(files, function, args, answer, time_zone=manifest["timeZone"], time_limit_s=time_limit_s)
    finally:
        locks._end()


def _refuse(files: tuple[SourceFile, ...]) -> None:
    for file in files:
        for refusal in refusals_of(file.text):
            raise ScriptError(f"SyntaxError: Apps Script does not know {refusal.what}", refusal.line, file.name)


def _placed(ended: Ended, files: tuple[SourceFile, ...]) -> ScriptError:
    """Find the first frame of the stack that lies in a file of the project."""
    for found in _PLACE.finditer(ended.stack):
        line = int(found[1])
        file = next((one for one in reversed(files) if one.first_line <= line), None)
        if file:
            return ScriptError(ended.error or "", line - file.first_line + 1, file.name)
    return ScriptError(ended.error or "")
