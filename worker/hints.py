"""
Tell completion that jobs have news: SQS FIFO, one group per sheet, so that one reader at a time writes a sheet.

The news of an ended job is sent in the job's path, before its message is deleted (that message is the outbox). Lesser
news (a job was claimed or handed back) goes out on a thread of its own, and only warns when it fails.
"""

from __future__ import annotations

import queue
from typing import TYPE_CHECKING, Final

import structlog

from chalicelib.contract.errors import Unavailable
from chalicelib.contract.events import Hint, hint_dedup_id
from chalicelib.contract.job import Job
from worker.aws import renamed
from worker.ports import Hints

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

MAX_WAITING: Final = 1000

log = structlog.get_logger()


class SqsHints:
    """Send hints to the completions queue."""

    def __init__(self, client: SQSClient, queue_url: str) -> None:
        self._client = client
        self._queue_url = queue_url

    def send(self, hint: Hint, group: str) -> None:
        """Send *hint*; *group* names the sheet, or the client of a job without one."""
        with renamed("The completions queue"):
            self._client.send_message(
                QueueUrl=self._queue_url,
                MessageBody=hint.model_dump_json(),
                MessageGroupId=group,
                MessageDeduplicationId=hint_dedup_id(hint),
            )


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
