"""
Switch on, from the page, what may go wrong at Google's: rights, quota, outages, two accounts, protections.

Each switch says how the world is now, also when something else (a script, a test) made it so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from sandbox.apps_script import ScriptProject
from sandbox.sheets_v4 import SheetsV4
from sandbox.workbook import Area, Protected, Sheet, Workbook

#: The columns that ComfySheet writes; the sandbox protects those that the tab has.
OURS: Final = frozenset({"status", "preview", "output url", "started at", "finished at", "error", "job id"})
_HARD: Final = "Sandbox: our columns, hard"
_FOR_EVER: Final = 1_000_000_000
_ROBOT: Final = ".gserviceaccount.com"


@dataclass(frozen=True)
class Switch:
    """Be one switch: how it is called, what it does, how it stands, and how it is turned."""

    name: str
    label: str
    hint: str
    is_on: Callable[[Sheet], bool]
    turn: Callable[[Sheet, bool], None]


class Switches:
    """Be the panel of one sandbox."""

    def __init__(self, book: Workbook, sheets: SheetsV4, project: ScriptProject) -> None:
        """Hold the switches for *book*, its Sheets endpoint and its script."""
        self._book = book
        self._sheets = sheets
        self._script = project.faults
        self._robots: set[str] = set()
        self._storms: dict[int, bool] = {429: False, 503: False}
        self._all = (
            Switch(
                "shared", "Shared with the service account", "Off: the Sheets API answers 403.",
                lambda _: self._is_shared(), lambda _, on: self._share(on),
            ),
            Switch(
                "quota", "Sheets API: quota exceeded", "Every call is answered 429.",
                lambda _: self._storms[429], lambda _, on: self._storm(429, on),
            ),
            Switch(
                "outage", "Sheets API: not available", "Every call is answered 503.",
                lambda _: self._storms[503], lambda _, on: self._storm(503, on),
            ),
            Switch(
                "accounts", "Two Google accounts", "google.script.run asks for authorisation; menus go on working.",
                lambda _: self._script.two_accounts, lambda _, on: setattr(self._script, "two_accounts", on),
            ),
            Switch(
                "authorization", "Script not authorised", "Somebody withdrew its permissions: menus fail as well.",
                lambda _: self._script.authorization_lost,
                lambda _, on: setattr(self._script, "authorization_lost", on),
            ),
            Switch(
                "protected", "Protect our columns hard", "Nobody but the owner may edit them.",
                _is_protected, self._protect,
            ),
            Switch(
                "images", "Pictures allowed", "Off: the gate of =IMAGE() is closed again.",
                lambda _: self._book.external_images_allowed, lambda _, on: self._allow_images(on),
            ),
        )  # fmt: skip

    def to_json(self, sheet: Sheet) -> list[dict[str, Any]]:
        """Say how the switches stand for *sheet*."""
        with self._book.lock:
            return [
                {"name": one.name, "label": one.label, "hint": one.hint, "on": one.is_on(sheet)} for one in self._all
            ]

    def turn(self, name: str, sheet: Sheet, on: bool) -> None:
        """Turn a switch; ValueError when that cannot be."""
        switch = next((one for one in self._all if one.name == name), None)
        if switch is None:
            raise ValueError(f"The sandbox has no switch {name!r}.")
        with self._book.lock:
            switch.turn(sheet, on)

    def _is_shared(self) -> bool:
        return any(address.endswith(_ROBOT) for address in self._book.shared_with)

    def _share(self, on: bool) -> None:
        self._robots |= {address for address in self._book.shared_with if address.endswith(_ROBOT)}
        if on and not self._robots:
            raise ValueError("No service account was ever here. Press Share and type its address.")
        self._book.change(
            lambda: (
                self._book.shared_with.update(self._robots)
                if on
                else self._book.shared_with.difference_update(self._robots)
            )
        )

    def _storm(self, status: int, on: bool) -> None:
        self._storms[status] = on
        self._sheets.faults.clear()
        for each, is_on in self._storms.items():
            if is_on:
                self._sheets.faults.answer(each, _FOR_EVER)

    def _protect(self, sheet: Sheet, on: bool) -> None:
        kept = [one for one in sheet.protected if one.description != _HARD]
        if on:
            _, cols = sheet.data_extent()
            ours = [col for col in range(cols) if sheet.cell(0, col).formatted.strip().casefold() in OURS]
            if not ours:
                raise ValueError("This tab has none of our columns.")
            kept += [
                Protected(self._book.new_id(), Area(0, col, right=col + 1), _HARD, warning_only=False) for col in ours
            ]
        sheet.change(lambda: setattr(sheet, "protected", kept))

    def _allow_images(self, on: bool) -> None:
        if on:
            self._book.allow_external_images()
            return

        def close() -> None:
            self._book.external_images_allowed = False
            for sheet in self._book.sheets:
                sheet.refresh_gate()

        self._book.change(close)


def _is_protected(sheet: Sheet) -> bool:
    return any(one.description == _HARD for one in sheet.protected)
