"""Send the hints: jobs to the workers, news to the completion, lanes to the delivering function.

A message lost here is sent again by the sweeper.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.contract.deliveries import LaneHint
from chalicelib.contract.errors import Unavailable
from chalicelib.contract.events import (
    REASON_BYTES,
    Check,
    Ended,
    Errand,
    Hint,
    JobMessage,
    News,
    ended_dedup_id,
    ended_group,
    errand_dedup_id,
    hint_dedup_id,
    reason_fits,
)
from chalicelib.contract.job import Job
from chalicelib.contract.states import TERMINAL

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.literals import QueueAttributeNameType

_COUNTS: Final[tuple[QueueAttributeNameType, ...]] = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Depth:
    """Count messages (about: SQS counts so): those that wait for a worker, and those that one has in hand."""

    waiting: int
    in_hand: int


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

    def waiting(self) -> int:
        """Count the messages that no worker has taken (about: SQS counts so); 0 when it cannot be told."""
        depth = self.depth()
        return depth.waiting if depth is not None else 0

    def depth(self) -> Depth | None:
        """Count the messages; None when it cannot be told. Those put off (a job's next attempt) count as in hand."""
        try:
            told = self._client.get_queue_attributes(QueueUrl=self._url, AttributeNames=list(_COUNTS))
        except (BotoCoreError, ClientError) as error:
            log.warning("queue not counted", extra={"error": type(error).__name__})
            return None
        waiting, hidden, delayed = (int(told["Attributes"].get(name, 0)) for name in _COUNTS)
        return Depth(waiting, hidden + delayed)


class CompletionQueue:
    """
    Hint at news on the FIFO queue; the message group is the spreadsheet, so each has one writer at a time.

    *dead_letters_url* is for who reads it: what cannot be read goes there.
    """

    def __init__(self, client: SQSClient, url: str, dead_letters_url: str = "") -> None:
        self._client = client
        self._url = url
        self._dead_letters_url = dead_letters_url

    def hint(self, job: Job, sweep_minute: int | None = None) -> None:
        """Send a hint for *job*'s version, and word of its end. Nothing is raised: the sweeper hints again."""
        hint = Hint(job_id=job.job_id, version=job.version)
        self._send(hint, _group(job), hint_dedup_id(hint, sweep_minute))
        if job.state in TERMINAL and not job.is_held:
            ended = Ended(ended=job.job_id, client_id=job.client_id)
            self._send(ended, ended_group(job.client_id), ended_dedup_id(ended))

    def hint_again(self, job: Job) -> None:
        """Hint at news that was shown before; as `hint`."""
        hint = Hint(job_id=job.job_id, version=job.version)
        self._send(hint, _group(job), f"{hint_dedup_id(hint)}:{secrets.token_hex(4)}")

    def check(self, jobs: Sequence[Job], sweep_minute: int) -> None:
        """Ask for a look at *jobs*, all of one spreadsheet or, without rows, of one client; as `hint`."""
        message = Check(check=[job.job_id for job in jobs])
        self._send(message, _group(jobs[0]), f"check:{jobs[0].job_id}:{sweep_minute}")

    def ask(self, errand: Errand) -> None:
        """Send an errand; within five minutes the same is sent once. Nothing is raised: whoever asked asks again."""
        self._send(errand, errand.spreadsheet_id, errand_dedup_id(errand))

    def _send(self, message: News, group: str, dedup_id: str) -> None:
        try:
            self._client.send_message(
                QueueUrl=self._url,
                MessageBody=message.model_dump_json(),
                MessageGroupId=group,
                MessageDeduplicationId=dedup_id,
            )
        except (BotoCoreError, ClientError) as error:
            log.warning("news not sent", extra={"group": group, "error": type(error).__name__})

    def settle(self, done: Sequence[str], later: Mapping[str, int]) -> None:
        """Delete the messages of receipts *done*; show those of *later* again after as many seconds."""
        _settle(self._client, self._url, done, later)

    def bury(self, record: Mapping[str, Any], reason: str) -> None:
        """Put a message among the dead letters; deleting it is the caller's. `Unavailable` when that cannot be done."""
        _bury(self._client, self._dead_letters_url, record, reason)


def _group(job: Job) -> str:
    return job.target.spreadsheet_id if job.target else job.client_id


class DeliveryQueue:
    """
    Have lanes of webhook deliveries looked at; the message group is the lane, so each has one hand at a time.

    *dead_letters_url*: where a message goes that cannot be read.
    """

    def __init__(self, client: SQSClient, url: str, dead_letters_url: str) -> None:
        self._client = client
        self._url = url
        self._dead_letters_url = dead_letters_url

    def ring(self, hint: LaneHint, sweep_minute: int | None = None) -> None:
        """Have a lane looked at. Nothing is raised: the sweeper rings again."""
        group = hashlib.sha256(f"{hint.client_id}#{hint.lane}".encode()).hexdigest()[:40]
        suffix = secrets.token_hex(8) if sweep_minute is None else f"s{sweep_minute}"
        try:
            self._client.send_message(
                QueueUrl=self._url,
                MessageBody=hint.model_dump_json(),
                MessageGroupId=group,
                MessageDeduplicationId=f"{group}:{suffix}",
            )
        except (BotoCoreError, ClientError) as error:
            log.warning("lane not rung for", extra={"lane": hint.lane, "error": type(error).__name__})

    def settle(self, done: Sequence[str], later: Mapping[str, int]) -> None:
        """Delete the messages of receipts *done*; show those of *later* again after as many seconds."""
        _settle(self._client, self._url, done, later)

    def bury(self, record: Mapping[str, Any], reason: str) -> None:
        """Put a message among the dead letters; deleting it is the caller's. `Unavailable` when that cannot be done."""
        _bury(self._client, self._dead_letters_url, record, reason)


def _settle(client: SQSClient, url: str, done: Sequence[str], later: Mapping[str, int]) -> None:
    for receipt in done:
        client.delete_message(QueueUrl=url, ReceiptHandle=receipt)
    for receipt, delay_s in later.items():
        client.change_message_visibility(QueueUrl=url, ReceiptHandle=receipt, VisibilityTimeout=delay_s)


def _bury(client: SQSClient, url: str, record: Mapping[str, Any], reason: str) -> None:
    """
    Send a copy of *record* to the FIFO queue *url*. A repeat of it is swallowed.

    Each is a group of its own: of a group only the first ten letters can be looked at (`infra.dead_letters`).
    """
    body, name = record["body"], record["messageId"]
    why: Any = {"reason": {"DataType": "String", "StringValue": reason[:REASON_BYTES]}} if reason_fits(body) else {}
    try:
        client.send_message(
            QueueUrl=url,
            MessageBody=body,
            MessageAttributes=why,
            MessageGroupId=name,
            MessageDeduplicationId=name,
        )
    except (BotoCoreError, ClientError) as error:
        raise Unavailable(f"The dead letters cannot be reached ({type(error).__name__}).") from error
