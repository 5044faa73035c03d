"""
Read the marks in a prompt. Pure.

`{{Style}}` is a field, `{cat|dog}` variants, `{2$$ and $$a|b|c}` picks several, `__colors__` is a wildcard. The syntax
is that of dynamicprompts and, for `{a|b}` and its escapes, of ComfyUI's own page, which resolves them before it sends.

Everything else is text and stays as it is, character by character: a lone `{` or `|`, `{}`, `{word}`, ComfyUI's weights
`(word:1.2)`, `embedding:x`, two underscores within a word, and what reads as JSON (a field in it is still a field).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from chalicelib.contract.values import one_line

MAX_DEPTH: Final = 10
MAX_PICKS: Final = 100
WEIGHT_UNIT: Final = 10_000
"""A weight of 1: weights are whole numbers, for fractions are not the same on every machine."""

_MARK: Final = re.compile(
    r"(?P<pair>\\\\)"  # two backslashes stay two, and escape nothing, as on ComfyUI's page
    r"|\\(?P<escaped>[{}|])"
    r"|(?P<underscores>\\_\\?_|_\\_)"
    r"|\{\{(?P<field>[^{}]*)\}\}"
    r"|(?<![^\W_])__(?P<wildcard>[A-Za-z0-9](?:[A-Za-z0-9./-]|_(?!_)){0,79})__(?![^\W_])"
    r"|(?P<open>\{)|(?P<bar>\|)|(?P<close>\})"
)
_QUOTE: Final = re.compile(r'\s*"')
_JSON: Final = json.JSONDecoder(strict=False)
_PICKS: Final = re.compile(r"\s*(?P<least>\d{1,4})?(?:(?P<to>-)(?P<most>\d{1,4})?)?\$\$(?:(?P<joiner>[^$]*)\$\$)?")
_WEIGHT: Final = re.compile(r"\s*(?P<whole>\d{1,4})?(?:\.(?P<part>\d{1,4}))?::")


@dataclass(frozen=True)
class Text:
    """Stand for itself."""

    text: str


@dataclass(frozen=True)
class Field:
    """Stand for another column's or input's text; *inner* is what stands between the braces."""

    inner: str


@dataclass(frozen=True)
class Wildcard:
    """Stand for a line of a list."""

    name: str


@dataclass(frozen=True)
class Option:
    """Be one of several; *weight* in `WEIGHT_UNIT`."""

    weight: int
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Variants:
    """Stand for one of *options*; with *joiner* for *least* to *most* different ones, joined."""

    options: tuple[Option, ...]
    depth: int
    """How many groups stand within each other here."""
    least: int = 1
    most: int = 1
    joiner: str | None = None


Part = Text | Field | Wildcard | Variants


@dataclass
class _Group:
    """Hold an open brace: its place among the parts and in the text, and the bars in it so far."""

    start: int
    at: int
    bars: list[int] = field(default_factory=list)


def has_marks(text: str) -> bool:
    """Say quickly that *text* may hold marks; False: it certainly is only text."""
    return "{" in text or "_" in text or "\\" in text


@lru_cache(maxsize=256)
def read(text: str) -> tuple[Part, ...]:
    """Read *text*; raise ValueError with the rest of a sentence when a group cannot be meant so."""
    parts: list[Part] = []
    groups: list[_Group] = []
    told = 0
    while mark := _MARK.search(text, told):
        if mark.start() > told:
            parts.append(Text(text[told : mark.start()]))
        told = mark.end()
        kind, group = mark.lastgroup, groups[-1] if groups else None
        if kind == "open" and (end := _end_of_json(text, mark.start())):
            parts += _only_fields(text[mark.start() : end])
            told = end
        elif kind == "close" and group is not None:
            groups.pop()
            parts[group.start :] = _closed(text[group.at : told], [*parts[group.start :], Text("}")], group)
        else:
            if kind == "open":
                groups.append(_Group(len(parts), mark.start()))
            elif kind == "bar" and group is not None:
                group.bars.append(len(parts))
            parts.append(_part(mark))
    return (*parts, Text(text[told:]))


def marks_of(parts: Sequence[Part]) -> Iterator[Field | Wildcard]:
    """Go through all fields and wildcards, also of options that a seed may not choose."""
    for part in parts:
        if isinstance(part, Variants):
            for option in part.options:
                yield from marks_of(option.parts)
        elif not isinstance(part, Text):
            yield part


def weighed(text: str) -> tuple[int, str]:
    """Split a weight off: `2::red` is (2 × `WEIGHT_UNIT`, "red"); without one it is 1."""
    found = _WEIGHT.match(text)
    if found is None or not (found["whole"] or found["part"]):
        return WEIGHT_UNIT, text
    part = (found["part"] or "").ljust(4, "0")
    return int(found["whole"] or 0) * WEIGHT_UNIT + int(part), text[found.end() :]


def _part(mark: re.Match[str]) -> Part:
    if mark["field"] is not None and mark["field"].strip():
        return Field(mark["field"].strip())
    if mark["wildcard"] is not None:
        return Wildcard(mark["wildcard"].lower())
    if mark["underscores"] is not None:
        return Text("__")
    return Text(mark["escaped"] or mark[0])


def _closed(source: str, parts: list[Part], group: _Group) -> list[Part]:
    """Say what a group is, from its brace to its brace: variants, or text as it stands."""
    first = parts[1]
    picks = _PICKS.match(first.text) if isinstance(first, Text) else None
    if picks is not None and isinstance(first, Text) and (picks["least"] or picks["most"]):
        parts[1] = Text(first.text[picks.end() :])
    elif group.bars:
        picks = None
    else:
        return parts
    ends = [*(bar - group.start for bar in group.bars), len(parts) - 1]
    starts = [1, *(end + 1 for end in ends)]
    options = tuple(_option(parts[start:end]) for start, end in zip(starts, ends, strict=False))
    if not any(option.weight for option in options):
        raise ValueError(f'has no option that weighs more than 0 in "{one_line(source)}"')
    depth = 1 + max((part.depth for part in parts if isinstance(part, Variants)), default=0)
    if depth > MAX_DEPTH:
        raise ValueError(f"has variants within variants more than {MAX_DEPTH} deep: make a list of some (a wildcard)")
    return [_variants(source, options, depth, picks)]


def _option(parts: list[Part]) -> Option:
    if not parts or not isinstance(parts[0], Text):
        return Option(WEIGHT_UNIT, tuple(parts))
    weight, rest = weighed(parts[0].text)
    return Option(weight, (Text(rest), *parts[1:]))


def _variants(source: str, options: tuple[Option, ...], depth: int, picks: re.Match[str] | None) -> Variants:
    if picks is None:
        return Variants(options, depth)
    joiner = ", " if picks["joiner"] is None else picks["joiner"]
    if picks["to"]:
        least, most = int(picks["least"] or 0), int(picks["most"] or MAX_PICKS)
    else:
        least = most = int(picks["least"])
    if not least <= most <= MAX_PICKS:
        wish = f"write 2$$ or 1-3$$, {MAX_PICKS} at most"
        raise ValueError(f'cannot pick that many in "{one_line(source)}": {wish}')
    return Variants(options, depth, least, most, joiner)


def _end_of_json(text: str, at: int) -> int | None:
    """Say where the JSON object that begins *at* a brace ends; None: there is none."""
    if not _QUOTE.match(text, at + 1):
        return None
    try:
        return _JSON.raw_decode(text, at)[1]
    except (ValueError, RecursionError):
        return None


def _only_fields(source: str) -> list[Part]:
    """Read JSON: a bar or a brace in it is its own."""
    parts: list[Part] = []
    told = 0
    for mark in _MARK.finditer(source):
        part = _part(mark)
        if isinstance(part, Field):
            parts += [Text(source[told : mark.start()]), part]
            told = mark.end()
    return [*parts, Text(source[told:])]
