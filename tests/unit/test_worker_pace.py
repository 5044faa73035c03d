"""The pace: the next job is taken when it will be ready about when the GPU is free, and not before."""

from __future__ import annotations

import threading

from chalicelib.contract.ports import Lease
from tests.jobs import NOW, new_job
from tests.worker_fakes import FakeClock
from worker.lease import Holding
from worker.pace import Pace, Ticket
from worker.ports import Delivery


class Track:
    """Drive a pace in the fake clock's time."""

    def __init__(self, slots: int = 2) -> None:
        self.clock = FakeClock(NOW)
        self.pace = Pace(slots, self.clock)
        self.gaps: list[float] = []
        self.pace.on_idle_gap = self.gaps.append

    def enter(self) -> Ticket:
        ticket = self.pace.enter(lambda: True)
        assert ticket is not None
        return ticket

    def ready(self, workflow: str = "w", *, receive_s: float = 0.04, prepare_s: float = 0.06) -> Ticket:
        """Take a job and make it ready."""
        ticket = self.enter()
        self.clock.pass_time(receive_s)
        ticket.taken()
        ticket.claimed(workflow)
        self.clock.pass_time(prepare_s)
        ticket.submitted()
        return ticket

    def run(self, workflow: str, seconds: float) -> None:
        """Let a whole job run."""
        ticket = self.ready(workflow)
        ticket.begun()
        self.clock.pass_time(seconds)
        ticket.over()

    def waited_s(self) -> float:
        """Say how long a hand waits at the door now."""
        before = self.clock.monotonic()
        self.enter()
        return self.clock.monotonic() - before


def test_an_idle_gpu_waits_for_nobody() -> None:
    """Nothing is ahead: the next job is taken at once."""
    assert Track().waited_s() == 0


def test_a_job_is_taken_when_it_will_be_ready_as_the_gpu_gets_free() -> None:
    """Of a run of 10 s the next job is taken in its last fraction of a second: not at its begin, not after its end."""
    track = Track()
    track.run("w", 10)
    running = track.ready("w")
    running.begun()
    waited = track.waited_s()
    assert 9.5 < waited < 9.9


def test_a_slow_start_is_taken_into_account() -> None:
    """Where making ready takes 3 s (inputs from afar), the next job is taken 3 s before the end, and a margin."""
    track = Track()
    for _ in range(3):
        ticket = track.ready("w", prepare_s=3)
        ticket.begun()
        track.clock.pass_time(20)
        ticket.over()
    track.ready("w", prepare_s=3).begun()
    assert 14 < track.waited_s() < 17


def test_behind_an_unknown_workflow_nothing_is_taken() -> None:
    """A workflow that never ran here may take an hour: another worker's GPU should have the next job."""
    track = Track()
    running = track.ready("new")
    running.begun()
    track.clock.after(1000, running.over)
    assert track.waited_s() >= 999


def test_the_samplers_steps_tell_the_end_of_an_unknown_workflow() -> None:
    """With 20 s of steps left 19 s are waited, without ever having seen the workflow."""
    track = Track()
    running = track.ready("new")
    running.begun()
    end = track.clock.monotonic() + 20
    running.left_in_node_s = lambda now: max(0.0, end - now)
    assert 18 < track.waited_s() < 20


def test_more_steps_than_usual_count() -> None:
    """A run whose steps say that it takes longer than its kind is believed."""
    track = Track()
    track.run("w", 2)
    running = track.ready("w")
    running.begun()
    end = track.clock.monotonic() + 30
    running.left_in_node_s = lambda now: max(0.0, end - now)
    assert track.waited_s() > 28


def test_a_run_that_is_late_may_be_late_for_long() -> None:
    """Once a run takes much longer than it should, nobody bets on its end any more."""
    track = Track()
    track.run("w", 2)
    running = track.ready("w")
    running.begun()
    track.clock.pass_time(30)
    track.clock.after(100, running.over)
    assert track.waited_s() >= 99


def test_slots_are_the_limit() -> None:
    """However short the runs are, no more jobs than slots are before the GPU."""
    track = Track(slots=3)
    track.run("w", 0.005)
    tickets = [track.ready("w") for _ in range(3)]
    track.clock.after(7, tickets[0].over)
    assert track.waited_s() >= 6.9


def test_two_empty_slots_do_not_both_wait_for_messages() -> None:
    """Before anything is known one hand polls: of two messages that come at once the other is for another GPU."""
    track = Track()
    polling = track.enter()
    track.clock.after(20, polling.over)
    assert track.waited_s() >= 19.9


def test_the_door_opens_for_nobody_once_the_house_closes() -> None:
    """A hand that waits at the door goes home."""
    track = Track()
    closing = threading.Event()
    track.ready("new").begun()
    track.clock.after(5, closing.set)
    assert track.pace.enter(lambda: not closing.is_set()) is None


def test_the_idle_gap_is_measured_only_when_there_was_work() -> None:
    """From one end to the next begin, when the next job was in hand by then; an empty queue is no gap."""
    track = Track()
    track.run("w", 1)
    track.clock.pass_time(60)
    first = track.ready("w")
    first.begun()
    track.clock.pass_time(0.9)
    second = track.ready("w")
    first.over()
    track.clock.pass_time(0.003)
    second.begun()
    assert [round(gap, 3) for gap in track.gaps] == [0.003]


def test_an_end_told_twice_is_told_once() -> None:
    """The socket and the history both say it; a cancelled job is over before it begins."""
    track = Track()
    ticket = track.ready("w")
    ticket.over()
    ticket.begun()
    ticket.over()
    assert track.pace.expected_s("w") is None and track.waited_s() == 0


def test_what_the_gpu_worked_for_a_job_is_added_to_its_earlier_attempts() -> None:
    """From the begin to the end of the rendering, not while it waits or uploads; nothing if it never began."""
    track = Track()
    ticket = track.ready()
    job = new_job(spent_ms=4_000)
    holding = Holding(job, Lease(job.job_id, 2, "t"), Delivery("r", 1, None), track.clock, 0.0, ticket)
    track.clock.pass_time(3)
    assert (ticket.ran_ms(), holding.spent_ms()) == (0, 4_000)
    holding.begun()
    track.clock.pass_time(2.5)
    assert holding.spent_ms() == 6_500
    holding.ended()
    track.clock.pass_time(9)
    assert holding.spent_ms() == 6_500
    first = Holding(new_job(), Lease("j", 1, "t"), Delivery("r", 1, None), track.clock, 0.0, track.ready())
    assert first.spent_ms() is None, "nothing to tell"
