"""Who pays when ComfyUI goes down: the job that ran, not those that waited behind it."""

from __future__ import annotations

import threading

from worker.clock import Clock
from worker.pace import DOWN_KEPT_S, Pace, Ticket


class Hands(Clock):
    """Be a clock that is set by hand."""

    def __init__(self) -> None:
        self.at = 100.0

    def monotonic(self) -> float:
        return self.at

    def wait(self, bell: threading.Event, seconds: float) -> bool:
        return bell.is_set()


def pair() -> tuple[Hands, Ticket, Ticket]:
    """Give two jobs of one ComfyUI, the first of which runs."""
    clock = Hands()
    pace = Pace(2, clock)
    first = pace.enter(lambda: True)
    assert first is not None
    first.taken()
    first.claimed("known")
    first.begun()
    first.left_in_node_s = lambda _now: 0.0
    second = pace.enter(lambda: True)
    assert second is not None
    return clock, first, second


def test_who_waits_behind_a_job_that_runs_is_a_bystander() -> None:
    """While another job of ours is at work this one is not, whoever notices first."""
    _, first, second = pair()
    assert second.is_bystander and not first.is_bystander


def test_a_bystander_stays_one_after_the_other_was_given_up() -> None:
    """The one that ran notices first and is gone; what waited behind it still knows, for a while."""
    clock, first, second = pair()
    first.went_down()
    first.over()
    assert second.is_bystander
    clock.at += DOWN_KEPT_S
    assert not second.is_bystander


def test_who_came_after_the_fall_is_no_bystander() -> None:
    """A job that was taken later has nobody to blame."""
    clock, first, second = pair()
    first.went_down()
    first.over()
    second.over()
    clock.at += 1
    later = first.pace.enter(lambda: True)
    assert later is not None and not later.is_bystander


def test_an_end_that_was_no_fall_blames_nobody() -> None:
    """The other job ended well: what happens to this one then is its own."""
    _, first, second = pair()
    first.over()
    assert not second.is_bystander


def test_who_finds_comfyui_down_with_another_pays_nothing() -> None:
    """A job that was taken before anybody knew; but not while the other one simply runs, nor long after."""
    clock, first, second = pair()
    assert not second.is_after_fall
    first.went_down()
    assert second.is_after_fall and not first.is_after_fall
    clock.at += DOWN_KEPT_S
    assert not second.is_after_fall
