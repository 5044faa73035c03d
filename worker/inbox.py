"""Take job messages from SQS (standard queue) and give them back, hide them or bury them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from chalicelib.contract.events import MAX_BODY_BYTES, REASON_BYTES, JobMessage, reason_fits
from worker.aws import renamed
from worker.ports import Delivery

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

WHAT: Final = "The jobs queue"
MAX_VISIBILITY_S: Final = 43_200


class SqsInbox:
    """Read the jobs queue at *queue_url*; what is received is hidden for *visibility_s* seconds."""

    def __init__(self, client: SQSClient, queue_url: str, dlq_url: str | None, visibility_s: int) -> None:
        self._client = client
        self._queue_url = queue_url
        self._dlq_url = dlq_url
        self._visibility_s = visibility_s

    def take(self, wait_s: int) -> Delivery | None:
        """Wait for the next message, *wait_s* seconds at most."""
        with renamed(WHAT):
            answer = self._client.receive_message(
                QueueUrl=self._queue_url,
                MaxNumberOfMessages=1,
                WaitTimeSeconds=wait_s,
                VisibilityTimeout=self._visibility_s,
                MessageSystemAttributeNames=["ApproximateReceiveCount", "SentTimestamp"],
            )
        messages = answer.get("Messages", [])
        if not messages:
            return None
        first = messages[0]
        told = first.get("Attributes", {})
        receives, sent_at = int(told.get("ApproximateReceiveCount", "1")), int(told.get("SentTimestamp", "0"))
        return replace(read_delivery(first["ReceiptHandle"], receives, first["Body"]), sent_at=sent_at)

    def hide(self, delivery: Delivery, seconds: float) -> None:
        """Keep the message from everyone for *seconds* from now (0: give it back at once)."""
        with renamed(WHAT):
            self._client.change_message_visibility(
                QueueUrl=self._queue_url,
                ReceiptHandle=delivery.receipt,
                VisibilityTimeout=min(MAX_VISIBILITY_S, max(0, math.ceil(seconds))),
            )

    def drop(self, delivery: Delivery) -> None:
        """Delete the message: its job needs no attention any more."""
        with renamed(WHAT):
            self._client.delete_message(QueueUrl=self._queue_url, ReceiptHandle=delivery.receipt)

    def drop_all(self, deliveries: Sequence[Delivery]) -> None:
        """Delete up to ten messages at once; one that is not deleted comes again and is dropped then."""
        if len(deliveries) == 1:
            self.drop(deliveries[0])
            return
        with renamed(WHAT):
            self._client.delete_message_batch(
                QueueUrl=self._queue_url,
                Entries=[{"Id": str(place), "ReceiptHandle": each.receipt} for place, each in enumerate(deliveries)],
            )

    def bury(self, delivery: Delivery, reason: str) -> bool:
        """Move what cannot be read to the dead-letter queue, saying why. False: there is no such queue."""
        if self._dlq_url is None:
            return False
        with renamed("The dead-letter queue"):
            self._client.send_message(
                QueueUrl=self._dlq_url,
                MessageBody=delivery.body,
                MessageAttributes=(
                    {"reason": {"DataType": "String", "StringValue": reason[:REASON_BYTES]}}
                    if reason_fits(delivery.body)
                    else {}
                ),
            )
        self.drop(delivery)
        return True


def read_delivery(receipt: str, receives: int, body: str) -> Delivery:
    """Parse a body; whatever is not exactly a job message makes a delivery without one."""
    if len(body.encode("utf-8", "surrogatepass")) > MAX_BODY_BYTES:
        return Delivery(receipt, receives, None, body, fault="the body is too long for a job message")
    try:
        message = JobMessage.model_validate_json(body)
    except ValidationError as error:
        kinds = ", ".join(sorted({fault["type"] for fault in error.errors(include_input=False, include_url=False)}))
        return Delivery(receipt, receives, None, body, fault=f"the body is no job message ({kinds})")
    return Delivery(receipt, receives, message, body)
