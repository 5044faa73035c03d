"""
Keep what this worker holds: each lease and its message, renewed together until the attempt is settled.

- The lease first, then the message's visibility: visibility always ends later, so a re-delivered message finds a lease
  that is dead.
- A lease that cannot be renewed because the table says so is lost: the attempt is told to stop. One that cannot be
  renewed because the table is out of reach is not: every later write is fenced by attempt and token anyway.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import structlog

from chalicelib.contract.errors import Unavailable
from chalicelib.contract.job import Job, Output, Progress
from chalicelib.contract.ports import Lease, Ledger
from worker.clock import Clock
from worker.pace import Ticket
from worker.ports import Delivery, Inbox, Watch
from worker.record import Record
from worker.settings import Settings
from worker.verdicts import Stop

if TYPE_CHECKING:
    from worker.deliver import Courier

LET_GO_S: Final = 1.0
PROGRESS_S: Final = 2.0
"""The least time between two writes of a job's progress."""

log = structlog.get_logger()


class Holding:
    """Hold one running attempt: its job as claimed, its lease, its message, its place, and how far it is."""

    def __init__(self, job: Job, lease: Lease, delivery: Delivery, clock: Clock, beat_s: float, ticket: Ticket) -> None:
        self._clock = clock
        self._claimed_ms = clock.now_ms()
        self._claimed_at = clock.monotonic()
        self.job = job
        self.lease = lease
        self.delivery = delivery
        self.ticket = ticket
        self.record = Record()
        self.courier: Courier | None = None
        self.bell = threading.Event()
        """Rings when the attempt should look around: news from ComfyUI, or a stop."""
        self.phase = "preparing"
        self.prompt_id: str | None = None
        self.watch: Watch | None = None
        self.stopped: Stop | None = None
        self.beat_at = self._claimed_at + beat_s
        # What is over before its first progress is due costs no write.
        self.told_at = self._claimed_at
        self.told: Progress | None = None
        """The progress that the table shows, and since when (monotonic)."""
        self.told_outputs: tuple[Output, ...] = ()
        """The outputs that the table shows."""
        self.is_released = False
        self.beating = threading.Lock()

    def now_ms(self) -> int:
        """
        Tell the time by the clock as it was at the claim, when it was known to be right, whatever was done to it since.

        A clock that is set forward while a job runs would lock the job away by a lease that far in the future; one that
        is set back would give it to others while it runs here.
        """
        return self._claimed_ms + round((self._clock.monotonic() - self._claimed_at) * 1000)

    def begun(self) -> None:
        """Note that the GPU works on it."""
        self.ticket.begun()

    def ended(self) -> None:
        """Note that the GPU is done with it, and look at the history."""
        self.ticket.over()
        self.bell.set()

    def ring(self) -> None:
        """Let the attempt look around."""
        self.bell.set()

    def left_s(self) -> float:
        """Guess how long its rendering still takes; nothing once it is over."""
        return self.ticket.left_s() if self.phase != "uploading" else 0.0

    def spent_ms(self) -> int | None:
        """Say how long GPUs have worked for the job until now, in all its attempts; None: not at all."""
        return (self.job.spent_ms or 0) + self.ticket.ran_ms() or None

    def stop(self, why: Stop) -> None:
        """Tell the attempt to end; the first reason stays."""
        self.stopped = self.stopped or why
        self.bell.set()

    def progress(self) -> Progress | None:
        """Say how far the rendering is, as ComfyUI told last."""
        watch = self.watch
        return watch.course.progress() if watch is not None else None

    def outputs(self) -> tuple[Output, ...]:
        """Give the outputs that are uploaded so far."""
        return self.courier.ready() if self.courier is not None else ()


class Keeper:
    """Renew all holdings from one thread."""

    def __init__(
        self,
        ledger: Ledger,
        inbox: Inbox,
        clock: Clock,
        settings: Settings,
        on_progress: Callable[[Holding, Progress], None] = lambda _holding, _progress: None,
    ) -> None:
        self._on_progress = on_progress
        self._ledger = ledger
        self._inbox = inbox
        self._clock = clock
        self._settings = settings
        self._holdings: dict[int, Holding] = {}
        self._lock = threading.Lock()
        self._changed = threading.Event()
        self._ended = False

    def hold(self, job: Job, lease: Lease, delivery: Delivery, ticket: Ticket) -> Holding:
        """Begin to renew a lease that was just claimed."""
        holding = Holding(job, lease, delivery, self._clock, self._settings.heartbeat_s, ticket)
        with self._lock:
            self._holdings[id(holding)] = holding
        self._changed.set()
        return holding

    def let_go(self, holding: Holding) -> None:
        """Renew no more. Waits for a renewal that is under way, lest it hide the message after we moved it."""
        with self._lock:
            self._holdings.pop(id(holding), None)
        holding.is_released = True
        if holding.beating.acquire(timeout=LET_GO_S):
            holding.beating.release()

    def holdings(self) -> list[Holding]:
        """List what is held now."""
        with self._lock:
            return list(self._holdings.values())

    def run(self) -> None:
        """Renew whatever is due, until `close`."""
        while not self._ended:
            self.beat()
            due = [holding.beat_at for holding in self.holdings()]
            pause = min(due) - self._clock.monotonic() if due else self._settings.heartbeat_s
            self._clock.wait(self._changed, min(pause, PROGRESS_S / 2) if due else pause)
            self._changed.clear()

    def close(self) -> None:
        """End `run`."""
        self._ended = True
        self._changed.set()

    def beat(self) -> None:
        """Renew every holding that is due, and tell progress and outputs of those that have moved, once."""
        for holding in self.holdings():
            now = self._clock.monotonic()
            is_due = holding.beat_at <= now
            progress = holding.progress()
            is_time = now - holding.told_at >= PROGRESS_S
            has_moved = progress is not None and progress != holding.told and is_time
            has_more = is_time and holding.outputs() != holding.told_outputs
            if not is_due and not has_moved and not has_more:
                continue
            with holding.beating:
                if not holding.is_released and holding.stopped is None:
                    self._renew(holding, progress, is_due=is_due)
            if has_moved and progress is not None:
                self._on_progress(holding, progress)

    def _renew(self, holding: Holding, progress: Progress | None, *, is_due: bool) -> None:
        """Prolong the lease and show progress and outputs; hide the message again only when that is due."""
        until = holding.now_ms() + int(self._settings.lease_s * 1000)
        now = self._clock.monotonic()
        if is_due:
            holding.beat_at = now + self._settings.heartbeat_s
        holding.told, holding.told_at = progress, now
        outputs = holding.outputs()
        more = outputs if outputs != holding.told_outputs else None
        try:
            kept = self._ledger.heartbeat(
                holding.lease,
                until=until,
                phase=holding.phase,
                progress=progress,
                outputs=more,
                spent_ms=holding.spent_ms(),
            )
            holding.told_outputs = outputs
            if kept and is_due:
                self._inbox.hide(holding.delivery, self._settings.visibility_s)
        except Unavailable as error:
            if is_due:
                holding.beat_at = self._clock.monotonic() + self._settings.heartbeat_s / 3
            log.warning("a lease was not renewed", **_names(holding), action="heartbeat", reason=error.message)
            return
        if not kept:
            log.warning("the lease is lost", **_names(holding), action="heartbeat")
            holding.stop(Stop.LOST)


def _names(holding: Holding) -> dict[str, object]:
    return {"job_id": holding.lease.job_id, "attempt": holding.lease.attempt}
