"""
Remember what people did, so that they can undo it; what scripts and the API write is never on anybody's stack.

Others go on editing between a deed and its undo. So a deed names rows and columns by ids that never change, not by
where they were, and holds only what it changed: undoing my sort brings my order back with everybody's newer values,
undoing my typing touches that part of that cell alone, wherever it is now.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, Final

from sandbox.workbook_areas import Axis, Dimension
from sandbox.workbook_cells import Cell

#: Google's limit is not published.
MAX_STEPS: Final = 100
_IDS = count(1)


def new_ids(n: int) -> list[int]:
    """Give ids for *n* new rows or columns."""
    return [next(_IDS) for _ in range(n)]


@dataclass(frozen=True, slots=True)
class CellWas:
    """One cell was changed."""

    gid: int
    row: int
    col: int
    before: Cell
    after: Cell


@dataclass(frozen=True, slots=True)
class Shuffled:
    """The cells of some rows were sorted; *contents*: the row where each now is, in the order from before."""

    gid: int
    contents: tuple[int, ...]
    cols: frozenset[int]


@dataclass(frozen=True, slots=True)
class Moved:
    """Rows or columns changed places; *order* is how those concerned stood before."""

    gid: int
    axis: Axis
    order: tuple[int, ...]
    attributes: "Attributes"


@dataclass(frozen=True, slots=True)
class Inserted:
    """Rows or columns came in."""

    gid: int
    axis: Axis
    lines: tuple[int, ...]
    attributes: "Attributes"


@dataclass(frozen=True, slots=True)
class Line:
    """Keep a deleted row or column; *cells* by the ids of the columns or rows that cross it."""

    id: int
    dimension: Dimension
    cells: Mapping[int, Cell]


@dataclass(frozen=True, slots=True)
class Deleted:
    """Rows or columns went; *following* are those behind them, nearest first."""

    gid: int
    axis: Axis
    lines: tuple[Line, ...]
    following: tuple[int, ...]
    attributes: "Attributes"


@dataclass(frozen=True, slots=True)
class DimensionsWere:
    """Sizes or hiding of rows or columns were changed: (id, before, after)."""

    gid: int
    axis: Axis
    lines: tuple[tuple[int, Dimension, Dimension], ...]


@dataclass(frozen=True, slots=True)
class Attributes:
    """A tab's attributes were changed, or followed a change of its structure: name -> (before, after)."""

    gid: int
    changed: Mapping[str, tuple[Any, Any]]


@dataclass(frozen=True, slots=True)
class TabAdded:
    """A tab came in."""

    gid: int


@dataclass(frozen=True, slots=True)
class TabDeleted:
    """A tab went."""

    sheet: Any
    index: int


Deed = CellWas | Shuffled | Moved | Inserted | Deleted | DimensionsWere | Attributes | TabAdded | TabDeleted
Step = tuple[Deed, ...]


class History:
    """Keep each person's steps."""

    def __init__(self) -> None:
        """Start without any."""
        self._undo: dict[str, list[Step]] = {}
        self._redo: dict[str, list[Step]] = {}
        self._open: list[Deed] | None = None

    @property
    def is_recording(self) -> bool:
        """Say whether a person is editing."""
        return self._open is not None

    def add(self, deed: Deed) -> None:
        """Take in a deed, if it is a person's."""
        if self._open is not None:
            self._open.append(deed)

    @contextmanager
    def recording(self, user: str, *, onto: str = "new") -> Iterator[None]:
        """Make what is done meanwhile one step of *user*: a "new" one, or one that an "undo" or "redo" leaves."""
        self._open = []
        try:
            yield
        finally:
            step, self._open = tuple(self._open), None
            if step:
                stacks = self._redo if onto == "undo" else self._undo
                stacks.setdefault(user, []).append(step)
                del stacks[user][:-MAX_STEPS]
                if onto == "new":
                    self._redo.pop(user, None)

    def take(self, user: str, *, redo: bool) -> Step | None:
        """Take the last step off a stack; None when there is none."""
        stack = (self._redo if redo else self._undo).get(user)
        return stack.pop() if stack else None

    def depth(self, user: str) -> tuple[int, int]:
        """Count what can be undone and what can be redone."""
        return len(self._undo.get(user, ())), len(self._redo.get(user, ()))

    def shuffled(self, gid: int, places: Mapping[int, int], cols: Collection[int]) -> None:
        """Follow cells through a sort by anybody: *places* maps the row where they were to the one where they are."""
        for stacks in (self._undo, self._redo):
            for stack in stacks.values():
                stack[:] = [tuple(_followed(deed, gid, places, cols) for deed in step) for step in stack]
        if self._open is not None:
            self._open = [_followed(deed, gid, places, cols) for deed in self._open]

    def copy(self) -> "History":
        """Copy everything, so that a failed edit can be forgotten."""
        other = History()
        other._undo = {user: list(stack) for user, stack in self._undo.items()}
        other._redo = {user: list(stack) for user, stack in self._redo.items()}
        other._open = None if self._open is None else list(self._open)
        return other


def _followed(deed: Deed, gid: int, places: Mapping[int, int], cols: Collection[int]) -> Deed:
    match deed:
        case CellWas() if deed.gid == gid and deed.row in places and deed.col in cols:
            return replace(deed, row=places[deed.row])
        case Shuffled() if deed.gid == gid and not deed.cols.isdisjoint(cols):
            return replace(deed, contents=tuple(places.get(row, row) for row in deed.contents))
        case _:
            return deed


def runs(gone: Sequence[int]) -> list[list[int]]:
    """Part ascending indexes into runs without gaps."""
    found: list[list[int]] = []
    for at in gone:
        if found and found[-1][-1] == at - 1:
            found[-1].append(at)
        else:
            found.append([at])
    return found
