"""
Carry news of jobs to completion, and delete the messages of those that have ended, on one thread.

- The order of each job is kept: first its hint and word of its end, then the deletion of its message, for that
  message is the outbox: whoever dies in between leaves it, and its next receiver finds an ended job and says it again.
- What waits goes ten at a time; in a busy moment a little is waited for company.
- News that a job was begun waits a moment: when the job ends within it, only the end is told.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from chalicelib.contract.errors import Unavailable
from chalicelib.contract.events import Ended, Hint
from chalicelib.contract.job import Job
from worker.clock import Clock
from worker.ports import Delivery, Hints, Inbox

MAX_WAITING: Final = 10_000
BATCH: Final = 10
LATER_S: Final = 0.3
COMPANY_S: Final = 0.02
BUSY_S: Final = 0.1
"""A moment is busy when the last parcels went less than this ago."""
UNSENT_S: Final = 30.0
"""How long a message is hidden whose hint could not be sent."""

log = structlog.get_logger()


def group_of(job: Job) -> str:
    """Name the FIFO group whose reader shows *job*: its sheet, or its client when it has no row."""
    return job.target.spreadsheet_id if job.target else job.client_id


@dataclass(frozen=True)
class Parcel:
    """Hold one piece of news; *delivery*: the message to delete once it is sent (None: the job goes on)."""

    hint: Hint
    group: str
    delivery: Delivery | None
    client_id: str


class Postman:
    """Carry hints on one thread, so that no job waits for them."""

    def __init__(self, hints: Hints, inbox: Inbox, clock: Clock) -> None:
        self._hints = hints
        self._inbox = inbox
        self._clock = clock
        self._waiting: deque[Parcel] = deque()
        self._later: dict[str, tuple[float, Parcel]] = {}
        """News of jobs that go on, by job: when it is due, and the newest of it."""
        self._lock = threading.Lock()
        self._bell = threading.Event()
        self._closing = threading.Event()
        self._ended = False

    def tell(self, job: Job, version: int, *, then_drop: Delivery | None = None) -> None:
        """
        Let a hint be sent soon, and *then_drop* be deleted after it.

        Nothing is lost when it is not: the sweeper says it again, and a message that is left comes back.
        """
        parcel = Parcel(Hint(job_id=job.job_id, version=version), group_of(job), then_drop, job.client_id)
        with self._lock:
            if len(self._waiting) + len(self._later) >= MAX_WAITING:
                log.warning("a hint was left out", action="hint", job_id=job.job_id, reason="too many are waiting")
                return
            if then_drop is None:
                before = self._later.get(job.job_id)
                due = before[0] if before else self._clock.monotonic() + LATER_S
                self._later[job.job_id] = (due, parcel)
            else:
                self._later.pop(job.job_id, None)
                self._waiting.append(parcel)
        self._bell.set()

    def run(self) -> None:
        """Send until `close`, then what still waits."""
        sent_at = -BUSY_S
        while True:
            self._bell.clear()
            wait_s = self._wait_s()
            if wait_s and not self._ended:
                self._clock.wait(self._bell, wait_s)
                continue
            if not self._ended and self._clock.monotonic() - sent_at < BUSY_S:
                self._clock.wait(self._closing, COMPANY_S)
            parcels = self._gather()
            if not parcels:
                if self._ended:
                    return
                continue
            self.carry(parcels)
            sent_at = self._clock.monotonic()

    def close(self) -> None:
        """End `run` when all that waits is sent."""
        self._ended = True
        self._closing.set()
        self._bell.set()

    def _wait_s(self) -> float:
        """Say how long until something is due."""
        with self._lock:
            if self._waiting:
                return 0.0
            dues = [due for due, _ in self._later.values()]
        return max(0.0, min(dues) - self._clock.monotonic()) if dues else 60.0

    def _gather(self) -> list[Parcel]:
        """Take ten parcels that are due, at most."""
        now = self._clock.monotonic()
        with self._lock:
            for job_id, (due, parcel) in list(self._later.items()):
                if due <= now or self._ended:
                    self._waiting.append(parcel)
                    del self._later[job_id]
            return [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]

    def carry(self, parcels: Sequence[Parcel]) -> None:
        """Send the hints, then delete the messages of those that were taken."""
        try:
            unsent = self._hints.send_all([(parcel.hint, parcel.group) for parcel in parcels])
        except Unavailable as error:
            log.warning("hints were not sent", action="hint", files=len(parcels), reason=error.message)
            unsent = set(range(len(parcels)))
        unsent |= self._untold([(place, parcel) for place, parcel in enumerate(parcels) if place not in unsent])
        sent = [
            parcel.delivery
            for place, parcel in enumerate(parcels)
            if parcel.delivery is not None and place not in unsent
        ]
        try:
            if sent:
                self._inbox.drop_all(sent)
            for place in sorted(unsent):
                left = parcels[place].delivery
                if left is not None:
                    self._inbox.hide(left, UNSENT_S)
        except Unavailable as error:
            log.warning("messages were not deleted", action="drop", files=len(sent), reason=error.message)

    def _untold(self, told: Sequence[tuple[int, Parcel]]) -> set[int]:
        """Send word of the ends among what was *told*, by place; the places of those that were not taken."""
        ends = [(place, parcel) for place, parcel in told if parcel.delivery is not None]
        if not ends:
            return set()
        try:
            failed = self._hints.tell_ends(
                [Ended(ended=parcel.hint.job_id, client_id=parcel.client_id) for _, parcel in ends]
            )
        except Unavailable as error:
            log.warning("ends were not told", action="hint", files=len(ends), reason=error.message)
            return {place for place, _ in ends}
        return {ends[number][0] for number in failed}
