"""What a write hit by mistake is put back over Google's own protocol: values, and what they are shown as."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from chalicelib.cells import Cell, Tab, Time
from chalicelib.mend import Held, write
from chalicelib.sheet import Sheets
from tests.edges.sheets_world import BOOK, World

HEADER = ("Prompt", "Job ID", "Started at", "Finished at", "Seed")
STARTED, FINISHED, SEED = 2, 3, 4
NOON = 45_983.5


@pytest.fixture
def world() -> Iterator[World]:
    with World() as one:
        one.fill(HEADER, ("a fox", "k1"), ("an owl", "k2"))
        yield one


class Shaken(Sheets):
    """Be the client, while somebody does something before each of its writes."""

    def __init__(self, service: Callable[[], Any]) -> None:
        super().__init__(service)
        self.between: list[Callable[[], None]] = []

    def write(self, tab: Tab, rows: Mapping[int, Mapping[int, Cell | Held]], *, urgent: bool = False) -> Tab:
        if self.between:
            self.between.pop(0)()
        return super().write(tab, rows, urgent=urgent)


def sheets_of(world: World) -> Sheets:
    return Sheets(lambda: world.client())


@pytest.mark.parametrize(
    ("held", "kind", "pattern", "shown"),
    [
        (1234, "", "", "1234"),
        (0.45, "PERCENT", "0%", "45%"),
        (NOON, "DATE", "yyyy-mm-dd", "2025-11-22"),
        (0.395833334, "TIME", "hh:mm", "09:30"),
        (99.5, "NUMBER", "0.00", "99.50"),
        (None, "", "", ""),
    ],
    ids=["number", "percent", "date", "time", "decimals", "nothing"],
)
def test_what_a_time_hit_is_shown_as_before(
    world: World, held: float | None, kind: str, pattern: str, shown: str
) -> None:
    """A column moves between our read and our write; the cell has its own format again, or none."""
    sheets = sheets_of(world)
    with world.book.editing("person"):
        world.sheet.set_cell(
            1, SEED, held, format={"numberFormat": {"type": kind, "pattern": pattern}} if kind else None
        )
    tab = sheets.read(BOOK, 0)
    world.sheet.move_cols(SEED, 1, STARTED)
    assert write(sheets, tab, {1: {STARTED: Time(NOON), FINISHED: Time(NOON)}}) == {1}
    assert world.shown(2, len(HEADER))[1][STARTED] == shown


def test_what_is_hit_while_a_row_is_put_right_keeps_its_format(world: World) -> None:
    """Rows move again, before the write that puts right: the cell that it hits was shown as a time, and is."""
    sheets = Shaken(lambda: world.client())
    write(sheets, sheets.read(BOOK, 0), {2: {STARTED: Time(NOON)}})
    tab = sheets.read(BOOK, 0)
    sheets.between += [lambda: world.sheet.insert_rows(1, 1), lambda: world.sheet.move_rows(3, 1, 1)]
    assert write(sheets, tab, {1: {STARTED: Time(NOON + 1)}}) == {1}
    assert [line[STARTED] for line in world.shown(4, len(HEADER))] == ["Started at", "2025-11-22 12:00:00", "", ""]


def test_what_is_typed_later_where_a_time_hit_nothing_is_no_date(world: World) -> None:
    """The format goes with the time, where nothing was before it."""
    sheets = sheets_of(world)
    tab = sheets.read(BOOK, 0)
    world.sheet.move_cols(SEED, 1, STARTED)
    write(sheets, tab, {1: {STARTED: Time(NOON)}})
    with world.book.editing("person"):
        world.sheet.enter(1, STARTED, "7")
    assert world.shown(2, len(HEADER))[1][STARTED] == "7"


def test_a_time_of_another_row_is_a_time_again(world: World) -> None:
    """Rows change places: what is put back into a column of times is shown as one."""
    sheets = sheets_of(world)
    write(sheets, sheets.read(BOOK, 0), {2: {STARTED: Time(NOON)}})
    tab = sheets.read(BOOK, 0)
    world.sheet.move_rows(2, 1, 1)
    assert write(sheets, tab, {1: {STARTED: Time(NOON + 1)}}) == {1}
    assert [line[STARTED] for line in world.shown(3, len(HEADER))] == ["Started at", "2025-11-22 12:00:00", ""]
