"""Tell completion that jobs have news: SQS FIFO, one group per sheet, so that one reader at a time writes a sheet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chalicelib.contract.events import Hint, hint_dedup_id
from worker.aws import renamed

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


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
