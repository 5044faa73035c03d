"""
Count what Google counts, refuse what it refuses, and have it unwell on order.

- `Limits` says how much; `Meter` counts by user and day; both belong to a project and outlive its executions.
- `Faults` are switches: set one, and the next call meets it.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from sandbox.apps_script_host import ScriptFault

AUTHORIZATION: Final = "Authorization is required to perform that action."
_DAY_S: Final = 86_400.0
#: What Google's sentences call a service.
_COUNTED: Final = {"UrlFetchApp": "urlfetch", "Properties": "properties"}
_UNTOUCHED: Final = frozenset({"console", "Logger"})
_SPREADSHEET: Final = frozenset({"Range", "RangeList", "Sheet", "Spreadsheet", "SpreadsheetApp"})


@dataclass(slots=True)
class Limits:
    """Say what a consumer account may do; None means as much as it likes."""

    fetches_per_day: int | None = 20_000
    properties_per_day: int | None = 50_000
    simultaneous: int | None = 30


@dataclass(slots=True)
class Faults:
    """Be switched from outside, at any time."""

    #: Every call of every service is refused, from the menu too: the permissions were withdrawn.
    authorization_lost: bool = False
    #: Two Google accounts in one browser: google.script.run is refused before anything runs, the menu works.
    two_accounts: bool = False
    #: Services whose daily quota is used up, in Google's words: "urlfetch", "properties".
    quota: set[str] = field(default_factory=set)
    #: So many of the next calls that touch the spreadsheet fail.
    spreadsheet_failures: int = 0


class Meter:
    """Count fetches, properties and executions. Safe to use from any thread."""

    def __init__(self, limits: Limits, now: Callable[[], float]) -> None:
        """Start at zero; *now* gives seconds."""
        self.limits = limits
        self._now = now
        self._lock = threading.Lock()
        self._days: dict[tuple[str, str], tuple[float, int]] = {}
        self._running: Counter[str] = Counter()

    def used(self, user: str, service: str) -> int:
        """Say how often *user* used *service* ("urlfetch", "properties") in the day that began with the first use."""
        with self._lock:
            return self._day(user, service)[1]

    def take(self, user: str, service: str) -> None:
        """Count one use; ScriptFault above the day's limit."""
        limits = {"urlfetch": self.limits.fetches_per_day, "properties": self.limits.properties_per_day}
        with self._lock:
            began, count = self._day(user, service)
            limit = limits.get(service)
            if limit is not None and count >= limit:
                raise used_up(service)
            self._days[user, service] = (began, count + 1)

    @contextmanager
    def running(self, user: str) -> Iterator[None]:
        """Count an execution while it runs; ScriptFault when there are too many at once."""
        with self._lock:
            limit = self.limits.simultaneous
            if limit is not None and self._running[user] >= limit:
                raise ScriptFault("There are too many scripts running simultaneously for this Google user account.")
            self._running[user] += 1
        try:
            yield
        finally:
            with self._lock:
                self._running[user] -= 1

    def _day(self, user: str, service: str) -> tuple[float, int]:
        began, count = self._days.get((user, service), (self._now(), 0))
        return (began, count) if self._now() < began + _DAY_S else (self._now(), 0)


def used_up(service: str) -> ScriptFault:
    """Say that a day's quota is over, as Google does."""
    return ScriptFault(f"Service invoked too many times for one day: {service}.")


class Gate:
    """Stand before every service call of one execution."""

    def __init__(self, faults: Faults, meter: Meter, user: str, document: str, *, simple_trigger: bool) -> None:
        """Let *user*'s calls through, or not."""
        self._faults = faults
        self._meter = meter
        self._user = user
        self._document = document
        self._simple_trigger = simple_trigger

    def pass_(self, service: str) -> None:
        """Raise ScriptFault when the call to *service* (Google's class) meets a fault or a limit."""
        faults = self._faults
        if service in _UNTOUCHED:
            return
        if faults.authorization_lost and not self._simple_trigger:
            raise ScriptFault(AUTHORIZATION)
        if service in _SPREADSHEET and faults.spreadsheet_failures > 0:
            faults.spreadsheet_failures -= 1
            raise ScriptFault(f"Service Spreadsheets failed while accessing document with id {self._document}.")
        word = _COUNTED.get(service)
        if word is None:
            return
        if word in faults.quota:
            raise used_up(word)
        if service != "UrlFetchApp":  # counts its requests itself: fetchAll makes many
            self._meter.take(self._user, word)
