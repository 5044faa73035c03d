"""
Carry lesser news (a job was claimed, or waits again) to completion without making any job wait.

The news of an ended job does not go this way: it is sent in the job's path, before its message is deleted, for that
message is the outbox.
"""

from __future__ import annotations

import queue
from typing import Final

import structlog

from chalicelib.contract.errors import Unavailable
from chalicelib.contract.events import Hint
from chalicelib.contract.job import Job
from worker.ports import Hints

MAX_WAITING: Final = 1000

log = structlog.get_logger()


def group_of(job: Job) -> str:
    """Name the FIFO group whose reader shows *job*: its sheet, or its client when it has no row."""
    return job.target.spreadsheet_id if job.target else job.client_id


class Postman:
    """Carry lesser hints on one thread, so that no job waits for them."""

    def __init__(self, hints: Hints) -> None:
        self._hints = hints
        self._waiting: queue.Queue[tuple[Hint, str] | None] = queue.Queue(MAX_WAITING)

    def tell(self, job: Job, version: int) -> None:
        """Let a hint be sent soon. Nothing is lost when it is not: the sweeper and the job's end say it again."""
        try:
            self._waiting.put_nowait((Hint(job_id=job.job_id, version=version), group_of(job)))
        except queue.Full:
            log.warning("a hint was left out", action="hint", job_id=job.job_id, reason="too many are waiting")

    def run(self) -> None:
        """Send until `close`."""
        while (waiting := self._waiting.get()) is not None:
            hint, group = waiting
            try:
                self._hints.send(hint, group)
            except Unavailable as error:
                log.warning("a hint was not sent", action="hint", job_id=hint.job_id, reason=error.message)

    def close(self) -> None:
        """End `run` when all that waits is sent."""
        self._waiting.put(None)
