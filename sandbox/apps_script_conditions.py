"""
Be data validations and conditional formats: rules over cells, and the builders that make them.

Rules are kept in the API's words (`DataValidationRule`, `BooleanRule`), so that the API and the page see what a script
made and a script what the API made.
"""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, Final

from sandbox.apps_script_colours import read_colour
from sandbox.apps_script_host import Choice, Face, ScriptFault
from sandbox.workbook import colour_of, hex_of

_NUMBERS: Final = {
    "NUMBER_BETWEEN": "NUMBER_BETWEEN", "NUMBER_NOT_BETWEEN": "NUMBER_NOT_BETWEEN",
    "NUMBER_EQUAL_TO": "NUMBER_EQ", "NUMBER_NOT_EQUAL_TO": "NUMBER_NOT_EQ",
    "NUMBER_GREATER_THAN": "NUMBER_GREATER", "NUMBER_GREATER_THAN_OR_EQUAL_TO": "NUMBER_GREATER_THAN_EQ",
    "NUMBER_LESS_THAN": "NUMBER_LESS", "NUMBER_LESS_THAN_OR_EQUAL_TO": "NUMBER_LESS_THAN_EQ",
}  # fmt: skip
_TEXTS: Final = {
    "TEXT_CONTAINS": "TEXT_CONTAINS", "TEXT_DOES_NOT_CONTAIN": "TEXT_NOT_CONTAINS", "TEXT_EQUAL_TO": "TEXT_EQ",
}  # fmt: skip
#: DataValidationCriteria and BooleanCriteria -> ConditionType of the API; dates are not emulated.
VALIDATIONS: Final = {
    **_NUMBERS, **_TEXTS, "TEXT_IS_VALID_EMAIL": "TEXT_IS_EMAIL", "TEXT_IS_VALID_URL": "TEXT_IS_URL",
    "VALUE_IN_LIST": "ONE_OF_LIST", "VALUE_IN_RANGE": "ONE_OF_RANGE", "CUSTOM_FORMULA": "CUSTOM_FORMULA",
    "CHECKBOX": "BOOLEAN", "DATE_IS_VALID_DATE": "DATE_IS_VALID",
}  # fmt: skip
BOOLEANS: Final = {
    **_NUMBERS, **_TEXTS, "TEXT_STARTS_WITH": "TEXT_STARTS_WITH", "TEXT_ENDS_WITH": "TEXT_ENDS_WITH",
    "CELL_EMPTY": "BLANK", "CELL_NOT_EMPTY": "NOT_BLANK", "CUSTOM_FORMULA": "CUSTOM_FORMULA",
}  # fmt: skip
Rule = Mapping[str, Any]


def condition(kind: str, *values: Any) -> dict[str, Any]:
    """Make the API's BooleanCondition."""
    if not values:
        return {"type": kind}
    return {"type": kind, "values": [{"userEnteredValue": _entered(value)} for value in values]}


def values_of(given: Rule) -> list[Any]:
    """Give a condition's values as a script has them: numbers as numbers."""
    texts = [one.get("userEnteredValue", "") for one in given.get("values") or []]
    return [_number(text) for text in texts] if str(given.get("type", "")).startswith("NUMBER") else texts


def _entered(value: Any) -> str:
    match value:
        case bool():
            return "TRUE" if value else "FALSE"
        case float() if value.is_integer():
            return str(int(value))
        case date() | datetime():
            raise ScriptFault("A date in a rule is not emulated")
        case _:
            return str(value)


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text  # a formula


class _Validated(Face):
    """Be what a validation and its builder have in common."""

    def __init__(self, rule: Rule | None = None) -> None:
        """Look at the API's *rule*; a new one warns and does not reject."""
        self._rule: dict[str, Any] = dict(rule or {})

    def getAllowInvalid(self) -> bool:
        """Say whether a wrong value only gets a warning."""
        return not self._rule.get("strict")

    def getCriteriaType(self) -> Choice | None:
        """Give the kind of the rule."""
        kind = (self._rule.get("condition") or {}).get("type")
        name = next((name for name, word in VALIDATIONS.items() if word == kind), None)
        if kind is not None and name is None:
            raise ScriptFault(f"DataValidation.getCriteriaType of {kind} is not emulated")
        return Choice("DataValidationCriteria", name) if name else None

    def getCriteriaValues(self) -> list[Any]:
        """Give what the rule compares with; for a list: the list and whether it is a dropdown."""
        given = self._rule.get("condition") or {}
        values = values_of(given)
        return [values, bool(self._rule.get("showCustomUi"))] if given.get("type") == "ONE_OF_LIST" else values

    def getHelpText(self) -> str | None:
        """Give the text that is shown with a wrong value; null when there is none."""
        text: str | None = self._rule.get("inputMessage")
        return text

    def copy(self) -> "DataValidationBuilder":
        """Begin a rule from this one."""
        return DataValidationBuilder(self._rule)


class DataValidation(_Validated):
    """Be a rule for what a cell may hold."""

    NAME = "DataValidation"


class DataValidationBuilder(_Validated):
    """Be a rule in the making."""

    NAME = "DataValidationBuilder"

    def build(self) -> DataValidation:
        """Give the rule."""
        if "condition" not in self._rule:
            raise ScriptFault("A data validation rule without criteria is not emulated")
        return DataValidation(self._rule)

    def requireValueInList(self, values: list, showDropdown: bool = True) -> "DataValidationBuilder":  # type: ignore[type-arg]
        """Allow the items of a list; 500 at most."""
        if len(values) > 500:
            raise ScriptFault("A data validation rule has at most 500 items in its list.")
        return self._require("ONE_OF_LIST", *values, dropdown=showDropdown)

    def requireCheckbox(self) -> "DataValidationBuilder":
        """Allow TRUE and FALSE, shown as a checkbox."""
        return self._require("BOOLEAN")

    def requireNumberBetween(self, start: float, end: float) -> "DataValidationBuilder":
        """Allow numbers from *start* to *end*, both included."""
        return self._require("NUMBER_BETWEEN", start, end)

    def requireNumberEqualTo(self, number: float) -> "DataValidationBuilder":
        """Allow one number."""
        return self._require("NUMBER_EQ", number)

    def requireNumberGreaterThan(self, number: float) -> "DataValidationBuilder":
        """Allow what is more."""
        return self._require("NUMBER_GREATER", number)

    def requireNumberGreaterThanOrEqualTo(self, number: float) -> "DataValidationBuilder":
        """Allow what is as much or more."""
        return self._require("NUMBER_GREATER_THAN_EQ", number)

    def requireNumberLessThan(self, number: float) -> "DataValidationBuilder":
        """Allow what is less."""
        return self._require("NUMBER_LESS", number)

    def requireNumberLessThanOrEqualTo(self, number: float) -> "DataValidationBuilder":
        """Allow what is as much or less."""
        return self._require("NUMBER_LESS_THAN_EQ", number)

    def requireTextContains(self, text: str) -> "DataValidationBuilder":
        """Allow texts with *text* in them."""
        return self._require("TEXT_CONTAINS", text)

    def requireTextEqualTo(self, text: str) -> "DataValidationBuilder":
        """Allow this text alone."""
        return self._require("TEXT_EQ", text)

    def requireTextIsUrl(self) -> "DataValidationBuilder":
        """Allow addresses."""
        return self._require("TEXT_IS_URL")

    def requireFormulaSatisfied(self, formula: str) -> "DataValidationBuilder":
        """Allow what makes the formula true; the sandbox evaluates no such formula and lets everything pass."""
        return self._require("CUSTOM_FORMULA", formula)

    def setAllowInvalid(self, allowInvalidData: bool) -> "DataValidationBuilder":
        """Warn (true) or reject (false)."""
        self._rule["strict"] = not allowInvalidData
        return self

    def setHelpText(self, helpText: str) -> "DataValidationBuilder":
        """Set the text that is shown with a wrong value."""
        self._rule["inputMessage"] = helpText
        return self

    def _require(self, kind: str, *values: Any, dropdown: bool = False) -> "DataValidationBuilder":
        self._rule.pop("showCustomUi", None)
        self._rule["condition"] = condition(kind, *values)
        if dropdown:
            self._rule["showCustomUi"] = True
        return self


class BooleanCondition(Face):
    """Be when a conditional format applies, and what it looks like."""

    NAME = "BooleanCondition"

    def __init__(self, rule: Rule) -> None:
        """Look at the API's BooleanRule."""
        self._rule = rule

    def getCriteriaType(self) -> Choice:
        """Give the kind."""
        kind = self._rule["condition"].get("type")
        name = next((name for name, word in BOOLEANS.items() if word == kind), None)
        if name is None:
            raise ScriptFault(f"BooleanCondition.getCriteriaType of {kind} is not emulated")
        return Choice("BooleanCriteria", name)

    def getCriteriaValues(self) -> list[Any]:
        """Give what it compares with."""
        return values_of(self._rule["condition"])

    def getBackground(self) -> str | None:
        """Give the background, or null."""
        return _colour(self._rule.get("format") or {}, "backgroundColor")

    def getFontColor(self) -> str | None:
        """Give the text's colour, or null."""
        return _colour((self._rule.get("format") or {}).get("textFormat") or {}, "foregroundColor")

    def getBold(self) -> bool | None:
        """Say whether the text is bold; null: as it is."""
        bold: bool | None = ((self._rule.get("format") or {}).get("textFormat") or {}).get("bold")
        return bold


def _colour(form: Rule, name: str) -> str | None:
    return hex_of((form.get(f"{name}Style") or {}).get("rgbColor") or form.get(name))


class _Conditional(Face):
    """Be what a conditional format rule and its builder have in common."""

    def __init__(self, rule: Rule, ranges: list[Face]) -> None:
        """Look at the API's *rule* (without ranges) and where it applies."""
        self._rule: dict[str, Any] = dict(rule)
        self._ranges = ranges

    def getRanges(self) -> list[Face]:
        """Say where it applies."""
        return list(self._ranges)

    def getBooleanCondition(self) -> BooleanCondition | None:
        """Give the condition; null for a colour scale."""
        found = self._rule.get("booleanRule")
        return BooleanCondition(found) if found else None

    def getGradientCondition(self) -> None:
        """Give null: a colour scale is not emulated."""
        if self._rule.get("gradientRule"):
            raise ScriptFault("ConditionalFormatRule.getGradientCondition is not emulated")

    def copy(self) -> "ConditionalFormatRuleBuilder":
        """Begin a rule from this one."""
        return ConditionalFormatRuleBuilder(self._rule, list(self._ranges))


class ConditionalFormatRule(_Conditional):
    """Be a conditional format."""

    NAME = "ConditionalFormatRule"


class ConditionalFormatRuleBuilder(_Conditional):
    """Be a conditional format in the making."""

    NAME = "ConditionalFormatRuleBuilder"

    def build(self) -> ConditionalFormatRule:
        """Give the rule."""
        if not self._ranges:
            raise ScriptFault("ConditionalFormatRuleBuilder.build needs setRanges first.")
        if "condition" not in self._boolean():
            raise ScriptFault("ConditionalFormatRuleBuilder.build needs a condition first.")
        return ConditionalFormatRule(self._rule, self._ranges)

    def setRanges(self, ranges: list) -> "ConditionalFormatRuleBuilder":  # type: ignore[type-arg]
        """Say where it applies."""
        if not all(isinstance(one, Face) and one.NAME == "Range" for one in ranges):
            raise ScriptFault(
                "The parameters (Array) don't match the method signature for ConditionalFormatRuleBuilder.setRanges."
            )
        self._ranges = list(ranges)
        return self

    def setBackground(self, color: str | None) -> "ConditionalFormatRuleBuilder":
        """Set the background; null leaves it."""
        return self._form({"backgroundColor": colour_of(read_colour(color)) if color else None})

    def setFontColor(self, color: str | None) -> "ConditionalFormatRuleBuilder":
        """Set the text's colour; null leaves it."""
        return self._text("foregroundColor", colour_of(read_colour(color)) if color else None)

    def setBold(self, bold: bool | None) -> "ConditionalFormatRuleBuilder":
        """Make the text bold; null leaves it."""
        return self._text("bold", bold)

    def setItalic(self, italic: bool | None) -> "ConditionalFormatRuleBuilder":
        """Make the text italic; null leaves it."""
        return self._text("italic", italic)

    def setStrikethrough(self, strikethrough: bool | None) -> "ConditionalFormatRuleBuilder":
        """Strike the text through; null leaves it."""
        return self._text("strikethrough", strikethrough)

    def whenTextEqualTo(self, text: str) -> "ConditionalFormatRuleBuilder":
        """Apply to this text."""
        return self._when("TEXT_EQ", text)

    def whenTextContains(self, text: str) -> "ConditionalFormatRuleBuilder":
        """Apply to texts with *text* in them."""
        return self._when("TEXT_CONTAINS", text)

    def whenTextStartsWith(self, text: str) -> "ConditionalFormatRuleBuilder":
        """Apply to texts that begin with *text*."""
        return self._when("TEXT_STARTS_WITH", text)

    def whenCellEmpty(self) -> "ConditionalFormatRuleBuilder":
        """Apply to empty cells."""
        return self._when("BLANK")

    def whenCellNotEmpty(self) -> "ConditionalFormatRuleBuilder":
        """Apply to cells that hold something."""
        return self._when("NOT_BLANK")

    def whenFormulaSatisfied(self, formula: str) -> "ConditionalFormatRuleBuilder":
        """Apply where the formula, written for the first cell of the ranges, is true."""
        if not formula.startswith("="):
            raise ScriptFault("Conditional format rule cannot reference a different sheet or an invalid formula.")
        return self._when("CUSTOM_FORMULA", formula)

    def _boolean(self) -> dict[str, Any]:
        return dict(self._rule.get("booleanRule") or {})

    def _when(self, kind: str, *values: Any) -> "ConditionalFormatRuleBuilder":
        self._rule["booleanRule"] = {**self._boolean(), "condition": condition(kind, *values)}
        return self

    def _form(self, parts: dict[str, Any]) -> "ConditionalFormatRuleBuilder":
        rule = self._boolean()
        form = {**(rule.get("format") or {}), **parts}
        kept = {name: part for name, part in form.items() if part is not None}
        self._rule["booleanRule"] = {**rule, "format": kept}
        return self

    def _text(self, name: str, part: Any) -> "ConditionalFormatRuleBuilder":
        text = {**((self._boolean().get("format") or {}).get("textFormat") or {}), name: part}
        kept = {name: part for name, part in text.items() if part is not None}
        return self._form({"textFormat": kept or None})
