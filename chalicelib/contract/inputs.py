"""
Judge what a row asks for: turn cells into values, or say in one sentence what is wrong with them.

A cell may hold 20, 20.0 or "20" for a whole number; blank means the default. All faults of a row are named at once.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from chalicelib.contract.errors import Rejected
from chalicelib.contract.job import Frozen
from chalicelib.contract.manifest import NAMES, NO_LORA, Parameter, Workflow
from chalicelib.contract.words import fold

MAX_SEED: Final = 2**64 - 1
MAX_COST: Final = 4096 * 4096 * 150
"""Width × height × steps × batch: what one row may ask of a GPU."""

_YES: Final = frozenset({"true", "yes", "on", "1", "x"})
_NO: Final = frozenset({"false", "no", "off", "0"})
_WHOLE: Final = re.compile(r"[+-]?\d{1,25}(\.0*)?")
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


class Resolved(Frozen):
    """Hold what a row resolved to: values by parameter name, and the headers that the workflow does not know."""

    inputs: dict[str, Value]
    ignored: tuple[str, ...] = ()


def resolve_inputs(workflow: Workflow, given: Mapping[str, object], *, pick_seed: Callable[[], int]) -> Resolved:
    """
    Match *given* (values by header text) to the workflow's parameters, fill defaults, draw seeds.

    Raise `Rejected` (invalid_input) with one sentence that names every fault.
    """
    parameter_of = {word: parameter for parameter in workflow.parameters for word in parameter.words()}
    asked: dict[str, object] = {}
    ignored = []
    for header, value in given.items():
        parameter = parameter_of.get(fold(header))
        if parameter is None:
            ignored.append(header)
        elif not _is_blank(value):
            asked.setdefault(parameter.name, value)
    inputs: dict[str, Value] = {}
    faults = []
    for parameter in workflow.parameters:
        try:
            inputs[parameter.name] = _resolve(parameter, asked.get(parameter.name), pick_seed)
        except ValueError as fault:
            faults.append(f"{parameter.title} {fault}.")
    if not faults:
        faults += _cost(inputs)
    if faults:
        raise Rejected("invalid_input", " ".join(faults))
    return Resolved(inputs=inputs, ignored=tuple(ignored))


def unknown_workflow(name: str, known: Iterable[str]) -> Rejected:
    """Say that there is no workflow *name*, with the nearest ones that there are."""
    names = sorted(known)
    near = difflib.get_close_matches(fold(name), names, n=2, cutoff=0.4)
    advice = f"Did you mean {' or '.join(near)}?" if near else f"There are: {', '.join(names[:10]) or 'none'}."
    return Rejected("unknown_workflow", f"There is no workflow called {_short(name)}. {advice}")


def value_of(parameter: Parameter, value: object) -> Value:
    """Judge one value; raise ValueError with the rest of a sentence that begins with the parameter's title."""
    if isinstance(value, list | dict | tuple):
        raise ValueError("must be a plain value")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"must be {_wish(parameter)}, not {value}")
    if parameter.type in ("integer", "seed"):
        return _whole(parameter, value)
    if parameter.type == "float":
        return _fraction(parameter, value)
    if parameter.type == "boolean":
        return _boolean(value)
    if parameter.type == "choice":
        return _choice(parameter, value)
    if parameter.type == "color":
        return _color(value)
    return _text(parameter, value)


def _resolve(parameter: Parameter, value: object, pick_seed: Callable[[], int]) -> Value:
    if value is None:
        if parameter.required and parameter.default is None:
            raise ValueError("is missing: fill in its cell")
        value = parameter.default
    if parameter.type == "seed" and (value is None or fold(str(value)) == "random"):
        return pick_seed()
    return None if value is None else value_of(parameter, value)


def _is_blank(value: object) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _wish(parameter: Parameter) -> str:
    """Say what the parameter wants."""
    noun = "a whole number" if parameter.type in ("integer", "seed") else "a number"
    low, high = parameter.min, parameter.max
    if parameter.type == "seed":
        low, high = (0 if low is None else low), (MAX_SEED if high is None else high)
    if low is not None and high is not None:
        return f"{noun} from {low} to {high}"
    if low is not None:
        return f"{noun} of at least {low}"
    return f"{noun} of at most {high}" if high is not None else noun


def _short(value: object) -> str:
    text = " ".join(str(value).split())
    return f'"{text if len(text) <= 30 else text[:29] + "…"}"'


def _in_bounds(parameter: Parameter, number: int | float) -> bool:
    low = 0 if parameter.type == "seed" and parameter.min is None else parameter.min
    high = MAX_SEED if parameter.type == "seed" and parameter.max is None else parameter.max
    return (low is None or number >= low) and (high is None or number <= high)


def _whole(parameter: Parameter, value: object) -> int:
    number: int | None = None
    if isinstance(value, int) and not isinstance(value, bool):
        number = value
    elif isinstance(value, float) and value.is_integer():
        number = int(value)
    elif isinstance(value, str) and _WHOLE.fullmatch(value.strip()):
        number = int(value.strip().split(".")[0])
    if number is None or not _in_bounds(parameter, number):
        raise ValueError(f"must be {_wish(parameter)}, not {_short(value)}")
    return number


def _fraction(parameter: Parameter, value: object) -> float:
    number: float | None = None
    if isinstance(value, int | float) and not isinstance(value, bool):
        number = float(value)
    elif isinstance(value, str):
        try:
            number = float(value.strip().replace(",", "."))
        except ValueError:
            number = None
    if number is None or not math.isfinite(number) or not _in_bounds(parameter, number):
        raise ValueError(f"must be {_wish(parameter)}, not {_short(value)}")
    return number


def _boolean(value: object) -> bool:
    word = fold(str(value))
    if word in _YES or value is True:
        return True
    if word in _NO or value is False:
        return False
    raise ValueError(f"must be yes or no, not {_short(value)}")


def _choice(parameter: Parameter, value: object) -> str:
    by_word = {fold(choice): choice for choice in parameter.choices}
    word = fold(str(value))
    if word in by_word:
        return by_word[word]
    near = difflib.get_close_matches(word, by_word, n=1, cutoff=0.5)
    advice = f"did you mean {by_word[near[0]]}?" if near else f"choose one of {', '.join(parameter.choices[:8])}"
    raise ValueError(f"cannot be {_short(value)}: {advice}")


def _color(value: object) -> int:
    word = fold(str(value))
    if word in _COLORS:
        return _COLORS[word]
    if re.fullmatch(r"#[0-9a-f]{6}", word):
        return int(word[1:], 16)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 0xFFFFFF:
        return value
    raise ValueError(f"must be a colour like #33aaff or {', '.join(sorted(_COLORS)[:6])}…, not {_short(value)}")


def _text(parameter: Parameter, value: object) -> str | None:
    if isinstance(value, bool):
        text = "TRUE" if value else "FALSE"
    elif isinstance(value, float) and value.is_integer():
        text = str(int(value))
    else:
        text = str(value)
    if _FORBIDDEN.search(text):
        raise ValueError("holds a control character that cannot be sent: type it again without")
    if len(text) > parameter.max_length:
        raise ValueError(f"has {len(text)} characters; {parameter.max_length} are allowed")
    if parameter.type not in NAMES:
        return text
    text = text.strip()
    if parameter.type == "lora" and fold(text) == NO_LORA:
        return None
    # A name of a file below ComfyUI's own folder; anything that climbs out of it is none.
    if text.startswith(("/", "\\")) or ".." in text or ":" in text:
        raise ValueError(f"must be the name of a {parameter.type}, not {_short(value)}")
    return text


def _cost(inputs: Mapping[str, Value]) -> Iterable[str]:
    cost = 1
    for name in ("width", "height", "steps", "batch_size"):
        value = inputs.get(name)
        cost *= value if isinstance(value, int) and not isinstance(value, bool) else 1
    if "width" in inputs and "height" in inputs and cost > MAX_COST:
        yield "Width × Height × Steps is more than one row may ask for: choose a smaller size or fewer steps."
