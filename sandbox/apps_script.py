"""
Run the unmodified files of an Apps Script project over a workbook of the sandbox.

    project = ScriptProject(Path("apps_script"), book, properties=PropertyStore(), ui=ui)
    project.menu()                                     # runs onOpen
    project.run("generateSelectedRows", Selection(sheet_id=0, ranges=((1, 0, 3, 0),)))
    project.call("sidebarNews", [], selection, "b@example.com")      # as a page does through google.script.run

Every run has a process and a global scope of its own, as every menu click at Google's has. Runs may go on at the same
time; they share the workbook, its document lock, the properties and the cache.
"""

import json
import re
import time
from collections import deque
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from sandbox.apps_script_engine import OUT_OF_TIME, Ended, SourceFile, execute, number_lines
from sandbox.apps_script_fetch import UrlFetchApp
from sandbox.apps_script_host import Face, Host, ScriptFault
from sandbox.apps_script_limits import AUTHORIZATION, Faults, Gate, Limits, Meter
from sandbox.apps_script_pace import OutOfTime, Pace, Stopwatch
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
from sandbox.workbook import OWNER, Workbook

__all__ = [
    "Clock", "Execution", "Faults", "FetchCall", "FetchRequest", "FetchResponse", "Limits", "MenuEntry", "MenuItem",
    "Pace", "PropertyStore", "ScriptError", "ScriptProject", "Selection", "Separator", "SubMenu", "Ui", "WallClock",
    "fetch_over_http",
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
        user: str = OWNER,
        clock: Clock | None = None,
        time_limit_s: float = TIME_LIMIT_S,
        limits: Limits | None = None,
        pace: Pace | None = None,
    ) -> None:
        """
        Bind the files of *source_dir* to *book*; they are read anew for every run.

        *user* is who presses the menu when nobody else is named; the script's clock is for sleeping and caching, Date
        is always the real time. With a *pace* the time limit counts emulated time.
        """
        self._source_dir = source_dir
        self._book = book
        self._ui = ui
        self._fetch = fetch
        self._user = user
        self._clock: Clock = clock or WallClock()
        self._time_limit_s = time_limit_s
        self._pace = pace
        self._cached: dict[str, tuple[float, str]] = {}
        self.properties = properties
        self.faults = Faults()
        self.meter = Meter(limits or Limits(), self._clock.now)
        #: The last thousand executions, finished ones only, oldest first.
        self.log: deque[Execution] = deque(maxlen=1000)

    def menus(self, user: str | None = None) -> list[SubMenu]:
        """Run onOpen, as opening the spreadsheet does, and give the menus it adds to the bar."""
        menus: list[SubMenu] = []
        selection = Selection(self._book.sheets[0].gid, ())
        self._execute(_Start("onOpen", (), selection, user or self._user, simple_trigger=True), menus)
        return menus

    def menu(self) -> list[MenuEntry]:
        """Run onOpen and give the entries of the first menu."""
        menus = self.menus()
        return list(menus[0].entries) if menus else []

    def run(
        self,
        function: str,
        selection: Selection,
        args: Sequence[Any] = (),
        *,
        user: str | None = None,
        ui: Ui | None = None,
    ) -> Any:
        """
        Run *function* as a menu click of *user* does; give its result as JSON has it, or raise ScriptError.

        *ui* is what that person looks at, if it is not what everybody does.
        """
        return self._execute(_Start(function, args, selection, user or self._user, ui=ui), [])

    def call(
        self,
        function: str,
        args: Sequence[Any],
        selection: Selection,
        user: str | None = None,
        *,
        ui: Ui | None = None,
    ) -> Any:
        """
        Run *function* as google.script.run does for a page of *user*.

        Functions whose names end in "_" are private. Arguments with a Date, a function or the like in them are refused;
        a result with one in it is None. Raises ScriptError, whose `message` is what the failure handler gets.
        """
        if self.faults.two_accounts:
            raise ScriptError(AUTHORIZATION)
        if function.endswith("_"):
            raise ScriptError(f"Script function not found: {function}")
        for at, value in enumerate(args):
            if not _portable(value):
                raise ScriptError(f"Failed due to illegal value in property: {at}")
        return self._execute(_Start(function, args, selection, user or self._user, ui=ui, html=True), [])

    def _execute(self, start: "_Start", menus: list[SubMenu]) -> Any:
        execution = Execution(start.function, start.user)
        begun = time.monotonic()
        try:
            with self.meter.running(start.user):
                return self._run(start, menus, execution)
        except ScriptFault as fault:  # too many at once
            execution.error = f"{fault.name}: {fault}"
            raise ScriptError(execution.error) from fault
        except ScriptError as error:
            execution.error = str(error)
            raise
        finally:
            execution.seconds = time.monotonic() - begun
            self.log.append(execution)

    def _run(self, start: "_Start", menus: list[SubMenu], execution: Execution) -> Any:
        texts = read_sources(self._source_dir)
        manifest = json.loads(texts["appsscript.json"])
        files = number_lines([(name, text) for name, text in texts.items() if name.endswith(".js")])
        _refuse(files)
        user, faults = start.user, self.faults
        run = Run(
            self._book, start.selection, start.ui or self._ui, self._fetch, self._clock, user, self.properties,
            self._cached, texts, execution, partial(self.meter.take, user),
        )  # fmt: skip
        limit = min(self._time_limit_s, TRIGGER_TIME_LIMIT_S) if start.simple_trigger else self._time_limit_s
        watch = Stopwatch(self._pace, limit) if self._pace else None
        gate = Gate(faults, self.meter, user, self._book.spreadsheet_id, simple_trigger=start.simple_trigger)
        try:
            ended = _perform(run, files, start, menus, manifest, limit, gate, watch)
        except OutOfTime:
            ended = Ended(error=OUT_OF_TIME)
        finally:
            if watch:
                watch.end()
                execution.emulated_s = watch.seconds
        if watch and watch.seconds > limit:
            ended = Ended(error=OUT_OF_TIME)
        if ended.error is not None:
            raise _placed(ended, files)
        return ended.result


@dataclass(frozen=True, slots=True)
class _Start:
    """Say what is run, for whom, and how."""

    function: str
    args: Sequence[Any]
    selection: Selection
    user: str
    ui: Ui | None = None
    html: bool = False
    simple_trigger: bool = False


def read_sources(source_dir: Path) -> dict[str, str]:
    """Read a project's files by name, in the order in which they load: by name."""
    kept = (path for path in sorted(source_dir.iterdir()) if path.suffix in (".js", ".html", ".json"))
    return {path.name: path.read_text("utf-8") for path in kept}


def _perform(
    run: Run,
    files: tuple[SourceFile, ...],
    start: _Start,
    menus: list[SubMenu],
    manifest: dict[str, Any],
    time_limit_s: float,
    gate: Gate,
    watch: Stopwatch | None,
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

    def before(face: Face, member: str, arguments: list[Any]) -> None:
        gate.pass_(face.NAME)
        if watch:
            watch.price(face, member, arguments)

    scopes = manifest.get("oauthScopes", [])
    host = Host(globals_, scopes=scopes, simple_trigger=start.simple_trigger, before=before)

    def answer(call: str) -> str:
        run.execution.host_calls += 1
        with watch.call() if watch else nullcontext():
            return host.answer(call)

    try:
        return execute(
            files, start.function, start.args, answer,
            time_zone=manifest["timeZone"], time_limit_s=time_limit_s, html=start.html,
        )  # fmt: skip
    finally:
        locks._end()


def _portable(value: Any) -> bool:
    """Say whether google.script.run takes *value* as an argument."""
    match value:
        case None | bool() | int() | float() | str():
            return True
        case list() | tuple():
            return all(_portable(one) for one in value)
        case dict():
            return all(isinstance(name, str) and _portable(one) for name, one in value.items())
        case _:
            return False


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
