"""
Say when the next job may be taken for one ComfyUI, from measured times.

ComfyUI runs one prompt at a time. A job that is taken too late leaves the GPU idle; one that is taken too early waits
behind a busy GPU while another worker's stands idle. So the next is taken when all that is ahead of it is expected to
end about when it will be ready: its lead time, from the receive to the submitted prompt, is measured too.

- How long a run takes is the median of this workflow's last runs. Of a workflow that never ran here nothing is known:
  nothing is taken behind it until it ends, or until its sampler's steps tell.
- A run that takes longer than it should may take much longer: what is left is then guessed to be what it is late by.
- A job may ask to be alone: nobody is let in, and it waits until the others are over.
"""

from __future__ import annotations

import math
import statistics
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final

from worker.clock import Clock

RUNS_KEPT: Final = 9
LEADS_KEPT: Final = 20
WORKFLOWS_KEPT: Final = 256
LEAD_FIRST_S: Final = 0.25
"""Until the first job was made ready."""
LEAD_FACTOR: Final = 1.5
LEAD_MARGIN_S: Final = 0.05
RECEIVE_MOST_S: Final = 0.3
"""A receive that took longer has waited for a message: that is no lead time."""
LOOK_AGAIN_S: Final = 0.25
GAPS_KEPT: Final = 100
DOWN_KEPT_S: Final = 15.0
"""For so long a job that went down with the server is known as the one that ran: the others notice soon after it."""


class Ticket:
    """Hold one hand's place before the GPU, from the receive to the end of the rendering."""

    def __init__(self, pace: Pace, entered_at: float) -> None:
        self.entered_at = entered_at
        self.taken_at: float | None = None
        self.begun_at: float | None = None
        self.over_at: float | None = None
        self.workflow: str | None = None
        self.is_alone = False
        self.left_in_node_s: Callable[[float], float | None] = _nothing_known
        """Asked with the monotonic time; told by the sampler's steps."""
        self.pace = pace

    def taken(self) -> None:
        """Note that a message came."""
        self.pace.note_taken(self)

    def moved_here(self) -> None:
        """Note that there is a job at once: it comes from another ComfyUI of this worker."""
        self.pace.note_moved_here(self)

    def claimed(self, workflow: str) -> None:
        """Note which workflow it is."""
        self.workflow = workflow

    def submitted(self) -> None:
        """Note that ComfyUI has the prompt."""
        self.pace.note_submitted(self)

    def begun(self) -> None:
        """Note that the GPU works on it."""
        self.pace.note_begun(self)

    def claim_alone(self) -> bool:
        """Let nobody else in until this job is over; False: another one has asked for that already."""
        return self.pace.claim_alone(self)

    def wait_alone(self, is_wanted: Callable[[], bool]) -> None:
        """Wait until the other jobs are over, or *is_wanted* says that it is of no use any more."""
        self.pace.wait_alone(self, is_wanted)

    def went_down(self) -> None:
        """Note that ComfyUI ended or hung, and took this job with it. Called before `over`."""
        self.pace.note_went_down(self)

    @property
    def is_bystander(self) -> bool:
        """Say whether this job only waited behind another one of ours, with which ComfyUI went down."""
        return self.pace.is_bystander(self)

    def left_s(self) -> float:
        """Guess how long the GPU still needs for this job."""
        return self.pace.left_s(self)

    def ran_ms(self) -> int:
        """Say how long the GPU has worked for it until now."""
        return self.pace.ran_ms(self)

    def over(self) -> None:
        """Note that the GPU is done with it, well or not; also when it never came to that. May be repeated."""
        self.pace.note_over(self)


class Pace:
    """Let hands through to the next job of one ComfyUI, one at a time, *slots* at once at most."""

    def __init__(self, slots: int, clock: Clock) -> None:
        self._slots = slots
        self._clock = clock
        self._tickets: list[Ticket] = []
        self._runs: OrderedDict[str, deque[float]] = OrderedDict()
        self._all_runs: deque[float] = deque(maxlen=RUNS_KEPT)
        self._leads: deque[float] = deque(maxlen=LEADS_KEPT)
        self._receives: deque[float] = deque(maxlen=LEADS_KEPT)
        self._gaps: deque[float] = deque(maxlen=GAPS_KEPT)
        self._door = threading.Lock()
        self._lock = threading.Lock()
        self._changed = threading.Event()
        self._idle_since: float | None = None
        self._down_at: float | None = None
        """When a job that had begun went down with ComfyUI."""
        self.on_idle_gap: Callable[[float], None] = _ignore
        """Told the seconds between one rendering's end and the next one's begin, when the next was there in time."""

    def enter(self, is_open: Callable[[], bool]) -> Ticket | None:
        """Wait until the next job may be taken; None when *is_open* says that none will be any more."""
        with self._door:
            while is_open():
                now = self._clock.monotonic()
                self._changed.clear()
                with self._lock:
                    wait_s = self._wait_s(now)
                    if wait_s <= 0:
                        ticket = Ticket(self, now)
                        self._tickets.append(ticket)
                        return ticket
                self._clock.wait(self._changed, min(wait_s, LOOK_AGAIN_S))
        return None

    def is_held_alone(self) -> bool:
        """Say whether a job has this ComfyUI to itself, or waits for that."""
        with self._lock:
            return any(ticket.is_alone for ticket in self._tickets)

    def claim_alone(self, ticket: Ticket) -> bool:
        with self._lock:
            ticket.is_alone = not any(other.is_alone for other in self._tickets if other is not ticket)
            return ticket.is_alone

    def wait_alone(self, ticket: Ticket, is_wanted: Callable[[], bool]) -> None:
        while is_wanted():
            self._changed.clear()
            with self._lock:
                if not any(other.taken_at is not None for other in self._tickets if other is not ticket):
                    return
            self._clock.wait(self._changed, LOOK_AGAIN_S)

    @property
    def slots(self) -> int:
        """Say how many jobs may be on their way at once."""
        return self._slots

    def running(self) -> int:
        """Count the jobs that the GPU works on."""
        with self._lock:
            return sum(ticket.begun_at is not None for ticket in self._tickets)

    def gaps_s(self) -> list[float]:
        """List the last idle gaps in seconds, see `on_idle_gap`."""
        with self._lock:
            return list(self._gaps)

    def wake(self) -> None:
        """Let whoever waits look again."""
        self._changed.set()

    def expected_s(self, workflow: str) -> float | None:
        """Say how long a run of *workflow* takes here; None: it never ran."""
        with self._lock:
            return self._expected_s(workflow)

    def left_s(self, ticket: Ticket) -> float:
        """Guess how long the GPU still needs for *ticket*'s job; infinite when nothing is known."""
        with self._lock:
            return self._left_s(ticket, self._clock.monotonic())

    def until_done_s(self, ticket: Ticket, workflow: str) -> float | None:
        """Guess in how long a run of *workflow* at *ticket*'s place would be over; None: it never ran here."""
        with self._lock:
            expected_s = self._expected_s(workflow)
            if expected_s is None:
                return None
            now = self._clock.monotonic()
            ahead_s = [self._left_s(other, now) for other in self._tickets if other is not ticket]
            return expected_s + sum(left_s for left_s in ahead_s if math.isfinite(left_s))

    def note_taken(self, ticket: Ticket) -> None:
        with self._lock:
            ticket.taken_at = self._clock.monotonic()
            self._receives.append(min(ticket.taken_at - ticket.entered_at, RECEIVE_MOST_S))

    def note_moved_here(self, ticket: Ticket) -> None:
        # No message was waited for: that is no measure of how long a receive takes.
        with self._lock:
            ticket.taken_at = self._clock.monotonic()

    def note_submitted(self, ticket: Ticket) -> None:
        with self._lock:
            if ticket.taken_at is not None:
                self._leads.append(self._clock.monotonic() - ticket.taken_at)

    def note_begun(self, ticket: Ticket) -> None:
        now = self._clock.monotonic()
        with self._lock:
            if ticket.begun_at is not None or ticket not in self._tickets:
                return
            ticket.begun_at = now
            gap_s = now - self._idle_since if self._idle_since is not None else None
            self._idle_since = None
            if gap_s is not None:
                self._gaps.append(gap_s)
        if gap_s is not None:
            self.on_idle_gap(gap_s)
        self._changed.set()

    def note_went_down(self, ticket: Ticket) -> None:
        with self._lock:
            if ticket.begun_at is not None:
                self._down_at = self._clock.monotonic()

    def is_bystander(self, ticket: Ticket) -> bool:
        now = self._clock.monotonic()
        with self._lock:
            if ticket.begun_at is not None:
                return False
            # ComfyUI runs one prompt at a time: while another one of ours was at work, this one was not.
            if any(other.begun_at is not None for other in self._tickets):
                return True
            return (
                self._down_at is not None and ticket.entered_at <= self._down_at and now - self._down_at < DOWN_KEPT_S
            )

    def note_over(self, ticket: Ticket) -> None:
        now = self._clock.monotonic()
        with self._lock:
            if ticket not in self._tickets:
                return
            self._tickets.remove(ticket)
            ticket.over_at = now
            if ticket.begun_at is not None:
                self._learn(ticket.workflow, now - ticket.begun_at)
                # With nothing behind it the GPU idles because there is no work: that is no gap.
                waits = any(other.taken_at is not None for other in self._tickets)
                self._idle_since = now if waits else None
        self._changed.set()

    def ran_ms(self, ticket: Ticket) -> int:
        """Say how long the GPU has worked for a ticket's job until now; nothing when it never began."""
        if ticket.begun_at is None:
            return 0
        until = self._clock.monotonic() if ticket.over_at is None else ticket.over_at
        return max(0, round((until - ticket.begun_at) * 1000))

    def _learn(self, workflow: str | None, run_s: float) -> None:
        self._all_runs.append(run_s)
        if workflow is None:
            return
        runs = self._runs.setdefault(workflow, deque(maxlen=RUNS_KEPT))
        runs.append(run_s)
        self._runs.move_to_end(workflow)
        while len(self._runs) > WORKFLOWS_KEPT:
            self._runs.popitem(last=False)

    def _wait_s(self, now: float) -> float:
        """Say how long the next take should wait, as far as can be told now."""
        if len(self._tickets) >= self._slots or any(ticket.is_alone for ticket in self._tickets):
            return math.inf
        return sum(self._left_s(ticket, now) for ticket in self._tickets) - self._lead_s()

    def _lead_s(self) -> float:
        """Say how long before the GPU is free a job has to be taken: nine of ten were ready in this time."""
        if not self._leads:
            return LEAD_FIRST_S
        ready_s = sorted(self._leads)[math.ceil(0.9 * len(self._leads)) - 1]
        return (min(self._receives, default=0.0) + ready_s) * LEAD_FACTOR + LEAD_MARGIN_S

    def _left_s(self, ticket: Ticket, now: float) -> float:
        expected_s = self._expected_s(ticket.workflow)
        if ticket.begun_at is None:
            return math.inf if expected_s is None else expected_s
        in_node_s = ticket.left_in_node_s(now)
        left_s = math.inf if expected_s is None else expected_s - (now - ticket.begun_at)
        if in_node_s is not None:
            # Steps that are known beat a run that is late, and one that is unknown.
            return in_node_s if left_s < 0 or expected_s is None else max(left_s, in_node_s)
        return abs(left_s)

    def _expected_s(self, workflow: str | None) -> float | None:
        runs = self._all_runs if workflow is None else self._runs.get(workflow)
        return statistics.median(runs) if runs else None


def _nothing_known(_now: float) -> float | None:
    return None


def _ignore(_seconds: float) -> None:
    return None
