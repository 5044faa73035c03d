"""Be protections and filters: what lies over a range without being in its cells."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from sandbox.apps_script_host import Choice, Face, ScriptFault
from sandbox.apps_script_range import Range
from sandbox.apps_script_run import Run
from sandbox.workbook import Area, Protected, Sheet

_GONE = "The protection does not exist any more."


class Protection(Face):
    """Be a protected range."""

    NAME = "Protection"

    def __init__(self, run: Run, sheet: Sheet, number: int) -> None:
        """Look at the protection *number* of *sheet*."""
        self._run = run
        self._sheet = sheet
        self._number = number

    def getRange(self) -> Range:
        """Say which cells."""
        return Range(self._run, self._sheet, self._found().area)

    def setRange(self, range: Range) -> "Protection":
        """Protect other cells instead, on the same tab."""
        return self._change(area=range._given)

    def getProtectionType(self) -> Choice:
        """Give RANGE."""
        return Choice("ProtectionType", "RANGE")

    def getDescription(self) -> str:
        """Give the description."""
        return self._found().description

    def setDescription(self, description: str) -> "Protection":
        """Set the description."""
        return self._change(description=description)

    def isWarningOnly(self) -> bool:
        """Say whether it only warns."""
        return self._found().warning_only

    def setWarningOnly(self, warningOnly: bool) -> "Protection":
        """Warn only, or protect."""
        return self._change(warning_only=warningOnly)

    def canEdit(self) -> bool:
        """Say whether the present user may edit the cells."""
        with self._run.editing():
            return self._run.book.may_edit(self._found())

    def getEditors(self) -> list[Face]:
        """Name who may edit; nobody for one that only warns."""
        from sandbox.apps_script_services import User

        one = self._found()
        return [] if one.warning_only else [User(email) for email in sorted(self._editors(one))]

    def addEditor(self, emailAddress: str | Face) -> "Protection":
        """Let somebody edit."""
        return self._edit(lambda editors: editors | {_email(emailAddress)})

    def removeEditor(self, emailAddress: str | Face) -> "Protection":
        """Stop somebody from editing; the owner and whoever runs the script stay."""
        return self._edit(lambda editors: editors - {_email(emailAddress)})

    def removeEditors(self, emailAddresses: list) -> "Protection":  # type: ignore[type-arg]
        """Stop several from editing; the owner and whoever runs the script stay."""
        return self._edit(lambda editors: editors - {_email(one) for one in emailAddresses})

    def canDomainEdit(self) -> bool:
        """Say whether everybody of a Workspace domain may edit; here nobody has one."""
        return False

    def remove(self) -> None:
        """Unprotect."""
        self._replace(None)

    def _editors(self, one: Protected) -> set[str]:
        book = self._run.book
        return ({book.owner, self._run.user} | book.shared_with) if one.mirrors_sharing else {book.owner, *one.editors}

    def _edit(self, change: Callable[[set[str]], set[str]]) -> "Protection":
        one = self._found()
        kept = change(self._editors(one)) | {self._run.book.owner, self._run.user}
        return self._change(editors=tuple(sorted(kept)), mirrors_sharing=False)

    def _found(self) -> Protected:
        one = next((one for one in self._sheet.protected if one.id == self._number), None)
        if one is None:
            raise ScriptFault(_GONE)
        return one

    def _change(self, **parts: Any) -> "Protection":
        self._replace(replace(self._found(), **parts))
        return self

    def _replace(self, wanted: Protected | None) -> None:
        if not self.canEdit():
            raise ScriptFault("You do not have permission to perform that action.")
        others = ((one, wanted) if one.id == self._number else (one, one) for one in self._sheet.protected)
        kept = [new for _, new in others if new is not None]
        with self._run.editing():
            self._sheet.change(partial(setattr, self._sheet, "protected", kept))
            self._run.unflushed += 1


def protect(run: Run, sheet: Sheet, area: Area) -> Protection:
    """Add a protection that keeps nobody out until somebody changes its editors, as Google's does."""
    one = Protected(run.book.new_id(), area, warning_only=False, mirrors_sharing=True)
    with run.editing():
        sheet.change(partial(sheet.protected.append, one))
        run.unflushed += 1
    return Protection(run, sheet, one.id)


def protections_of(run: Run, sheets: list[Sheet], kind: Choice) -> list[Protection]:
    """Give the protected ranges of *sheets*; there are no protected tabs."""
    if kind.kind != "ProtectionType":
        raise ScriptFault(f"The parameters ({kind.kind}) don't match the method signature for Sheet.getProtections.")
    if kind.name != "RANGE":
        return []
    return [Protection(run, sheet, one.id) for sheet in sheets for one in sheet.protected]


class Filter(Face):
    """Be the basic filter of a tab."""

    NAME = "Filter"

    def __init__(self, run: Run, sheet: Sheet) -> None:
        """Look at the filter of *sheet*."""
        self._run = run
        self._sheet = sheet

    def getRange(self) -> Range:
        """Say which cells, header included."""
        area = self._sheet.basic_filter
        if area is None:
            raise ScriptFault("The filter does not exist any more.")
        return Range(self._run, self._sheet, area)

    def remove(self) -> None:
        """Take the filter away; the rows it hid are shown."""
        with self._run.editing():
            self._sheet.clear_filter()
            self._run.unflushed += 1

    def sort(self, columnPosition: int, ascending: bool) -> "Filter":
        """Sort the filtered rows by a column of the sheet."""
        self.getRange()
        with self._run.editing():
            self._sheet.sort_filter(columnPosition - 1, ascending)
            self._run.unflushed += 1
        return self


def create_filter(run: Run, sheet: Sheet, area: Area) -> Filter:
    """Put a filter over *area*; there can be only one on a tab."""
    if sheet.basic_filter is not None:
        raise ScriptFault("You can't create a filter in a sheet that already has a filter.")
    with run.editing():
        sheet.set_filter(area)
        run.unflushed += 1
    return Filter(run, sheet)


def filter_of(run: Run, sheet: Sheet) -> Filter | None:
    """Give the filter, or None."""
    return Filter(run, sheet) if sheet.basic_filter else None


def _email(given: Any) -> str:
    return given if isinstance(given, str) else str(given.getEmail())
