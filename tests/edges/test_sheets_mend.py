"""What a write hit by mistake is put back over Google's own protocol: values, and what they are shown as."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chalicelib.cells import Time
from chalicelib.mend import write
from chalicelib.sheet import Sheets
from tests.edges.sheets_world import BOOK, World

HEADER = ("Prompt", "Job ID", "Started at", "Finished at", "Seed", "Due")
STARTED, FINISHED, SEED, DUE = 2, 3, 4, 5
NOON = 45_983.5


@pytest.fixture
def world() -> Iterator[World]:
    with World() as one:
        one.fill(HEADER, ("a fox", "k1", None, None, 1234, None), ("an owl", "k2"))
        with one.book.editing("person"):
            one.sheet.enter(1, DUE, "2026-12-24")
        yield one


def sheets_of(world: World) -> Sheets:
    return Sheets(lambda: world.client())


@pytest.mark.parametrize(
    ("moved", "shown"),
    [(SEED, "1234"), (DUE, "2026-12-24 00:00:00"), (FINISHED, "")],
    ids=["number", "date", "none"],
)
def test_a_number_that_a_time_hit_is_no_date(world: World, moved: int, shown: str) -> None:
    """A column moves between our read and our write; a date stays one."""
    sheets = sheets_of(world)
    tab = sheets.read(BOOK, 0)
    world.sheet.move_cols(moved, 1, STARTED)
    assert write(sheets, tab, {1: {STARTED: Time(NOON), FINISHED: Time(NOON)}}) == {1}
    assert world.shown(2, len(HEADER))[1][STARTED] == shown


def test_what_is_typed_later_where_a_time_hit_nothing_is_no_date(world: World) -> None:
    """The format goes with the time, where nothing was before it."""
    sheets = sheets_of(world)
    with world.book.editing("person"):
        world.sheet.set_cell(1, SEED, None)
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
