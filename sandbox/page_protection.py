"""Say who may edit protected cells. The owner of the spreadsheet always may, as at Google's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sandbox.workbook import Protected, Sheet

OWNER: Final = "user@example.com"
REFUSAL: Final = (
    "You are trying to edit a protected cell or object. Please contact the spreadsheet owner to remove protection if "
    "you need to edit."
)


class Refused(ValueError):
    """Be an edit that Sheets does not let happen, in its sentence."""


def may_edit(protected: Protected, user: str) -> bool:
    """Say whether *user* may edit what *protected* guards; a warning stops nobody."""
    return protected.warning_only or user == OWNER or user in protected.editors


def check(sheet: Sheet, places: Iterable[tuple[int, int]], user: str) -> None:
    """Raise Refused when one of *places* is protected against *user*."""
    against = [one for one in sheet.protected if not may_edit(one, user)]
    if against and any(one.area.holds(row, col) for row, col in places for one in against):
        raise Refused(REFUSAL)
