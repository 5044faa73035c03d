"""
Carry news of jobs to completion, and delete the messages of those that have ended, on one thread.

The order of each job is kept: first its hint, then the deletion of its message, for that message is the outbox: whoever
dies in between leaves it, and its next receiver finds an ended job and says it again. What waits goes ten at a time.
"""

from __future__ import annotations

import queue
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from chalicelib.contract.errors import Unavailable
from chalicelib.contract.events import Hint
from chalicelib.contract.job import Job
from worker.ports import Delivery, Hints, Inbox

MAX_WAITING: Final = 10_000
BATCH: Final = 10
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


class Postman:
    """Carry hints on one thread, so that no job waits for them."""

    def __init__(self, hints: Hints, inbox: Inbox) -> None:
        self._hints = hints
        self._inbox = inbox
        self._waiting: queue.Queue[Parcel | None] = queue.Queue(MAX_WAITING)

    def tell(self, job: Job, version: int, *, then_drop: Delivery | None = None) -> None:
        """
        Let a hint be sent soon, and *then_drop* be deleted after it.

        Nothing is lost when it is not: the sweeper says it again, and a message that is left comes back.
        """
        try:
            self._waiting.put_nowait(Parcel(Hint(job_id=job.job_id, version=version), group_of(job), then_drop))
        except queue.Full:
            log.warning("a hint was left out", action="hint", job_id=job.job_id, reason="too many are waiting")

    def run(self) -> None:
        """Send until `close`, then what still waits."""
        while (first := self._waiting.get()) is not None:
            parcels, is_closing = self._gather(first)
            self.carry(parcels)
            if is_closing:
                return

    def close(self) -> None:
        """End `run` when all that waits is sent."""
        self._waiting.put(None)

    def _gather(self, first: Parcel) -> tuple[list[Parcel], bool]:
        """Take what waits behind *first*, ten in all at most; whether the end was among it."""
        parcels = [first]
        while len(parcels) < BATCH:
            try:
                waiting = self._waiting.get_nowait()
            except queue.Empty:
                break
            if waiting is None:
                return parcels, True
            parcels.append(waiting)
        return parcels, False

    def carry(self, parcels: Sequence[Parcel]) -> None:
        """Send the hints, then delete the messages of those that were taken."""
        try:
            unsent = self._hints.send_all([(parcel.hint, parcel.group) for parcel in parcels])
        except Unavailable as error:
            log.warning("hints were not sent", action="hint", files=len(parcels), reason=error.message)
            unsent = set(range(len(parcels)))
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
