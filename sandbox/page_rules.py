"""Say in a sentence what a data validation finds wrong with a cell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sandbox.workbook import Cell
from sandbox.workbook_conditions import fulfils

_WORDS: Final = {
    "ONE_OF_LIST": "Input must be an item on the specified list",
    "BOOLEAN": "Input must be a checkbox value",
    "NUMBER_GREATER": "Input must be a number greater than {0}",
    "NUMBER_GREATER_THAN_EQ": "Input must be a number greater than or equal to {0}",
    "NUMBER_LESS": "Input must be a number less than {0}",
    "NUMBER_LESS_THAN_EQ": "Input must be a number less than or equal to {0}",
    "NUMBER_EQ": "Input must be a number equal to {0}",
    "NUMBER_NOT_EQ": "Input must be a number not equal to {0}",
    "NUMBER_BETWEEN": "Input must be a number between {0} and {1}",
    "NUMBER_NOT_BETWEEN": "Input must be a number not between {0} and {1}",
    "TEXT_CONTAINS": 'Input must contain "{0}"',
    "TEXT_NOT_CONTAINS": 'Input must not contain "{0}"',
    "TEXT_EQ": 'Input must be "{0}"',
    "TEXT_IS_EMAIL": "Input must be an e-mail address",
    "TEXT_IS_URL": "Input must be a URL",
}


def fault_of(rule: Mapping[str, Any], cell: Cell) -> str | None:
    """Say what *rule* (a DataValidationRule) finds wrong with *cell*; None when it is fine. Empty cells are."""
    if cell.user_entered is None:
        return None
    condition = rule.get("condition") or {}
    if fulfils(cell, condition) is not False:
        return None
    given = [str(one.get("userEnteredValue", "")) for one in condition.get("values") or ()]
    words = _WORDS.get(str(condition.get("type")), "The cell's contents violate its validation rule")
    return words.format(*given, "", "")
