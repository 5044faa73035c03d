"""
Judge cells by the conditions of data validations, filters and conditional formats (the API's BooleanCondition).

Formulas and dates are not evaluated: the answer is then None, "cannot say".
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from sandbox.workbook_cells import Cell
from sandbox.workbook_formats import read_typed

_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_URL: Final = re.compile(r"(?:https?|ftp)://\S+|www\.\S+", re.IGNORECASE)

_NUMBER: Final[Mapping[str, Callable[..., bool]]] = {
    "NUMBER_BETWEEN": lambda x, low, high: low <= x <= high,
    "NUMBER_NOT_BETWEEN": lambda x, low, high: not low <= x <= high,
    "NUMBER_EQ": lambda x, n: x == n,
    "NUMBER_NOT_EQ": lambda x, n: x != n,
    "NUMBER_GREATER": lambda x, n: x > n,
    "NUMBER_GREATER_THAN_EQ": lambda x, n: x >= n,
    "NUMBER_LESS": lambda x, n: x < n,
    "NUMBER_LESS_THAN_EQ": lambda x, n: x <= n,
}
_TEXT: Final[Mapping[str, Callable[[str, str], bool]]] = {
    "TEXT_CONTAINS": lambda text, part: part in text,
    "TEXT_NOT_CONTAINS": lambda text, part: part not in text,
    "TEXT_STARTS_WITH": lambda text, part: text.startswith(part),
    "TEXT_ENDS_WITH": lambda text, part: text.endswith(part),
    "TEXT_EQ": lambda text, other: text == other,
    "TEXT_NOT_EQ": lambda text, other: text != other,
}


def fulfils(cell: Cell, condition: Mapping[str, Any]) -> bool | None:
    """Say whether *cell* fulfils *condition*; None when that takes a formula or a date to know."""
    kind = str(condition.get("type", ""))
    texts = [str(one.get("userEnteredValue", "")) for one in condition.get("values") or []]
    shown = cell.formatted
    if kind in _NUMBER:
        limits = [read_typed(text).value for text in texts]
        if not all(isinstance(limit, float) for limit in limits):
            return None
        return isinstance(cell.effective, float) and _NUMBER[kind](cell.effective, *limits)
    if kind in _TEXT:
        return _TEXT[kind](shown.casefold(), texts[0].casefold())
    match kind:
        case "BLANK":
            return shown == ""
        case "NOT_BLANK":
            return shown != ""
        case "ONE_OF_LIST":
            return shown in texts
        case "BOOLEAN":
            return shown in texts if texts else isinstance(cell.effective, bool)
        case "TEXT_IS_EMAIL":
            return bool(_EMAIL.fullmatch(shown))
        case "TEXT_IS_URL":
            return bool(_URL.fullmatch(shown))
        case _:
            return None


def passes(cell: Cell, criteria: Mapping[str, Any]) -> bool:
    """Say whether a filter with these FilterCriteria shows the row of *cell*."""
    if cell.formatted in (criteria.get("hiddenValues") or ()):
        return False
    condition = criteria.get("condition")
    return condition is None or fulfils(cell, condition) is not False


def refusal_of(cell: Cell, name: str) -> str | None:
    """Give Google's sentence when what *cell* (called *name*) holds is rejected by its own validation, else None."""
    rule = cell.validation
    if not rule or not rule.get("strict") or cell.user_entered is None:  # clearing a cell is always allowed
        return None
    condition = rule.get("condition") or {}
    if fulfils(cell, condition) is not False:
        return None
    if rule.get("inputMessage"):
        return str(rule["inputMessage"])
    sentence = f"The data you entered in cell {name} violates the data validation rules set on this cell."
    if condition.get("type") != "ONE_OF_LIST":
        return sentence
    allowed = ", ".join(str(one.get("userEnteredValue", "")) for one in condition.get("values") or [])
    return f"{sentence} Please enter one of the following values: {allowed}."
