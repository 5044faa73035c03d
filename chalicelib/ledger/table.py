"""
Ask DynamoDB about the one table of the jobs, and say what its refusals mean.

Throttling and a table out of reach become `Unavailable`; a condition that does not hold becomes `ConditionFailed`, with
the item as it is; other refusals rise as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.contract.errors import Unavailable
from chalicelib.contract.job import Job
from chalicelib.ledger.item import Attributes, job_of

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_THROTTLED: Final = frozenset(
    {"ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded", "TransactionInProgress"}
)


class ConditionFailed(Exception):
    """Carry the item that made a condition fail (None: there is no item)."""

    def __init__(self, item: Mapping[str, Any] | None) -> None:
        super().__init__()
        self._item = item

    @cached_property
    def job(self) -> Job | None:
        """Read the item, only when it is asked for. Raise KeyError, TypeError or ValueError if it cannot be read."""
        return job_of(self._item) if self._item else None


class JobTable:
    """Send requests for one table (shape: infra/resources.yaml). Threads may share it, as they may its client."""

    def __init__(self, client: DynamoDBClient, name: str) -> None:
        self._client = client
        self._name = name

    def call(self, operation: str, **call: Any) -> Any:
        """Send one request about the table."""
        return self._send(operation, TableName=self._name, **call)

    def conditional(self, operation: str, condition: str, **call: Any) -> Any:
        """Write under *condition*; raise `ConditionFailed` when it does not hold."""
        try:
            return self.call(
                operation, ConditionExpression=condition, ReturnValuesOnConditionCheckFailure="ALL_OLD", **call
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            item: Any = error.response.get("Item")  # the stubs do not know of it
            raise ConditionFailed(item) from None

    def items(self, job_ids: Iterable[str]) -> Iterable[Attributes]:
        """Read items by their ids, strongly consistent, in no order; those that are not there are left out."""
        waiting = [{"job_id": {"S": job_id}} for job_id in job_ids]
        while waiting:
            asked = {self._name: {"Keys": waiting[:100], "ConsistentRead": True}}
            answer = self._send("batch_get_item", RequestItems=asked)
            yield from answer["Responses"].get(self._name, [])
            left = answer.get("UnprocessedKeys", {}).get(self._name, {}).get("Keys", [])
            waiting = left + waiting[100:]

    def pages(
        self,
        index: str,
        condition: str,
        values: Attributes,
        *,
        limit: int | None = None,
        start: Attributes | None = None,
        **options: Any,
    ) -> Iterable[Attributes]:
        """Page through an index and give its items, at most *limit*, from behind *start*."""
        given = 0
        while True:
            call: dict[str, Any] = {"IndexName": index, "KeyConditionExpression": condition, **options}
            call["ExpressionAttributeValues"] = values
            if limit is not None:
                call["Limit"] = limit - given
            if start is not None:
                call["ExclusiveStartKey"] = start
            answer = self.call("query", **call)
            for item in answer["Items"]:
                yield item
                given += 1
            start = answer.get("LastEvaluatedKey")
            if start is None or (limit is not None and given >= limit):
                return

    def _send(self, operation: str, **call: Any) -> Any:
        try:
            return getattr(self._client, operation)(**call)
        except ClientError as error:
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            if status >= 500 or error.response["Error"]["Code"] in _THROTTLED:
                raise Unavailable("The job table is busy. Try again in a moment.") from error
            raise
        except BotoCoreError as error:
            kind = type(error).__name__
            raise Unavailable(f"The job table cannot be reached ({kind}). Try again in a moment.") from error
