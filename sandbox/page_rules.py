"""Judge a cell by its data validation, as Sheets does, in a sentence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from sandbox.workbook import Cell

_NUMBERS: Final[dict[str, tuple[Callable[..., bool], str]]] = {
    "NUMBER_GREATER": (lambda value, low: value > low, "greater than {0}"),
    "NUMBER_GREATER_THAN_EQ": (lambda value, low: value >= low, "greater than or equal to {0}"),
    "NUMBER_LESS": (lambda value, high: value < high, "less than {0}"),
    "NUMBER_LESS_THAN_EQ": (lambda value, high: value <= high, "less than or equal to {0}"),
    "NUMBER_EQ": (lambda value, wanted: value == wanted, "equal to {0}"),
    "NUMBER_NOT_EQ": (lambda value, wrong: value != wrong, "not equal to {0}"),
    "NUMBER_BETWEEN": (lambda value, low, high: low <= value <= high, "between {0} and {1}"),
    "NUMBER_NOT_BETWEEN": (lambda value, low, high: not low <= value <= high, "not between {0} and {1}"),
}
_TEXTS: Final[dict[str, tuple[Callable[[str, str], bool], str]]] = {
    "TEXT_CONTAINS": (lambda text, part: part in text, 'contain "{0}"'),
    "TEXT_NOT_CONTAINS": (lambda text, part: part not in text, 'not contain "{0}"'),
    "TEXT_EQ": (lambda text, wanted: text == wanted, 'be "{0}"'),
}


def fault_of(rule: Mapping[str, Any], cell: Cell) -> str | None:
    """Say what *rule* (a DataValidationRule) finds wrong with *cell*; None when it is fine. Empty cells are."""
    if cell.user_entered is None:
        return None
    condition = rule.get("condition") or {}
    kind = condition.get("type", "")
    given = [str(one.get("userEnteredValue", "")) for one in condition.get("values") or ()]
    if kind == "ONE_OF_LIST":
        return None if cell.formatted in given else "Input must be an item on the specified list"
    if kind == "BOOLEAN":
        allowed = given or ["TRUE", "FALSE"]
        return None if cell.formatted in allowed else "Input must be a checkbox value"
    if kind in _NUMBERS:
        return _number_fault(*_NUMBERS[kind], cell, given)
    if kind in _TEXTS:
        holds, words = _TEXTS[kind]
        part = given[0] if given else ""
        return None if holds(cell.formatted.casefold(), part.casefold()) else f"Input must {words.format(part)}"
    return None  # rules by formula are not evaluated here


def help_of(rule: Mapping[str, Any], fault: str) -> str:
    """Give the rule's own help text, or else what is wrong."""
    return str(rule.get("inputMessage") or "") or fault


def _number_fault(holds: Callable[..., bool], words: str, cell: Cell, given: list[str]) -> str | None:
    value = cell.effective
    try:
        bounds = [float(one) for one in given]
    except ValueError:
        return None  # a bound by formula is not evaluated here
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"Input must be a number {words.format(*given)}"
    return None if holds(value, *bounds) else f"Input must be {words.format(*given)}"
