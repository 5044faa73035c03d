"""The window reads little of the table: it stands before every job that comes and after every one that ends."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from chalicelib.contract.job import Job
from chalicelib.contract.ports import Line
from chalicelib.window import NARROWEST, Window
from tests.fakes import MemoryLedger
from tests.jobs import NOW, new_job
from tests.window_house import House


class Watched(MemoryLedger):
    """Note what is read, of the table of *house*."""

    def __init__(self, house: House) -> None:
        self.__dict__ = {**house.ledger.__dict__, "lines": [], "counted": [], "asked": []}

    def line(self, client_id: str, limit: int) -> Line:
        self.lines.append(limit)
        return super().line(client_id, limit)

    def open_jobs(self, client_id: str) -> int:
        self.counted.append(client_id)
        return super().open_jobs(client_id)

    def get_many(self, job_ids: Sequence[str]) -> list[Job]:
        self.asked += job_ids
        return super().get_many(job_ids)


def never() -> int:
    raise AssertionError("the crew was asked")


@pytest.mark.parametrize("many", [1, NARROWEST])
def test_jobs_of_a_quiet_client_cost_one_read_more_than_their_put_and_their_message(many: int) -> None:
    """And nobody asks how many GPUs there are."""
    house = House()
    watched = Watched(house)
    admitted = Window(watched, house, never, lambda: NOW).admit([new_job() for _ in range(many)])
    assert [job.seq for job in admitted.jobs] == [1] * many and not admitted.has_room
    assert (watched.lines, watched.counted, watched.asked) == ([NARROWEST + 1], [], [])


def test_nothing_that_comes_costs_nothing() -> None:
    """An empty request."""
    house = House()
    watched = Watched(house)
    assert Window(watched, house, never, lambda: NOW).admit([]).jobs == () and watched.lines == []


@pytest.mark.parametrize(
    ("out", "coming", "gpus", "lines"),
    [
        (3, 2, 8, [NARROWEST + 1]),
        (6, 1, 1, [NARROWEST + 1]),
        (6, 1, 8, [NARROWEST + 1, 17]),
        (0, 5, 8, [17]),
    ],
)
def test_the_line_is_read_once_more_only_where_its_head_says_too_little(
    out: int, coming: int, gpus: int, lines: list[int]
) -> None:
    """To one behind the window's last place; not where it was read to its end, or the window is the narrowest."""
    house = House(gpus=gpus)
    house.flood("client-1", out)
    watched = Watched(house)
    assert (
        len(Window(watched, house, lambda: gpus, lambda: NOW).admit([new_job() for _ in range(coming)]).jobs) == coming
    )
    assert watched.lines == lines


def test_a_wide_window_is_full_when_its_last_place_is_taken() -> None:
    """Sixteen places of eight GPUs: the seventeenth job is held."""
    house = House(gpus=8)
    assert [job.is_held for job in house.flood("client-1", 16)] == [False] * 16
    assert house.flood("client-1", 1)[0].is_held


@pytest.mark.parametrize("most", [0, NARROWEST + 1])
def test_who_may_have_no_more_is_told_without_a_count(most: int) -> None:
    """The head of the line says it already: a client that asks again and again costs little."""
    house = House()
    house.flood("client-1", NARROWEST + 1)
    watched = Watched(house)
    admitted = Window(watched, house, lambda: 1, lambda: NOW).admit([new_job()], most)
    assert admitted.jobs == () and admitted.refusal is not None and watched.counted == []


def test_who_lets_one_go_reads_one() -> None:
    """Not all that wait with it, and of the line twice the window: what has ended may stand there still."""
    house = House()
    jobs = house.flood("client-1", 20)
    claimed = house.claim()
    assert claimed is not None
    word = house.end(claimed)
    watched = Watched(house)
    assert Window(watched, house, lambda: 1, lambda: NOW).refill("client-1", [word.ended]) == 1
    assert (watched.asked, watched.lines) == ([jobs[NARROWEST].job_id], [2 * NARROWEST + 1])


@pytest.mark.parametrize("more", [1, 6])
def test_where_more_is_out_than_there_is_room_no_job_is_read(more: int) -> None:
    """The fleet has shrunk since they went."""
    house = House()
    jobs = house.flood("client-1", 30)
    for job in jobs[NARROWEST : NARROWEST + more]:
        assert house.ledger.resend(job, now=NOW) == 1
    watched = Watched(house)
    assert Window(watched, house, lambda: 1, lambda: NOW).refill("client-1") == 0 and watched.asked == []
