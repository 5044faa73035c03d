"""Keep the endpoint's log of calls, its quota, and the faults that a test orders."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Literal

from sandbox.sheets_errors import GoogleError, quota_exceeded

Kind = Literal["read", "write"]


@dataclass(frozen=True, slots=True)
class Call:
    """Log one call as it was answered; *status* 0 means the connection was dropped."""

    http_method: str
    path: str
    #: The API method, such as spreadsheets.batchUpdate; "" when there is none.
    method: str
    kind: Kind
    user: str
    at: float
    status: int
    took_s: float


class CallLog:
    """Remember the calls (the last 10,000) and count them all."""

    def __init__(self) -> None:
        """Start empty."""
        self.calls: deque[Call] = deque(maxlen=10_000)
        self.reads = 0
        self.writes = 0

    def add(self, call: Call) -> None:
        """Take in one call."""
        self.calls.append(call)
        if call.kind == "read":
            self.reads += 1
        else:
            self.writes += 1

    def clear(self) -> None:
        """Forget everything."""
        self.calls.clear()
        self.reads = self.writes = 0


class Quota:
    """Allow each user *per_minute* reads and as many writes in any 60 s; a batch counts as one."""

    def __init__(self, per_minute: int = 60, now: Callable[[], float] = time.monotonic) -> None:
        """Start full; *now* gives seconds."""
        self.per_minute = per_minute
        self._now = now
        self._taken: dict[tuple[str, Kind], deque[float]] = {}

    def take(self, user: str, kind: Kind) -> None:
        """Count one call or raise GoogleError 429; a refused call does not count."""
        now = self._now()
        taken = self._taken.setdefault((user, kind), deque())
        while taken and taken[0] <= now - 60:
            taken.popleft()
        if len(taken) >= self.per_minute:
            raise quota_exceeded(kind, self.per_minute)
        taken.append(now)


@dataclass(slots=True)
class Fault:
    """Be one ordered fault for the next *left* calls of *kind* (None: of any)."""

    left: int
    kind: Kind | None
    #: The answer instead of the real one; None drops the connection.
    error: GoogleError | None = None
    #: Whether the call is done all the same before it fails.
    applied: bool = False
    delay_s: float = 0.0
    #: Only calls for this spreadsheet; "": for any.
    spreadsheet_id: str = ""


class Faults:
    """
    Order faults for the next calls; they are used up in the order given. Safe to call from any thread.

    *spreadsheet_id* names the one spreadsheet whose calls are meant; empty: all are.
    """

    def __init__(self) -> None:
        """Start without faults."""
        self._lock = Lock()
        self._ordered: list[Fault] = []

    def answer(
        self,
        status: int,
        times: int = 1,
        *,
        message: str | None = None,
        kind: Kind | None = None,
        spreadsheet_id: str = "",
    ) -> None:
        """Answer the next *times* calls with *status*, without doing them."""
        self._order(Fault(times, kind, _error(status, message), spreadsheet_id=spreadsheet_id))

    def apply_then_fail(
        self, status: int = 503, times: int = 1, *, kind: Kind | None = "write", spreadsheet_id: str = ""
    ) -> None:
        """Do the next *times* calls and answer *status* all the same."""
        self._order(Fault(times, kind, _error(status, None), applied=True, spreadsheet_id=spreadsheet_id))

    def apply_then_drop(self, times: int = 1, *, kind: Kind | None = "write", spreadsheet_id: str = "") -> None:
        """Do the next *times* calls and close the connection without an answer."""
        self._order(Fault(times, kind, applied=True, spreadsheet_id=spreadsheet_id))

    def drop(self, times: int = 1, *, kind: Kind | None = None, spreadsheet_id: str = "") -> None:
        """Close the connection of the next *times* calls without doing them."""
        self._order(Fault(times, kind, spreadsheet_id=spreadsheet_id))

    def delay(self, seconds: float, times: int = 1, *, kind: Kind | None = None, spreadsheet_id: str = "") -> None:
        """Hold the next *times* calls for *seconds* before they are done."""
        self._order(Fault(times, kind, applied=True, delay_s=seconds, spreadsheet_id=spreadsheet_id))

    def clear(self, spreadsheet_id: str = "") -> None:
        """Forget what was ordered; with a *spreadsheet_id*, for that one."""
        with self._lock:
            self._ordered = [one for one in self._ordered if spreadsheet_id and one.spreadsheet_id != spreadsheet_id]

    @property
    def left(self) -> int:
        """Count the calls that will still meet a fault."""
        with self._lock:
            return sum(fault.left for fault in self._ordered)

    def next_for(self, kind: Kind, spreadsheet_id: str = "") -> Fault | None:
        """Take the fault that a call of *kind* meets (called by the endpoint)."""
        with self._lock:
            fault = next((one for one in self._ordered if _is_meant(one, kind, spreadsheet_id)), None)
            if fault is not None:
                fault.left -= 1
                if not fault.left:
                    self._ordered.remove(fault)
            return fault

    def _order(self, fault: Fault) -> None:
        with self._lock:
            self._ordered.append(fault)


def _is_meant(fault: Fault, kind: Kind, spreadsheet_id: str) -> bool:
    return fault.kind in (None, kind) and fault.spreadsheet_id in ("", spreadsheet_id)


def _error(status: int, message: str | None) -> GoogleError:
    if status == 429 and message is None:
        return quota_exceeded("write", 60)
    return GoogleError(status, message)
