"""
Turn typed text into values and values into shown text, as Sheets does for the en_US locale.

Only what a render queue meets is covered: numbers, percents, dates, times, booleans. Where Google's exact rule is not
published the pessimistic one is taken: text that may become a formula does.
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

DATE: Final = "m/d/yyyy"
ISO_DATE: Final = "yyyy-mm-dd"
TIME: Final = "h:mm:ss am/pm"

_EPOCH: Final = datetime(1899, 12, 30)
_NUMBER: Final = re.compile(r"^([+-]?)(\$?)((?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d*)?(?:[eE][+-]?\d+)?)(%?)$")
_CLOCK: Final = r"(\d{1,2}):(\d{1,2})(?::(\d{1,2}(?:\.\d+)?))?\s*([AaPp][Mm])?"
_WHEN: Final = re.compile(
    rf"^(?:(\d{{4}})[-/](\d{{1,2}})[-/](\d{{1,2}})|(\d{{1,2}})[-/](\d{{1,2}})(?:[-/](\d{{4}}|\d{{2}}))?)?(?:\s*{_CLOCK})?$"
)
_TOKEN: Final = re.compile(r'"[^"]*"|\\.|am/pm|a/p|y+|m+|d+|h+|s+|\.0+|.', re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Typed:
    """Hold what typing a text leaves: plain value, or a formula's text, and the number format that came with it."""

    value: str | float | bool | None
    is_formula: bool = False
    #: (NumberFormat.type, pattern), or None when typing sets no format.
    number_format: tuple[str, str] | None = None


def read_typed(text: str, *, today: date | None = None) -> Typed:
    """Read *text* as if a person typed it into a cell of automatic format; "" is the empty cell."""
    if text == "":
        return Typed(None)
    if text.startswith("'"):
        return Typed(text[1:])
    if text.startswith("=") and len(text) > 1:
        return Typed(text, is_formula=True)
    stripped = text.strip()
    if stripped.upper() in ("TRUE", "FALSE"):
        return Typed(stripped.upper() == "TRUE")
    number = _read_number(stripped) or _read_when(stripped, today or datetime.now(UTC).date())
    if number:
        return number
    if text[0] in "+-@" and len(text) > 1:
        return Typed("=" + text, is_formula=True)
    return Typed(text)


def _read_number(text: str) -> Typed | None:
    found = _NUMBER.match(text)
    if not found or not re.search(r"\d", found[3]) or found[3][0] in "eE":
        return None
    sign, dollar, digits, percent = found.groups()
    value = float(digits.replace(",", "")) * (-1 if sign == "-" else 1)
    decimals = "." in digits
    if value in (float("inf"), float("-inf")):
        return None
    if percent:
        return Typed(value / 100, number_format=("PERCENT", "0.00%" if decimals else "0%"))
    if dollar:
        return Typed(value, number_format=("CURRENCY", '"$"#,##0.00' if decimals else '"$"#,##0'))
    if "e" in digits.lower():
        return Typed(value, number_format=("SCIENTIFIC", "0.00E+00"))
    if "," in digits:
        return Typed(value, number_format=("NUMBER", "#,##0.00" if decimals else "#,##0"))
    return Typed(value)


def _read_when(text: str, today: date) -> Typed | None:
    found = _WHEN.match(text)
    if not found or not text:
        return None
    iso_year, iso_month, iso_day, month, day, year, hour, minute, second, half = found.groups()
    try:
        seconds = timedelta(0) if hour is None else _clock(int(hour), int(minute), float(second or 0), half)
        if iso_year or month:
            full_year = int(iso_year or year or today.year)
            full_year += 2000 if full_year < 100 else 0
            at = datetime(full_year, int(iso_month or month), int(iso_day or day)) + seconds
            pattern = ISO_DATE if iso_year else DATE
            kind = ("DATE", pattern) if hour is None else ("DATE_TIME", pattern + " h:mm:ss")
            return Typed((at - _EPOCH) / timedelta(days=1), number_format=kind)
    except ValueError:  # no such day or hour: it stays text, as in Sheets
        return None
    return Typed(seconds / timedelta(days=1), number_format=("TIME", TIME)) if hour is not None else None


def _clock(hour: int, minute: int, second: float, half: str | None) -> timedelta:
    if hour > (12 if half else 23) or minute > 59 or second >= 60:
        raise ValueError("no such time")
    if half:
        hour = hour % 12 + (12 if half.lower() == "pm" else 0)
    return timedelta(hours=hour, minutes=minute, seconds=second)


def display(value: str | float | bool, pattern: str | None) -> str:
    """Give the text a cell shows for *value* under the number format *pattern* (None = automatic)."""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, str):
        return value
    if pattern is None or pattern in ("@", "General"):
        return _automatic(value)
    bare = re.sub(r'"[^"]*"|\\.', "", pattern)
    if re.search(r"[ymdhs]", bare, re.IGNORECASE):
        return _show_when(value, pattern)
    return _show_number(value, pattern.split(";")[0])


def _automatic(value: float) -> str:
    # Automatic shows up to 15 digits of a whole number, else about 10 significant ones.
    if value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if 1e-5 <= abs(value) < 1e15:
        decimals = max(0, 10 - len(str(int(abs(value))).lstrip("0")))
        shown = f"{value:.{decimals}f}"
        return shown.rstrip("0").rstrip(".") if decimals else shown
    mantissa, _, exponent = f"{value:.5E}".partition("E")
    return f"{mantissa.rstrip('0').rstrip('.')}E{exponent[0]}{exponent[1:].zfill(2)}"


def _show_number(value: float, pattern: str) -> str:
    literal = re.sub(r"\\(.)", r"\1", pattern.replace('"', ""))
    found = re.search(r"[#0,]*[#0](?:\.[#0]*)?(E\+0+)?%?", literal)
    if not found:
        return literal
    shape = found[0]
    decimals = re.search(r"\.([#0]*)", shape)
    places = len(decimals[1]) if decimals else 0
    if found[1]:
        shown = f"{value:.{places}E}"
    else:
        grouped = "," if "," in shape else ""
        shown = f"{value * (100 if shape.endswith('%') else 1):{grouped}.{places}f}"
        optional = len(decimals[1]) - len(decimals[1].rstrip("#")) if decimals else 0
        for _ in range(optional):
            shown = shown.removesuffix("0")
        shown = shown.rstrip(".") + ("%" if shape.endswith("%") else "")
    return literal[: found.start()] + shown + literal[found.end() :]


def _show_when(serial: float, pattern: str) -> str:
    try:
        at = _EPOCH + timedelta(milliseconds=round(serial * 86_400_000))
    except OverflowError:
        return _automatic(serial)  # no calendar has that day; what Google shows then is unchecked
    tokens = _TOKEN.findall(pattern)
    twelve = any(token.lower() in ("am/pm", "a/p") for token in tokens)
    return "".join(_show_part(at, tokens, place, twelve=twelve) for place in range(len(tokens)))


def _show_part(at: datetime, tokens: list[str], place: int, *, twelve: bool) -> str:
    token = tokens[place]
    low, size = token.lower(), len(token)
    hour = (at.hour % 12 or 12) if twelve else at.hour
    if low[0] == "m" and _means_minute(tokens, place):
        return f"{at.minute:0{min(size, 2)}d}"
    match low[0]:
        case '"' | "\\":
            return token.strip('"') if low[0] == '"' else token[1:]
        case "a" if low in ("am/pm", "a/p"):
            return at.strftime("%p")[: 2 if low == "am/pm" else 1]
        case "y":
            return f"{at.year:04d}" if size > 2 else f"{at.year % 100:02d}"
        case "m":
            return [str(at.month), f"{at.month:02d}", at.strftime("%b"), at.strftime("%B")][min(size, 4) - 1]
        case "d":
            return [str(at.day), f"{at.day:02d}", at.strftime("%a"), at.strftime("%A")][min(size, 4) - 1]
        case "h":
            return f"{hour:0{min(size, 2)}d}"
        case "s":
            return f"{at.second:0{min(size, 2)}d}"
        case "." if size > 1:
            return f"{at.microsecond / 1e6:.{size - 1}f}"[1:]
        case _:
            return token


def _means_minute(tokens: list[str], place: int) -> bool:
    """Say whether the m's at *place* stand for minutes: right after hours or right before seconds."""
    before = next((t[0].lower() for t in reversed(tokens[:place]) if t[0].isalpha()), "")
    after = next((t[0].lower() for t in tokens[place + 1 :] if t[0].isalpha()), "")
    return len(tokens[place]) <= 2 and (before == "h" or after == "s")
