"""
Turn what was typed into the text that is rendered, for every input of the type string.

- What a field puts in is plain text: marks in another column's cell are never read.
- All that can be wrong is found whatever the seed; only lines of wildcards are read when they are drawn.
- The same seed and the same text (and lists) give the same prompt.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol
from uuid import UUID

from chalicelib.contract.errors import Rejected
from chalicelib.contract.manifest import Workflow
from chalicelib.contract.parameter import Parameter
from chalicelib.contract.values import Value, one_line, plain, value_of
from chalicelib.contract.words import fold
from chalicelib.prompting.dice import Dice
from chalicelib.prompting.marks import (
    MAX_DEPTH,
    Field,
    Part,
    Text,
    Variants,
    Wildcard,
    has_marks,
    marks_of,
    read,
)
from chalicelib.prompting.wildcards import Lines

MAX_CHOICES: Final = 1000
MAX_BYTES: Final = 100_000
"""Of all written texts of one job together: its item in the table holds 400 KB."""


class Wildcards(Protocol):
    """Know the lists (`chalicelib.prompting.wildcards.WildcardBook`)."""

    def names(self) -> list[str]:
        """Name all lists."""

    def find(self, name: str) -> Lines | None:
        """Answer a list; None when there is none."""


@dataclass(frozen=True)
class GivenWildcards:
    """Know the lists that are given: none, unless told."""

    lists: Mapping[str, Lines] = field(default_factory=dict)

    def names(self) -> list[str]:
        """Name them."""
        return sorted(self.lists)

    def find(self, name: str) -> Lines | None:
        """Answer one."""
        return self.lists.get(name)


@dataclass(frozen=True)
class Prompted:
    """
    Hold what a field may name: *given*, the row's cells by header, and *inputs*, what they resolved to by parameter.

    *columns* are headers of the tab whose cells may be empty.
    """

    workflow: Workflow
    inputs: Mapping[str, Value]
    given: Mapping[str, object]
    columns: Sequence[str] = ()


def seed_of(row: Prompted, job_id: str) -> int:
    """Say what decides the draws: the job's seed, resolved; the id of a job whose workflow has none."""
    seeds = (row.inputs.get(one.name) for one in row.workflow.parameters if one.type == "seed")
    return next((seed for seed in seeds if isinstance(seed, int)), UUID(job_id).int)


@dataclass(frozen=True)
class Prompts:
    """Hold the resolved inputs; *templates*: what was typed where that differs; *used*: headers that were put in."""

    inputs: dict[str, Value]
    templates: dict[str, str]
    used: frozenset[str] = frozenset()


def resolve_prompts(row: Prompted, wildcards: Wildcards, seed: int) -> Prompts:
    """
    Resolve every input of the type string that has marks; *seed* decides what is drawn.

    Raise `Rejected` (invalid_prompt) with one sentence that names every fault, `Unavailable` for the lists.
    """
    typed = [
        (parameter, text)
        for parameter in row.workflow.parameters
        if parameter.type == "string"
        and not parameter.plain
        and isinstance(text := row.inputs.get(parameter.name), str)
        and has_marks(text)
    ]
    if not typed:
        return Prompts(dict(row.inputs), {})
    names, inputs, templates, faults = _Names(row), dict(row.inputs), {}, []
    for parameter, text in typed:
        try:
            made = _Writer(parameter, names, wildcards, seed).write(text)
            inputs[parameter.name] = value_of(parameter, made)
        except ValueError as fault:
            faults.append(f"{_column(parameter, row.given)} {fault}")
            continue
        if made != text:
            templates[parameter.name] = text
    if sum(len(str(inputs[name]).encode()) for name in templates) > MAX_BYTES:
        faults.append(f"The texts of this row have more than {MAX_BYTES // 1000} KB once they are put together")
    if faults:
        raise Rejected("invalid_prompt", " ".join(one if one.endswith(("?", ".")) else f"{one}." for one in faults))
    return Prompts(inputs, templates, frozenset(names.used))


class _Names:
    """Know what a field may name, folded, and its text. Of two columns of one name the first counts."""

    def __init__(self, row: Prompted) -> None:
        self._texts: dict[str, str] = {}
        self._titles: dict[str, str] = {}
        self._headers: dict[str, str] = {}
        self.used: set[str] = set()
        for header in row.given:
            self._headers.setdefault(fold(header), header)
        for parameter in row.workflow.parameters:
            for word in parameter.words():
                self._learn(word, row.inputs.get(parameter.name), self._headers.get(word, parameter.title))
        for header, value in row.given.items():
            self._learn(fold(header), value, header)
        for header in row.columns:
            self._learn(fold(header), None, header)

    def _learn(self, word: str, value: object, title: str) -> None:
        if word and word not in self._texts:
            self._texts[word] = plain(value) if isinstance(value, str | int | float) else ""
            self._titles[word] = title

    def find(self, name: str) -> str | None:
        """Give the text of a column or input; None: there is none."""
        word = fold(name)
        if word in self._headers:
            self.used.add(self._headers[word])
        return self._texts.get(word)

    def unknown(self, name: str) -> ValueError:
        """Say that there is no such column or input, with the nearest."""
        near = difflib.get_close_matches(fold(name), self._titles, n=1, cutoff=0.5)
        if near:
            advice = f"did you mean {one_line(self._titles[near[0]])}?"
        else:
            known = [one_line(title) for title in dict.fromkeys(self._titles.values())]
            advice = f"there are {', '.join(known[:8])}"
        return ValueError(f'asks for "{one_line(name)}", and there is no such column or input: {advice}')


class _Writer:
    """Write one input's text."""

    def __init__(self, parameter: Parameter, names: _Names, wildcards: Wildcards, seed: int) -> None:
        self._parameter = parameter
        self._names = names
        self._wildcards = wildcards
        self._dice = Dice(seed, parameter.name)
        self._length = 0

    def write(self, text: str) -> str:
        """Resolve *text*; raise ValueError with the rest of a sentence that begins with the column's name."""
        parts = read(text)
        for mark in marks_of(parts):
            if isinstance(mark, Field):
                self._field(mark)
            else:
                self._lines(mark)
        return "".join(self._told(parts, 0))

    def _told(self, parts: Iterable[Part], depth: int) -> Iterable[str]:
        for part in parts:
            if isinstance(part, Variants):
                yield from self._variants(part, depth + 1)
            elif isinstance(part, Wildcard):
                lines = self._lines(part)
                yield from self._line(part, lines.texts[self._pick(lines.weights)], depth + 1)
            else:
                yield self._counted(part.text if isinstance(part, Text) else self._field(part))

    def _variants(self, group: Variants, depth: int) -> Iterable[str]:
        if group.joiner is None:
            yield from self._told(group.options[self._pick([one.weight for one in group.options])].parts, depth)
            return
        for number, text in enumerate(self._chosen(group, depth)):
            yield (self._counted(group.joiner) if number else "") + text.strip()

    def _chosen(self, group: Variants, depth: int) -> Iterable[str]:
        """Draw several different options; of a group that is one wildcard, several different lines."""
        only = group.options[0].parts if len(group.options) == 1 else ()
        marks = [part for part in only if not (isinstance(part, Text) and not part.text.strip())]
        if len(marks) == 1 and isinstance(marks[0], Wildcard):
            lines = self._lines(marks[0])
            for place in self._picks(lines.weights, group):
                yield "".join(self._line(marks[0], lines.texts[place], depth + 1))
            return
        for place in self._picks([one.weight for one in group.options], group):
            yield "".join(self._told(group.options[place].parts, depth))

    def _line(self, wildcard: Wildcard, line: str, depth: int) -> Iterable[str]:
        if depth > MAX_DEPTH:
            raise ValueError(f"has wildcards within wildcards more than {MAX_DEPTH} deep at __{wildcard.name}__")
        try:
            parts = read(line)
        except ValueError as fault:
            raise ValueError(f"cannot use a line of the wildcard __{wildcard.name}__: it {fault}") from None
        return self._told(parts, depth)

    def _lines(self, wildcard: Wildcard) -> Lines:
        lines = self._wildcards.find(wildcard.name)
        if lines is not None:
            return lines
        known = self._wildcards.names()
        near = difflib.get_close_matches(wildcard.name, known, n=1, cutoff=0.5)
        advice = f"did you mean __{near[0]}__?" if near else f"there are {', '.join(known[:8]) or 'none'}"
        raise ValueError(f"asks for __{wildcard.name}__, and there is no such list of wildcards: {advice}")

    def _field(self, mark: Field) -> str:
        name, bar, filters = mark.inner.partition("|")
        if fold(name) in self._parameter.words():
            raise ValueError(f'cannot be put into itself: name another column than "{{{{{one_line(mark.inner)}}}}}"')
        text = self._names.find(name)
        if bar:
            from chalicelib.prompting.fields import filtered

            text = filtered(text, filters)
        if text is None:
            raise self._names.unknown(name.strip())
        return text

    def _counted(self, text: str) -> str:
        self._length += len(text)
        if self._length > self._parameter.max_length:
            most = self._parameter.max_length
            raise ValueError(f"has more than {most} characters once it is put together; {most} are allowed")
        return text

    def _pick(self, weights: Sequence[int]) -> int:
        self._check_choices(1)
        return self._dice.pick(weights)

    def _picks(self, weights: Sequence[int], group: Variants) -> list[int]:
        there = sum(map(bool, weights))
        least, most = min(group.least, there), min(group.most, there)
        count = least + self._dice.below(most - least + 1) if most > least else least
        self._check_choices(count)
        return self._dice.picks(weights, count)

    def _check_choices(self, more: int) -> None:
        if self._dice.drawn + more > MAX_CHOICES:
            raise ValueError(f"asks for more than {MAX_CHOICES} choices: shorten it, or its wildcards")


def _column(parameter: Parameter, given: Mapping[str, object]) -> str:
    """Name the column as the person who reads the sentence sees it."""
    return next((one_line(header) for header in given if fold(header) in parameter.words()), parameter.title)
