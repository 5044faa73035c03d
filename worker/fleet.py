"""Keep the workers' cards in a DynamoDB table: one item a worker, gone some minutes after its last word."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from chalicelib.contract.card import SHOWN_MS, read, written
from chalicelib.contract.kit import LIVE_MS, unpacked_kits
from worker.aws import renamed
from worker.kit import Card

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

WHAT: Final = "The workers table"
KEPT_S: Final = SHOWN_MS // 1000
"""When DynamoDB may delete it (it takes its time: days)."""


class DynamoFleet:
    """Show, read and take away cards in *table*."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def announce(self, card: Card) -> None:
        """Show *card* in place of this worker's former one."""
        with renamed(WHAT, optional=True):
            self._client.put_item(
                TableName=self._table,
                Item={
                    "worker": {"S": card.worker},
                    "seen_at": {"N": str(card.seen_at)},
                    "ttl": {"N": str(card.seen_at // 1000 + KEPT_S)},
                    "servers": {"S": written(card.servers)},
                    "kits": {"S": card.packed_kits()},
                    "started_at": {"N": str(card.started_at)},
                    "jobs_done": {"N": str(card.jobs_done)},
                },
            )

    def withdraw(self, worker: str) -> None:
        """Take a worker's card away."""
        with renamed(WHAT, optional=True):
            self._client.delete_item(TableName=self._table, Key={"worker": {"S": worker}})

    def others(self, now_ms: int) -> list[Card]:
        """List the cards of live workers, this one's among them; a card that cannot be read is left out."""
        items: list[dict[str, Any]] = []
        start: dict[str, Any] = {}
        while True:
            with renamed(WHAT, optional=True):
                page = self._client.scan(
                    TableName=self._table,
                    ConsistentRead=True,
                    # TTL deletes within days: what has expired is not worth its way here.
                    FilterExpression="seen_at >= :live",
                    ExpressionAttributeValues={":live": {"N": str(now_ms - LIVE_MS)}},
                    **start,
                )
            items += page["Items"]
            if not page.get("LastEvaluatedKey"):
                break
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}
        cards = [_card_of(item) for item in items]
        return [card for card in cards if card is not None]


def _card_of(item: dict[str, Any]) -> Card | None:
    try:
        return Card(
            worker=item["worker"]["S"],
            seen_at=int(item["seen_at"]["N"]),
            servers=read(item["servers"]["S"]),
            kits=unpacked_kits(item["kits"]["S"]),
            started_at=int(item.get("started_at", {"N": "0"})["N"]),
            jobs_done=int(item.get("jobs_done", {"N": "0"})["N"]),
        )
    except (KeyError, ValueError, TypeError):
        return None
