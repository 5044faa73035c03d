"""
Judge one value: a cell's 20, 20.0 or "20" is a whole number, "#33aaff" a colour, and so on.

Faults are ValueErrors whose text goes on after the column's name: "must be a whole number from 1 to 150, not …".
"""

from __future__ import annotations

import difflib
import math
import re
from typing import Final

from chalicelib.contract.media import MEDIA, source_of
from chalicelib.contract.parameter import NAMES, NO_LORA, Parameter
from chalicelib.contract.size import size_of
from chalicelib.contract.words import fold

MAX_SEED: Final = 2**64 - 1

_YES: Final = frozenset({"true", "yes", "on", "1", "x"})
_NO: Final = frozenset({"false", "no", "off", "0"})
_WHOLE: Final = re.compile(r"[+-]?\d{1,25}(\.0*)?")
_FRACTION: Final = re.compile(r"[+-]?(\d{1,25}([.,]\d{0,25})?|[.,]\d{1,25})(e[+-]?\d{1,3})?", re.IGNORECASE)
_UNSEEN: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]+")
_FORBIDDEN: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
_COLORS: Final[dict[str, int]] = {
    "black": 0x000000,
    "white": 0xFFFFFF,
    "red": 0xE53935,
    "orange": 0xFB8C00,
    "yellow": 0xFDD835,
    "green": 0x43A047,
    "teal": 0x00897B,
    "blue": 0x1E88E5,
    "navy": 0x1A237E,
    "purple": 0x8E24AA,
    "pink": 0xF06292,
    "brown": 0x6D4C41,
    "grey": 0x757575,
}

Value = str | int | float | bool | None


def value_of(parameter: Parameter, value: object) -> Value:
    """Judge one value; raise ValueError with the rest of a sentence that begins with the parameter's title."""
    if not isinstance(value, str | int | float):
        raise ValueError("must be a plain value")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"must be {_wish(parameter)}, not {value}")
    if parameter.type in ("integer", "seed"):
        return _whole(parameter, value)
    if parameter.type == "float":
        return _fraction(parameter, value)
    if parameter.type == "boolean":
        return _boolean(value)
    if parameter.type == "color":
        return _color(value)
    if parameter.type == "size":
        return size_of(parameter, plain(value), short(value))
    if parameter.type in MEDIA:
        text = plain(value).strip()
        source_of(text)
        return text
    if parameter.type == "lora" and fold(plain(value)) == NO_LORA:
        return None
    return _choice(parameter, value) if parameter.choices else _text(parameter, value)


def _wish(parameter: Parameter) -> str:
    """Say what the parameter wants."""
    noun = "a whole number" if parameter.type in ("integer", "seed") else "a number"
    low, high = _bounds(parameter)
    if low is not None and high is not None:
        return f"{noun} from {low} to {high}"
    if low is not None:
        return f"{noun} of at least {low}"
    return f"{noun} of at most {high}" if high is not None else noun


def one_line(text: str) -> str:
    """Cut *text* to what a sentence can hold: one line, nothing invisible, 30 characters."""
    line = " ".join(_UNSEEN.sub(" ", text).split())
    return line if len(line) <= 30 else line[:29] + "…"


def plain(value: str | int | float) -> str:
    """Write a cell's value as the sheet shows it: 20, not 20.0."""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    # Python refuses to write out numbers of more than 4,300 digits.
    return "a very large number" if isinstance(value, int) and abs(value) >= 10**400 else str(value)


def short(value: str | int | float) -> str:
    """Quote a value as a sentence names it."""
    return f'"{one_line(plain(value))}"'


def _bounds(parameter: Parameter) -> tuple[int | float | None, int | float | None]:
    """Give the least and the largest value; a seed has ComfyUI's own bounds when it names none."""
    if parameter.type != "seed":
        return parameter.min, parameter.max
    return (0 if parameter.min is None else parameter.min), (MAX_SEED if parameter.max is None else parameter.max)


def _in_bounds(parameter: Parameter, number: int | float) -> bool:
    low, high = _bounds(parameter)
    return (low is None or number >= low) and (high is None or number <= high)


def _whole(parameter: Parameter, value: str | int | float) -> int:
    number: int | None = None
    if isinstance(value, int) and not isinstance(value, bool):
        number = value
    elif isinstance(value, float) and value.is_integer():
        number = int(value)
    elif isinstance(value, str) and _WHOLE.fullmatch(value.strip()):
        number = int(value.strip().split(".")[0])
    if number is None or not _in_bounds(parameter, number):
        raise ValueError(f"must be {_wish(parameter)}, not {short(value)}")
    return number


def _fraction(parameter: Parameter, value: str | int | float) -> float:
    number: float | None = None
    if isinstance(value, str):
        text = value.strip()
        number = float(text.replace(",", ".")) if _FRACTION.fullmatch(text) else None
    elif not isinstance(value, bool):
        # A whole number may be larger than any float.
        number = float(value) if abs(value) < 1e300 else None
    if number is None or not math.isfinite(number) or not _in_bounds(parameter, number):
        raise ValueError(f"must be {_wish(parameter)}, not {short(value)}")
    return number


def _boolean(value: str | int | float) -> bool:
    word = fold(plain(value))
    if word in _YES:
        return True
    if word in _NO:
        return False
    raise ValueError(f"must be yes or no, not {short(value)}")


def _choice(parameter: Parameter, value: str | int | float) -> str:
    by_word = {fold(choice): choice for choice in parameter.choices}
    word = fold(plain(value))
    if word in by_word:
        return by_word[word]
    near = difflib.get_close_matches(word, by_word, n=1, cutoff=0.5)
    advice = f"did you mean {by_word[near[0]]}?" if near else f"choose one of {', '.join(parameter.choices[:8])}"
    raise ValueError(f"cannot be {short(value)}: {advice}")


def _color(value: str | int | float) -> int:
    """Read "#33aaff", a name, or the number that ComfyUI itself uses (0xRRGGBB as a whole number)."""
    word = plain(value).strip().lower()
    if word in _COLORS:
        return _COLORS[word]
    if re.fullmatch(r"#[0-9a-f]{6}", word):
        return int(word[1:], 16)
    if re.fullmatch(r"[0-9]{1,8}", word) and int(word) <= 0xFFFFFF:
        return int(word)
    raise ValueError(f"must be a colour like #33aaff or {', '.join(sorted(_COLORS)[:6])}…, not {short(value)}")


def _text(parameter: Parameter, value: str | int | float) -> str:
    text = plain(value)
    if _FORBIDDEN.search(text):
        raise ValueError("holds a control character that cannot be sent: type it again without")
    if len(text) > parameter.max_length:
        raise ValueError(f"has {len(text)} characters; {parameter.max_length} are allowed")
    if parameter.type not in NAMES:
        return text
    text = text.strip()
    # A name of a file below ComfyUI's own folder; anything that climbs out of it is none.
    if text.startswith(("/", "\\")) or ".." in text or ":" in text:
        raise ValueError(f"must be the name of a {parameter.type}, not {short(value)}")
    return text
