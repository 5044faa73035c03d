"""
Name rectangles of cells and keep them right while rows and columns move.

All indexes are 0-based, ends exclusive. An area may be open at its bottom or right: it then reaches to the edge of the
grid, also when the grid grows (that is how A:A behaves).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

#: An end that follows the edge of the grid.
OPEN: Final = 2**31 - 1
Axis = Literal["ROWS", "COLUMNS"]
#: Google's sentence, the same in a script, in the API and in the page.
PROTECTED: Final = (
    "You are trying to edit a protected cell or object. "
    "Please contact the spreadsheet owner to remove protection if you need to edit."
)


class Refused(ValueError):
    """Be an edit that Sheets refuses, with Google's sentence."""


@dataclass(frozen=True, slots=True)
class Area:
    """Name the cells of rows top..bottom-1 and columns left..right-1."""

    top: int
    left: int
    bottom: int = OPEN
    right: int = OPEN

    def within(self, rows: int, cols: int) -> "Area":
        """Cut the area to a grid of *rows* x *cols*."""
        return Area(min(self.top, rows), min(self.left, cols), min(self.bottom, rows), min(self.right, cols))

    def cells(self) -> Iterator[tuple[int, int]]:
        """Yield (row, col) of every cell, row by row; only for an area that is not open."""
        return ((row, col) for row in range(self.top, self.bottom) for col in range(self.left, self.right))

    def holds(self, row: int, col: int) -> bool:
        """Say whether the cell lies in the area."""
        return self.top <= row < self.bottom and self.left <= col < self.right

    def moved(self, axis: Axis, new_place: Mapping[int, int], count: int) -> "Area | None":
        """
        Follow the area through a change of the grid: *new_place* maps old to new indexes, *count* is the old length.

        None when all of its rows (or columns) are gone. A move that tears the area apart leaves the span of its parts.
        """
        start, end = (self.top, self.bottom) if axis == "ROWS" else (self.left, self.right)
        places = [new_place[at] for at in range(start, min(end, count)) if at in new_place]
        if not places:
            return None
        first, last = min(places), OPEN if end == OPEN else max(places) + 1
        if axis == "ROWS":
            return replace(self, top=first, bottom=last)
        return replace(self, left=first, right=last)

    def meets(self, other: "Area") -> bool:
        """Say whether both have a cell in common."""
        return max(self.top, other.top) < min(self.bottom, other.bottom) and max(self.left, other.left) < min(
            self.right, other.right
        )

    def to_json(self) -> list[int]:
        """Give [top, left, bottom, right]."""
        return [self.top, self.left, self.bottom, self.right]


@dataclass(frozen=True, slots=True)
class Protected:
    """Guard an area; with *warning_only* everybody may edit after a warning."""

    id: int
    area: Area
    description: str = ""
    warning_only: bool = True
    editors: tuple[str, ...] = ()
    #: As Range.protect() leaves it until somebody changes the editors: whoever edits the spreadsheet edits this too.
    mirrors_sharing: bool = False


@dataclass(frozen=True, slots=True)
class FilterView:
    """Hold a saved filter: criteria by column (0-based, in the grid) in the API's words, and (column, ascending)."""

    id: int
    title: str
    area: Area
    criteria: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    sorting: tuple[tuple[int, bool], ...] = ()


@dataclass(frozen=True, slots=True)
class ConditionalFormat:
    """Hold one conditional format rule: where it applies and the API's rule without its ranges."""

    areas: tuple[Area, ...]
    rule: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Metadata:
    """Hold one entry of developer metadata; where it sits says what it is about."""

    id: int
    key: str
    value: str | None = None
    visibility: str = "DOCUMENT"
    #: Whose entry it is: one of visibility PROJECT is seen by the cloud project that made it alone.
    project: str = "api"


@dataclass(frozen=True, slots=True)
class Dimension:
    """Describe one row or column; *pixel_size* None is the default size."""

    pixel_size: int | None = None
    hidden_by_filter: bool = False
    hidden_by_user: bool = False
    metadata: tuple[Metadata, ...] = ()

    @property
    def hidden(self) -> bool:
        """Say whether a person sees it."""
        return self.hidden_by_filter or self.hidden_by_user


def order_after_insert(count: int, at: int, n: int) -> list[int | None]:
    """Give the old index of each place after *n* new ones came in before *at*; None = new."""
    return [*range(at), *([None] * n), *range(at, count)]


def order_after_delete(count: int, at: int, n: int) -> list[int | None]:
    """Give the old index of each place after *n* from *at* on are gone."""
    return [*range(at), *range(at + n, count)]


def order_after_move(count: int, start: int, n: int, to: int) -> list[int | None]:
    """
    Give the old index of each place after *n* from *start* on went before the one that was at *to*.

    *to* counts in the grid before the move, as in moveDimension; inside the moved block nothing changes.
    """
    if start <= to <= start + n:
        return list(range(count))
    rest = [at for at in range(count) if not start <= at < start + n]
    place = to if to < start else to - n
    return [*rest[:place], *range(start, start + n), *rest[place:]]


def new_places(order: Sequence[int | None]) -> dict[int, int]:
    """Turn an order (new place -> old index) round: old index -> new place."""
    return {old: new for new, old in enumerate(order) if old is not None}


def column_name(col: int) -> str:
    """Turn 0 into A, 26 into AA."""
    name = ""
    col += 1
    while col:
        col, letter = divmod(col - 1, 26)
        name = chr(65 + letter) + name
    return name
