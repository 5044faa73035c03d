"""
Keep seats: so many of a name may do something slow at a time, whichever containers they are in.

Who sits is a set of words in one DynamoDB item, each with the time when it is no longer believed: whoever dies in a
seat frees it that way. Taking one is a conditional write, leaving it another; no word is ever changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.contract.errors import Unavailable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

KEPT_S: Final = 24 * 3600
"""How long an item without news is kept."""

Key = Mapping[str, str]


class Seats:
    """Keep seats in a table; *key_of* gives the item's key (names and texts) of a name."""

    def __init__(self, client: DynamoDBClient, table: str, key_of: Callable[[str], Key]) -> None:
        self._client = client
        self._table = table
        self._key_of = key_of

    def take(self, name: str, most: int, *, now: int, until: int) -> str | None:
        """
        Take one of the *most* seats of *name* until *until* (ms); what to give back, or None when all are taken.

        Raise `Unavailable` when the table cannot be reached.
        """
        mine = f"{until}#{uuid4().hex}"
        for _ in range(2):
            there = self._sit(name, most, mine, now)
            # botocore repeats a write whose answer got lost: then we sit already.
            if mine in there:
                return mine
            if not self._clear(name, [word for word in there if int(word.partition("#")[0]) <= now], now):
                return None
        return None

    def leave(self, name: str, mine: str, *, now: int) -> None:
        """Leave a seat. Raise `Unavailable` when the table cannot be reached: it is free when its time is over."""
        self._clear(name, [mine], now)

    def _sit(self, name: str, most: int, mine: str, now: int) -> list[str]:
        """Sit down if there is room; answer who sits then."""
        try:
            answer = self._update(
                name,
                now,
                "SET #ttl = :ttl ADD #seats :mine",
                {":mine": {"SS": [mine]}, ":most": {"N": str(most)}},
                ConditionExpression="attribute_not_exists(#seats) OR size(#seats) < :most",
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            there: Any = error.response.get("Item", {})
            return list(there.get("seats", {}).get("SS", []))
        return list(answer["Attributes"]["seats"]["SS"])

    def _clear(self, name: str, words: list[str], now: int) -> bool:
        if words:
            self._update(name, now, "SET #ttl = :ttl DELETE #seats :gone", {":gone": {"SS": words}})
        return bool(words)

    def _update(self, name: str, now: int, update: str, values: Mapping[str, Any], **condition: str) -> Any:
        try:
            return self._client.update_item(
                TableName=self._table,
                Key={part: {"S": text} for part, text in self._key_of(name).items()},
                UpdateExpression=update,
                ExpressionAttributeNames={"#ttl": "ttl", "#seats": "seats"},
                ExpressionAttributeValues={**values, ":ttl": {"N": str(now // 1000 + KEPT_S)}},
                ReturnValues="ALL_NEW",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
                **condition,  # type: ignore[arg-type]
            )
        except ClientError as error:
            if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
                raise
            raise Unavailable("The seats cannot be counted just now.") from error
        except BotoCoreError as error:
            raise Unavailable("The seats cannot be counted: their table cannot be reached.") from error


def waits_key(client_id: str) -> Key:
    """Name the item of those who wait for a client's jobs, in the table of counters."""
    return {"slot": f"waits#{client_id}"}


def hands_key(client_id: str) -> Key:
    """Name the item of the hands that post for a client, in the table of webhooks."""
    return {"pk": f"E#{client_id}", "sk": "hands"}
