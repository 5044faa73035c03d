"""Send the hints: jobs to the workers, news to the completion. A message lost here is sent again by the sweeper."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.contract.events import Hint, JobMessage, hint_dedup_id
from chalicelib.contract.job import Job

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

log = logging.getLogger(__name__)


class JobQueue:
    """Send jobs to the workers' standard queue; the message group is the client, which makes the queue fair."""

    def __init__(self, client: SQSClient, url: str) -> None:
        self._client = client
        self._url = url

    def send(self, jobs: Sequence[Job]) -> int:
        """Send a message for each job, ten a call; answer how many were taken. Nothing is raised: see above."""
        taken = 0
        for start in range(0, len(jobs), 10):
            part = jobs[start : start + 10]
            entries = [
                {
                    "Id": str(number),
                    "MessageBody": JobMessage(job_id=job.job_id, seq=job.seq).model_dump_json(),
                    "MessageGroupId": job.client_id,
                }
                for number, job in enumerate(part)
            ]
            try:
                answer = self._client.send_message_batch(QueueUrl=self._url, Entries=entries)  # type: ignore[arg-type]
            except (BotoCoreError, ClientError) as error:
                log.warning("jobs not sent", extra={"count": len(part), "error": type(error).__name__})
                continue
            # A 200 may carry failures.
            taken += len(answer.get("Successful", []))
            for failed in answer.get("Failed", []):
                log.warning("job not sent", extra={"job_id": part[int(failed["Id"])].job_id, "error": failed["Code"]})
        return taken


class CompletionQueue:
    """Hint at news on the FIFO queue; the message group is the spreadsheet, so each has one writer at a time."""

    def __init__(self, client: SQSClient, url: str) -> None:
        self._client = client
        self._url = url

    def hint(self, job: Job, sweep_minute: int | None = None) -> None:
        """Send a hint for *job*'s version. Nothing is raised: the sweeper hints again."""
        hint = Hint(job_id=job.job_id, version=job.version)
        try:
            self._client.send_message(
                QueueUrl=self._url,
                MessageBody=hint.model_dump_json(),
                MessageGroupId=job.target.spreadsheet_id if job.target else job.client_id,
                MessageDeduplicationId=hint_dedup_id(hint, sweep_minute),
            )
        except (BotoCoreError, ClientError) as error:
            log.warning("hint not sent", extra={"job_id": job.job_id, "error": type(error).__name__})

    def settle(self, done: Sequence[str], later: Sequence[str], delay_s: int) -> None:
        """Delete the messages of receipts *done*; show those of *later* again after *delay_s*."""
        for receipt in done:
            self._client.delete_message(QueueUrl=self._url, ReceiptHandle=receipt)
        for receipt in later:
            self._client.change_message_visibility(QueueUrl=self._url, ReceiptHandle=receipt, VisibilityTimeout=delay_s)
