"""
Read a size in pixels: "1024x768", or one that the manifest names, such as "Portrait 832x1216".

A named size is one of the parameter's choices: its name, then the size. A cell may hold the choice, its name alone, or
any other size within the bounds; the answer is always written as 832x1216.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from chalicelib.contract.parameter import MAX_SIDE, MIN_SIDE, Parameter, Place
from chalicelib.contract.words import fold

SIDES: Final = ("width", "height")
_SIZE: Final = re.compile(r"(\d{1,6})\s*[x×*]\s*(\d{1,6})", re.IGNORECASE)
_NAMED: Final = re.compile(rf"(?P<name>.*?)[\s(:,]*(?P<size>{_SIZE.pattern})\)?", re.IGNORECASE)


def sides_of(text: str) -> tuple[int, int]:
    """Give width and height of "1024x768"; raise ValueError when *text* is no size."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError("is no size such as 1024x768")
    return int(match[1]), int(match[2])


def side_at(place: Place, text: str) -> int:
    """Give the side of "1024x768" that goes to *place*."""
    return sides_of(text)[SIDES.index(place.part)]


def size_of(parameter: Parameter, text: str, shown: str) -> str:
    """
    Judge a cell's *text*; *shown* is how the sentence quotes it.

    Raise ValueError with the rest of a sentence that begins with the parameter's title.
    """
    named = _named(parameter)
    word = fold(text)
    try:
        width, height = sides_of(named.get(word, text))
    except ValueError:
        near = difflib.get_close_matches(word, named, n=1, cutoff=0.7)
        names = ", ".join(dict.fromkeys(_name(choice) for choice in parameter.choices[:8]))
        advice = f": did you mean {named[near[0]]}?" if near else f"; {names} have names" if names else ""
        raise ValueError(f"must be a size such as 1024x768, not {shown}{advice}") from None
    low, high = bounds_of(parameter)
    if not (low <= width <= high and low <= height <= high):
        raise ValueError(f"must have sides from {low:g} to {high:g} pixels, not {shown}")
    step = parameter.multiple
    if width % step or height % step:
        better = "x".join(str(max(step, round(side / step) * step)) for side in (width, height))
        raise ValueError(f"must have sides that are multiples of {step}, not {shown}: did you mean {better}?")
    return f"{width}x{height}"


def bounds_of(parameter: Parameter) -> tuple[float, float]:
    """Give the least and the largest side in pixels."""
    low = MIN_SIDE if parameter.min is None else parameter.min
    return low, MAX_SIDE if parameter.max is None else parameter.max


def with_parts(places: Any) -> Any:
    """Say of each place as a person wrote it which side it takes, when its input is called so."""
    if not isinstance(places, list):
        return places
    return [
        {"part": place["input"], **place} if isinstance(place, Mapping) and place.get("input") in SIDES else place
        for place in places
    ]


def faults_of_places(parameter: Parameter) -> Iterator[str]:
    """Say what is wrong with the sides that a parameter's places take."""
    if parameter.type != "size":
        yield from (
            f"{place.input} of node {place.node}: only a size has parts" for place in parameter.sets if place.part
        )
        return
    for place in parameter.sets:
        if not place.part:
            yield f"say for {place.input} of node {place.node} whether it is part: width or part: height"
    for side in SIDES:
        if all(place.part and place.part != side for place in parameter.sets):
            yield f"a size sets a width and a height; no {side} is set"


def faults_of_choices(parameter: Parameter) -> Iterator[str]:
    """Find named sizes that the parameter itself would refuse."""
    for choice in parameter.choices:
        try:
            size_of(parameter, choice, f'"{choice}"')
        except ValueError as error:
            yield str(error)


def _named(parameter: Parameter) -> dict[str, str]:
    """Give the listed sizes by every folded word for them."""
    words: dict[str, str] = {}
    for choice in parameter.choices:
        match = _NAMED.fullmatch(choice.strip())
        if match is not None:
            words[fold(choice)] = match["size"]
            words.setdefault(fold(match["name"]) or fold(choice), match["size"])
    return words


def _name(choice: str) -> str:
    match = _NAMED.fullmatch(choice.strip())
    return choice if match is None else match["name"] or match["size"]
