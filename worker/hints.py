"""Tell completion that jobs have news: SQS FIFO, one group per sheet, so that one reader at a time writes a sheet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from chalicelib.contract.events import Ended, Hint, Message, ended_dedup_id, ended_group, hint_dedup_id
from worker.aws import renamed

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import SendMessageBatchRequestEntryTypeDef


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

    def send_all(self, hints: Sequence[tuple[Hint, str]]) -> set[int]:
        """Send up to ten hints, each with its group; the places in *hints* of those that were not taken."""
        if len(hints) == 1:
            self.send(*hints[0])
            return set()
        return self._send_batch([(hint, group, hint_dedup_id(hint)) for hint, group in hints])

    def tell_ends(self, ends: Sequence[Ended]) -> set[int]:
        """Send word of up to ten jobs' ends; the places in *ends* of those that were not taken."""
        return self._send_batch([(end, ended_group(end.client_id), ended_dedup_id(end)) for end in ends])

    def _send_batch(self, messages: Sequence[tuple[Message, str, str]]) -> set[int]:
        """Send messages, each with its group and its name; the places of those that were not taken."""
        entries: list[SendMessageBatchRequestEntryTypeDef] = [
            {
                "Id": str(place),
                "MessageBody": message.model_dump_json(),
                "MessageGroupId": group,
                "MessageDeduplicationId": name,
            }
            for place, (message, group, name) in enumerate(messages)
        ]
        with renamed("The completions queue"):
            answer = self._client.send_message_batch(QueueUrl=self._queue_url, Entries=entries)
        # 200 with some of them refused is a normal answer.
        return {int(failed["Id"]) for failed in answer.get("Failed", [])}
