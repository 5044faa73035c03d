"""
Keep endpoints, lanes and deliveries in one DynamoDB table (shape: infra/resources.yaml).

- `pk` = `E#<client>`, `sk` = an endpoint's id or `jobs-…`: a lane, with the endpoint if it is one's.
- `pk` = `D#<client>#<endpoint id or jobs>`, `sk` = a delivery's id, which sorts by age.
- Index `due` (sparse): lanes that are to be looked at. Index `pending` (sparse): deliveries that wait, by lane.

Whatever is not asked about is one attribute of JSON text; the rest is attributes of their own.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.contract.deliveries import KEPT_MS, MOVES, OF_JOBS, Delivery, Endpoint, Health, Lane, Move
from chalicelib.contract.errors import Unavailable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

DUE_SHARDS: Final = 4
_THROTTLED: Final = frozenset(
    {"ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded", "InternalServerError"}
)


class DynamoDeliveryBook:
    """Read and write the table of webhooks. Raise `Unavailable` when it cannot be reached."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    # -- endpoints ----------------------------------------------------------------------------------------------

    def endpoints(self, client_id: str) -> list[Endpoint]:
        """List a client's endpoints, the oldest first; strongly consistent."""
        found = self._call(
            "query",
            KeyConditionExpression="pk = :pk AND begins_with(sk, :begin)",
            ExpressionAttributeValues={":pk": {"S": f"E#{client_id}"}, ":begin": {"S": "wh_"}},
            ConsistentRead=True,
        )["Items"]
        endpoints = [Endpoint.model_validate_json(item["endpoint"]["S"]) for item in found]
        return sorted(endpoints, key=lambda each: (each.created_at, each.webhook_id))

    def add_endpoint(self, endpoint: Endpoint) -> None:
        """Put a new endpoint."""
        item = _lane_key(endpoint.client_id, endpoint.webhook_id)
        self._call("put_item", Item=item | {"endpoint": {"S": endpoint.model_dump_json()}})

    def change_endpoint(self, before: Endpoint, after: Endpoint, *, heal: bool = False) -> bool:
        """Replace *before* by *after*, and forget how it failed if it is to *heal*. False: it is gone, or another."""
        return self._update(
            _lane_key(before.client_id, before.webhook_id),
            "SET endpoint = :after" + (" REMOVE health" if heal else ""),
            {":before": {"S": before.model_dump_json()}, ":after": {"S": after.model_dump_json()}},
            condition="endpoint = :before",
        )

    def remove_endpoint(self, client_id: str, webhook_id: str) -> bool:
        """Forget an endpoint; False when there is none."""
        answer = self._call("delete_item", Key=_lane_key(client_id, webhook_id), ReturnValues="ALL_OLD")
        return "Attributes" in answer

    # -- lanes --------------------------------------------------------------------------------------------------

    def lane(self, client_id: str, name: str) -> Lane | None:
        """Read a lane, strongly consistent. None: its endpoint is gone, or it was never rung for."""
        item = self._call("get_item", Key=_lane_key(client_id, name), ConsistentRead=True).get("Item")
        if item is None:
            return None
        return Lane(
            client_id=client_id,
            name=name,
            health=Health.model_validate_json(item["health"]["S"]) if "health" in item else Health(),
            endpoint=Endpoint.model_validate_json(item["endpoint"]["S"]) if "endpoint" in item else None,
            bell=_number(item, "bell") or 0,
            rung_at=_number(item, "rung_at") or 0,
            due_at=_number(item, "due_at"),
        )

    def ring(self, client_id: str, name: str, now: int, due_at: int | None = None) -> None:
        """Have a lane looked at, at *due_at* (None: now). Of an endpoint that is gone nothing is noted."""
        update = "SET due_at = :due, due_shard = :shard, rung_at = :now"
        values = {
            ":due": {"N": str(now if due_at is None else due_at)},
            ":shard": {"S": _shard(client_id, name)},
            ":now": {"N": str(now)},
            ":one": {"N": "1"},
        }
        if name.startswith(f"{OF_JOBS}-"):
            # There is nobody to remove the lane of a host that no job names any more.
            values[":ttl"] = {"N": str((now + 2 * KEPT_MS) // 1000)}
            self._update(_lane_key(client_id, name), f"{update}, #ttl = :ttl ADD bell :one", values, names=("ttl",))
        else:
            self._update(
                _lane_key(client_id, name), f"{update} ADD bell :one", values, condition="attribute_exists(sk)"
            )

    def note_health(self, lane: Lane, health: Health) -> None:
        """Note how deliveries go."""
        self._update(
            _lane_key(lane.client_id, lane.name),
            "SET health = :health",
            {":health": {"S": health.model_dump_json()}},
            condition="attribute_exists(sk)",
        )

    def rest(self, lane: Lane, due_at: int | None) -> None:
        """Say when the lane is to be looked at again (None: when it is rung for), unless it was rung for meanwhile."""
        update, values = "REMOVE due_at, due_shard", {":bell": {"N": str(lane.bell)}}
        if due_at is not None:
            update = "SET due_at = :due, due_shard = :shard"
            values |= {":due": {"N": str(due_at)}, ":shard": {"S": _shard(lane.client_id, lane.name)}}
        self._update(_lane_key(lane.client_id, lane.name), update, values, condition="bell = :bell")

    def due(self, now: int, limit: int) -> list[tuple[str, str]]:
        """List client and name of the lanes that are to be looked at (may be late by a moment)."""
        found: list[tuple[str, str]] = []
        for shard in range(DUE_SHARDS):
            page = self._call(
                "query",
                IndexName="due",
                KeyConditionExpression="due_shard = :shard AND due_at <= :now",
                ExpressionAttributeValues={":shard": {"S": str(shard)}, ":now": {"N": str(now)}},
                Limit=limit,
            )
            found += [(item["pk"]["S"].removeprefix("E#"), item["sk"]["S"]) for item in page["Items"]]
        return found

    # -- deliveries ---------------------------------------------------------------------------------------------

    def announce(self, delivery: Delivery) -> Delivery:
        """Put *delivery* if its id is new; answer the one that is there then."""
        try:
            self._call("put_item", Item=_delivery_item(delivery), ConditionExpression="attribute_not_exists(sk)")
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            return self.delivery(delivery.client_id, delivery.webhook_id, delivery.delivery_id) or delivery
        return delivery

    def move(self, move: Move, before: Delivery, after: Delivery) -> bool:
        """
        Replace *before* by *after*; False when it has moved meanwhile.

        botocore repeats a write whose answer got lost, and the repeat fails: what lies there then is *after* itself.
        """
        after = after.model_copy(update={"turn": before.turn + 1, "state": MOVES[move].target})
        sources = {f":{state}": {"S": state.value} for state in sorted(MOVES[move].sources)}
        try:
            self._call(
                "put_item",
                Item=_delivery_item(after),
                ConditionExpression=f"turn = :turn AND #state IN ({', '.join(sources)})",
                ExpressionAttributeNames={"#state": "state"},
                ExpressionAttributeValues={":turn": {"N": str(before.turn)}, **sources},
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            return self.delivery(after.client_id, after.webhook_id, after.delivery_id) == after
        return True

    def delivery(self, client_id: str, webhook_id: str, delivery_id: str) -> Delivery | None:
        """Read a delivery, strongly consistent."""
        key = {"pk": {"S": f"D#{client_id}#{webhook_id}"}, "sk": {"S": delivery_id}}
        item = self._call("get_item", Key=key, ConsistentRead=True).get("Item")
        return None if item is None else Delivery.model_validate_json(item["delivery"]["S"])

    def deliveries(self, client_id: str, webhook_id: str, limit: int) -> list[Delivery]:
        """List an endpoint's deliveries, the newest first."""
        found: list[Delivery] = []
        start: dict[str, Any] = {}
        while len(found) < limit:
            page = self._call(
                "query",
                KeyConditionExpression="pk = :pk",
                ExpressionAttributeValues={":pk": {"S": f"D#{client_id}#{webhook_id}"}},
                ScanIndexForward=False,
                ConsistentRead=True,
                Limit=limit - len(found),
                **start,
            )
            found += [Delivery.model_validate_json(item["delivery"]["S"]) for item in page["Items"]]
            if "LastEvaluatedKey" not in page:
                break
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}
        return found

    def waiting(self, client_id: str, lane: str, limit: int) -> Sequence[tuple[str, int]]:
        """List id and next attempt of a lane's waiting deliveries, those due first (may be late by a moment)."""
        page = self._call(
            "query",
            IndexName="pending",
            KeyConditionExpression="pending_lane = :lane",
            ExpressionAttributeValues={":lane": {"S": f"{client_id}#{lane}"}},
            Limit=limit,
        )
        return [(item["sk"]["S"], int(item["next_attempt_at"]["N"])) for item in page["Items"]]

    # -- the one way to ask -------------------------------------------------------------------------------------

    def _update(
        self,
        key: dict[str, Any],
        update: str,
        values: dict[str, Any],
        *,
        condition: str | None = None,
        names: Sequence[str] = (),
    ) -> bool:
        """Update one item; False when the condition does not hold. *names* are those that DynamoDB reserves."""
        call: dict[str, Any] = {"ConditionExpression": condition} if condition else {}
        if names:
            call["ExpressionAttributeNames"] = {f"#{name}": name for name in names}
        try:
            self._call("update_item", Key=key, UpdateExpression=update, ExpressionAttributeValues=values, **call)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            return False
        return True

    def _call(self, operation: str, **call: Any) -> Any:
        try:
            return getattr(self._client, operation)(TableName=self._table, **call)
        except ClientError as error:
            if error.response["Error"]["Code"] in _THROTTLED:
                raise Unavailable("The table of webhooks is busy. Try again in a moment.") from error
            raise
        except BotoCoreError as error:
            raise Unavailable("The table of webhooks cannot be reached. Try again in a moment.") from error


def _lane_key(client_id: str, name: str) -> dict[str, Any]:
    return {"pk": {"S": f"E#{client_id}"}, "sk": {"S": name}}


def _shard(client_id: str, name: str) -> str:
    return str(zlib.crc32(f"{client_id}#{name}".encode()) % DUE_SHARDS)


def _number(item: dict[str, Any], name: str) -> int | None:
    return int(item[name]["N"]) if name in item else None


def _delivery_item(delivery: Delivery) -> dict[str, Any]:
    item: dict[str, Any] = {
        "pk": {"S": f"D#{delivery.client_id}#{delivery.webhook_id}"},
        "sk": {"S": delivery.delivery_id},
        "delivery": {"S": delivery.model_dump_json()},
        "state": {"S": delivery.state},
        "turn": {"N": str(delivery.turn)},
        "ttl": {"N": str((delivery.asked_at + KEPT_MS) // 1000)},
    }
    if delivery.next_attempt_at is not None:
        item["pending_lane"] = {"S": f"{delivery.client_id}#{delivery.lane}"}
        item["next_attempt_at"] = {"N": str(delivery.next_attempt_at)}
    return item
