"""Keep the autoscaler's memory: one item of the counters' table, with a version that every write must have seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError
from pydantic import ValidationError

from chalicelib.contract.errors import Unavailable
from chalicelib.scale_memory import Memory, Page

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

SLOT: Final = "scale"


class DynamoBook:
    """Keep the memory in DynamoDB."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def read(self) -> Page:
        """
        Read the memory.

        Raises `Unavailable` also when it cannot be understood: without what was spent nothing may be ordered.
        """
        try:
            answer = self._client.get_item(TableName=self._table, Key={"slot": {"S": SLOT}}, ConsistentRead=True)
        except (BotoCoreError, ClientError) as error:
            raise Unavailable("The autoscaler's memory cannot be read.") from error
        if "Item" not in answer:
            return Page(Memory(), 0)
        item = answer["Item"]
        try:
            return Page(Memory.model_validate_json(item["memory"]["S"]), int(item["version"]["N"]))
        except (KeyError, ValidationError) as error:
            text = f"The autoscaler's memory (item {SLOT} of {self._table}) is not of this version: delete the item."
            raise Unavailable(text) from error

    def write(self, memory: Memory, version: int) -> bool:
        """Put *memory* in place of *version*. A repeat of a write whose answer got lost counts as done."""
        text = memory.model_dump_json()
        try:
            self._client.put_item(
                TableName=self._table,
                Item={"slot": {"S": SLOT}, "memory": {"S": text}, "version": {"N": str(version + 1)}},
                # No item is ever of version 0.
                ConditionExpression="version = :seen OR (attribute_not_exists(slot) AND :seen = :none)",
                ExpressionAttributeValues={":seen": {"N": str(version)}, ":none": {"N": "0"}},
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise Unavailable("The autoscaler's memory cannot be written.") from error
            there: Any = error.response.get("Item", {})
            # botocore repeats a put whose answer got lost. The text carries the round's own time, to the millisecond.
            return bool(there) and there["memory"]["S"] == text and there["version"]["N"] == str(version + 1)
        except BotoCoreError as error:
            raise Unavailable("The autoscaler's memory cannot be written.") from error
        return True
