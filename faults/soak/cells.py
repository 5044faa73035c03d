"""Compare a sheet's cells with what completion should have written, and find what no cell may hold."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from chalicelib.cells import Cell, Image, Number, Text
from sandbox.workbook import Formula

HIDDEN: Final = re.compile(r"Traceback|X-Amz-Signature|PRIVATE KEY|AKIA|\bFile \"")


def agrees(shown: Any, cell: Cell) -> bool:
    """Say whether a cell of the sheet holds what is to be written there."""
    if isinstance(cell, Image):
        return str(shown.image_url) == cell.url
    if isinstance(cell, Number):
        return str(shown.formatted) == str(cell.number)
    return not isinstance(cell, Text) or str(shown.formatted) == cell.text


def shown_text(cell: Any) -> str:
    return str(cell.image_url or cell.formatted)


def unfit(number: int, shown: Mapping[str, Any]) -> list[str]:
    """Say what a cell holds that no cell may: a trace, a secret, a formula that is not our picture."""
    wrong = []
    for header, cell in shown.items():
        entered = cell.user_entered
        if isinstance(entered, Formula) and not entered.text.startswith('=IMAGE("http'):
            wrong.append(f"{header} of row {number + 1} holds a formula: {entered.text[:60]}")
        if HIDDEN.search(str(cell.formatted)):
            wrong.append(f"{header} of row {number + 1} holds what nobody should read: {str(cell.formatted)[:80]}")
    return wrong
