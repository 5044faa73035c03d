"""
Say how long a script would take at Google's, without waiting for it.

Time that passes in the script itself, in fetches, in dialogs and for locks is real; every other service call costs
what `Pace` says. The defaults come from published measurements (a read of a range 0.1 to 0.3 s, developer metadata
0.5 s each, writes gathered until something is read or flushed); none of them is promised by Google.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from sandbox.apps_script_host import Face

_LOCAL: Final = frozenset(
    {
        "getRow", "getColumn", "getLastRow", "getLastColumn", "getNumRows", "getNumColumns", "getA1Notation", "offset",
        "getCell", "getRange", "getRangeList", "getRanges", "getSheet", "getParent", "getGridId", "getSheetId",
        "getActive", "getActiveSpreadsheet", "getActiveSheet", "getUi", "newDataValidation",
        "newConditionalFormatRule", "getName", "getId", "getActiveRange", "getActiveRangeList",
    }
)  # fmt: skip
#: getLastRow and getLastColumn of a Range are known, of a Sheet they are asked for.
_ASKED: Final = frozenset({("Sheet", "getLastRow"), ("Sheet", "getLastColumn")})
_SPREADSHEET: Final = frozenset(
    {"Range", "RangeList", "Sheet", "Spreadsheet", "SpreadsheetApp", "Protection", "Filter", "DeveloperMetadata",
     "DeveloperMetadataFinder"}
)  # fmt: skip
_READING: Final = ("get", "is", "can", "find")
#: What takes as long as it takes.
_REAL: Final = frozenset(
    {("UrlFetchApp", "fetch"), ("UrlFetchApp", "fetchAll"), ("Ui", "alert"), ("Ui", "prompt"), ("Lock", "tryLock"),
     ("Lock", "waitLock")}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Pace:
    """Hold what service calls cost, in seconds."""

    read_s: float = 0.15
    read_cell_s: float = 0.000_01
    #: A write is only noted; it is carried out by the next read or flush.
    write_s: float = 0.005
    write_cell_s: float = 0.000_03
    flush_s: float = 0.2
    flush_write_s: float = 0.01
    metadata_s: float = 0.53
    row_flag_s: float = 0.005
    store_s: float = 0.03
    ui_s: float = 0.05
    local_s: float = 0.000_5
    #: What the way to the API and back costs beside the real time of the fetch.
    fetch_s: float = 0.0


class Stopwatch:
    """Add up one execution's time."""

    def __init__(self, pace: Pace, limit_s: float, now: Callable[[], float] = time.monotonic) -> None:
        """Start; *limit_s* is what the execution may take."""
        self.seconds = 0.0
        self._pace = pace
        self._limit_s = limit_s
        self._now = now
        self._since: float | None = None
        self._pending = 0
        self._cost: float | None = 0.0

    @contextmanager
    def call(self) -> Iterator[None]:
        """Time the script up to a call, and the call itself; OutOfTime when the limit is passed."""
        begun = self._now()
        if self._since is not None:  # before the first call nothing of the script has run
            self.seconds += begun - self._since
        self._cost = 0.0
        try:
            yield
        finally:
            self._since = self._now()
            self.seconds += self._since - begun if self._cost is None else self._cost
        if self.seconds > self._limit_s:
            raise OutOfTime

    def end(self) -> None:
        """Time what the script did after its last call."""
        if self._since is not None:
            self.seconds += self._now() - self._since
            self._since = None

    def price(self, face: Face, member: str, arguments: list[Any]) -> None:
        """Say what the call under way costs."""
        if (face.NAME, member) in _REAL:
            self._cost = None
            self.seconds += self._pace.fetch_s if face.NAME == "UrlFetchApp" else 0.0
        elif (face.NAME, member) == ("Utilities", "sleep"):
            self._cost = float(arguments[0]) / 1000
        else:
            self._cost = self._price(face, member)

    def _price(self, face: Face, member: str) -> float:
        pace = self._pace
        if face.NAME in ("Properties", "Cache"):
            return pace.store_s
        if face.NAME == "Ui":
            return pace.ui_s
        if face.NAME not in _SPREADSHEET or (member in _LOCAL and (face.NAME, member) not in _ASKED):
            return pace.local_s
        if member == "flush":
            return self._flushed() if self._pending else pace.write_s
        if member == "toast":
            return pace.ui_s
        if member.startswith(("isRowHidden", "isColumnHidden")):
            return pace.row_flag_s
        cells = _cells(face)
        if member.startswith(_READING):
            return pace.read_s + cells * pace.read_cell_s + (self._flushed() if self._pending else 0.0)
        self._pending += 1
        if member == "addDeveloperMetadata" or face.NAME == "DeveloperMetadata":
            return pace.metadata_s
        return pace.write_s + cells * pace.write_cell_s

    def _flushed(self) -> float:
        writes, self._pending = self._pending, 0
        return self._pace.flush_s + writes * self._pace.flush_write_s


class OutOfTime(Exception):
    """Say that an execution took longer than it may, by its emulated time."""


def _cells(face: Any) -> int:
    if face.NAME == "RangeList":
        return sum(_cells(one) for one in face.getRanges())
    return int(face.getNumRows() * face.getNumColumns()) if face.NAME == "Range" else 0
