"""
Say what a cell holds, what it is worth and what it shows.

A cell keeps what was entered (text, number, boolean, formula); everything else is derived. Numbers are floats,
as in Sheets; a date is a number (days since 1899-12-30 in the workbook's own time zone) with a date format.
Formats and validations are kept in the words of the Sheets API v4 (`CellFormat`, `DataValidationRule`), so nothing is
lost between the API, the script and the page. Never change such a mapping in place.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from sandbox.workbook_formats import display

#: The API's limit and its sentence (support.google.com/drive/answer/37603).
MAX_CELL_CHARS: Final = 50_000
TOO_LONG: Final = "Your input contains more than the maximum of 50000 characters in a single cell."

_EPOCH: Final = datetime(1899, 12, 30)
_IMAGE: Final = re.compile(
    r'^=\s*IMAGE\s*\(\s*"((?:[^"]|"")*)"\s*(?:[,;]\s*(\d+)\s*(?:[,;]\s*\d+\s*[,;]\s*\d+\s*)?)?\)\s*$', re.IGNORECASE
)
_FETCHING: Final = re.compile(r"\bIMPORT(?:XML|DATA|HTML|FEED|RANGE)\s*\(|\bIMAGE\s*\(", re.IGNORECASE)
_CALL: Final = re.compile(r"^=\s*[+-]?\s*[A-Za-z_][A-Za-z0-9_.]*\s*(?:\(.*\))?\s*$", re.DOTALL)
_SHOWN: Final = {
    "ERROR": "#ERROR!", "NULL_VALUE": "#NULL!", "DIVIDE_BY_ZERO": "#DIV/0!", "VALUE": "#VALUE!", "REF": "#REF!",
    "NAME": "#NAME?", "NUM": "#NUM!", "N_A": "#N/A", "LOADING": "Loading...",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Formula:
    """Hold a formula as entered; *text* starts with "="."""

    text: str


@dataclass(frozen=True, slots=True)
class Picture:
    """Be the value of IMAGE(): the address and the mode (1 fit, 2 stretch, 3 original, 4 custom)."""

    url: str
    mode: int = 1


@dataclass(frozen=True, slots=True)
class CellError:
    """Be the value of a formula that failed; *type* is an `ErrorValue.type` of the API."""

    type: str
    message: str

    @property
    def shown(self) -> str:
        """Give the cell's text, such as #REF!."""
        return _SHOWN[self.type]


Value = str | float | bool | Formula | None
Effective = str | float | bool | Picture | CellError | None
Format = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Cell:
    """Hold one cell; the empty cell is `Cell()`."""

    user_entered: Value = None
    note: str | None = None
    format: Format | None = None
    validation: Mapping[str, Any] | None = None
    #: The workbook's gate at the time of reading; the workbook keeps it right (see Workbook.allow_external_images).
    images_allowed: bool = False

    @property
    def effective(self) -> Effective:
        """Give the value after evaluation."""
        if isinstance(self.user_entered, Formula):
            return evaluate(self.user_entered, images_allowed=self.images_allowed)
        return self.user_entered

    @property
    def formatted(self) -> str:
        """Give the text that the cell shows; "" for an empty cell and for a picture."""
        match self.effective:
            case None | Picture():
                return ""
            case CellError() as error:
                return error.shown
            case value:
                return display(value, self.number_format)

    @property
    def formula(self) -> str | None:
        """Give the formula's text, or None when the cell has none."""
        return self.user_entered.text if isinstance(self.user_entered, Formula) else None

    @property
    def image_url(self) -> str | None:
        """Give the address of the picture in the cell, or None when there is none (or the gate is closed)."""
        value = self.effective
        return value.url if isinstance(value, Picture) else None

    @property
    def number_format(self) -> str | None:
        """Give the number format's pattern, or None for automatic."""
        entry = (self.format or {}).get("numberFormat") or {}
        pattern: str | None = entry.get("pattern") or _DEFAULT_PATTERNS.get(entry.get("type", ""))
        return pattern

    @property
    def number_type(self) -> str | None:
        """Give the number format's `NumberFormat.type` (DATE, TEXT, ...), or None for automatic."""
        kind: str | None = ((self.format or {}).get("numberFormat") or {}).get("type")
        return kind

    @property
    def is_date(self) -> bool:
        """Say whether the cell holds a number that is shown as a date or a date with time."""
        return isinstance(self.user_entered, float) and self.number_type in ("DATE", "DATE_TIME")

    @property
    def background(self) -> str | None:
        """Give the background as #rrggbb, or None for the default white."""
        form = self.format or {}
        return hex_of((form.get("backgroundColorStyle") or {}).get("rgbColor") or form.get("backgroundColor"))


_DEFAULT_PATTERNS: Final = {
    "TEXT": "@", "NUMBER": "#,##0.00", "PERCENT": "0.00%", "CURRENCY": "$#,##0.00", "DATE": "m/d/yyyy",
    "TIME": "h:mm:ss am/pm", "DATE_TIME": "m/d/yyyy h:mm:ss", "SCIENTIFIC": "0.00E+00",
}  # fmt: skip


def evaluate(formula: Formula, *, images_allowed: bool) -> Picture | CellError:
    """
    Evaluate *formula*: IMAGE with a literal address is a picture, everything else an error as Sheets would show one.

    While *images_allowed* is false every function that fetches is #REF!, as before somebody pressed "Allow access".
    """
    if _FETCHING.search(formula.text) and not images_allowed:
        return CellError("REF", "Access to external URLs must be allowed in this spreadsheet.")
    found = _IMAGE.match(formula.text)
    if found:
        url, mode = found[1].replace('""', '"'), int(found[2] or 1)
        if not re.match(r"https?://", url):
            return CellError("VALUE", "IMAGE needs an http or https URL.")  # data: URLs do not work in Sheets either
        return Picture(url, mode) if 1 <= mode <= 4 else CellError("VALUE", "IMAGE's mode is a number from 1 to 4.")
    if _FETCHING.search(formula.text):
        return CellError("N_A", "Could not fetch the URL.")
    if _CALL.match(formula.text):
        return CellError("NAME", "Unknown function or name.")
    return CellError("ERROR", "Formula parse error.")


def hex_of(colour: Mapping[str, Any] | None) -> str | None:
    """Turn an API `Color` (parts 0..1, absent = 0) into #rrggbb; None stays None."""
    if colour is None:
        return None
    return "#" + "".join(f"{round(255 * float(colour.get(part, 0))):02x}" for part in ("red", "green", "blue"))


def colour_of(hex_text: str) -> dict[str, float]:
    """Turn #rrggbb into an API `Color`."""
    red, green, blue = (int(hex_text[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return {"red": red, "green": green, "blue": blue}


def serial_of(moment: datetime, time_zone: str) -> float:
    """Turn an aware *moment* into the serial number (days) that Sheets keeps in a workbook of *time_zone*."""
    return (moment.astimezone(ZoneInfo(time_zone)).replace(tzinfo=None) - _EPOCH) / timedelta(days=1)


def moment_of(serial: float, time_zone: str) -> datetime:
    """Turn a serial number of a workbook of *time_zone* into an aware datetime, exact to the millisecond."""
    return (_EPOCH + timedelta(milliseconds=round(serial * 86_400_000))).replace(tzinfo=ZoneInfo(time_zone))


def cell_to_json(cell: Cell) -> dict[str, Any]:
    """Turn *cell* into plain JSON values, absent parts left out."""
    formula = cell.formula
    kept = {
        "formula": formula,
        "value": None if formula is not None else cell.user_entered,
        "note": cell.note,
        "format": cell.format,
        "validation": cell.validation,
    }
    return {name: part for name, part in kept.items() if part is not None}


def cell_from_json(kept: Mapping[str, Any], *, images_allowed: bool) -> Cell:
    """Turn what `cell_to_json` gave back into a cell."""
    value = Formula(kept["formula"]) if "formula" in kept else kept.get("value")
    return Cell(value, kept.get("note"), kept.get("format"), kept.get("validation"), images_allowed)
