"""
Keep what each key uses: its rate, and the GPU's time of a day (UTC), one item a key in the table of counters.

The rate is a token bucket that holds *burst* requests and gains *rate_per_s* a second, kept as one number: `full_at`,
the time (microseconds since the epoch) when the bucket would be full again (the generic cell rate algorithm, as in ATM
Forum TM 4.1). A bucket that is full now starts anew, any other moves on; which of the two it is, is guessed from the
last answer and right nearly always, so that a request costs one conditional write, and learns what the key has used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.contract.errors import Exhausted, Unavailable
from chalicelib.contract.limits import DAY_MS, Account, Limits

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

KEPT_S: Final = 400 * 24 * 3600
TRIES: Final = 4
"""How often a bucket is tried that others empty at the same time."""

Item = dict[str, Any]

CHARGES_KEPT_MS: Final = 15 * 24 * 3600 * 1000
"""How long it is known that a job was charged: no message is older than 14 days."""
_EMPTY: Final = "full_at > :now AND full_at <= :latest"
_FULL: Final = "attribute_not_exists(full_at) OR full_at <= :now"


class Accounts:
    """Count in the rates table. `Unavailable` when it cannot be reached."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table
        self._full_at: dict[str, int] = {}
        """What was last seen of each key's bucket."""

    def take(self, key_id: str, limits: Limits, now: int) -> Account:
        """
        Take one request of *key_id* at *now* (ms), and answer its account.

        Raise `Exhausted` (rate_limited), with the time until there is one again.
        """
        gap_us = max(1, round(1_000_000 / limits.rate_per_s))
        now_us = now * 1000
        latest_us = now_us + (limits.burst - 1) * gap_us
        seen = self._full_at.get(key_id, 0)
        for _ in range(TRIES):
            values: Item = {":gap": gap_us, ":now": now_us, ":latest": latest_us}
            if seen > now_us:
                item, held = self._write(key_id, now, "full_at = full_at + :gap", _EMPTY, values, limits)
            else:
                values = {":next": now_us + gap_us, ":now": now_us}
                item, held = self._write(key_id, now, "full_at = :next", _FULL, values, limits)
            seen = self._note(key_id, item)
            if held:
                return _account(key_id, item, now)
            if seen > latest_us:
                break
        raise Exhausted(
            "rate_limited",
            f"This key may ask {limits.rate_per_s:g} times a second ({limits.burst} at once). Wait a little, and ask "
            "less often.",
            retry_in_s=max(0, seen - latest_us) / 1_000_000,
        )

    def charge(self, key_id: str, gpu_ms: int, now: int) -> None:
        """Add to what a key has used today."""
        day = {":day": now // DAY_MS, ":ms": gpu_ms}
        if not self._add(key_id, now, "SET #ttl = :ttl ADD gpu_ms :ms", "on_day = :day", day):
            first = "attribute_not_exists(on_day) OR on_day < :day"
            if not self._add(key_id, now, "SET #ttl = :ttl, on_day = :day, gpu_ms = :ms", first, day):
                # Somebody else was the first of the day just now.
                self._add(key_id, now, "SET #ttl = :ttl ADD gpu_ms :ms", "on_day = :day", day)

    def is_new(self, job_id: str, now: int) -> bool:
        """Note that a job is charged; False: it was already."""
        named = {"ExpressionAttributeNames": {"#slot": "slot"}}
        item = {"slot": {"S": f"charged#{job_id}"}, "ttl": {"N": str((now + CHARGES_KEPT_MS) // 1000)}}
        try:
            self._call("put_item", Item=item, ConditionExpression="attribute_not_exists(#slot)", **named)
        except ClientError as error:
            if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
                return False
            raise
        return True

    def account(self, key_id: str, now: int) -> Account:
        """Read a key's account, with the limits that it had when it was last used."""
        answer = self._call("get_item", Key={"slot": {"S": f"key#{key_id}"}}, ConsistentRead=True)
        return _account(key_id, answer.get("Item", {}), now)

    def _note(self, key_id: str, item: Item) -> int:
        if len(self._full_at) > 1000:
            self._full_at.clear()
        self._full_at[key_id] = int(item.get("full_at", {"N": "0"})["N"])
        return self._full_at[key_id]

    def _write(
        self, key_id: str, now: int, step: str, condition: str, values: Item, limits: Limits
    ) -> tuple[Item, bool]:
        """Move the bucket if *condition* holds; the item as it is then, and whether it did."""
        update = f"SET {step}, #ttl = :ttl, used_at = :used, queued_max = :queued"
        bound = {**values, ":used": now, ":queued": limits.queued_max}
        if limits.gpu_s_per_day is None:
            update += " REMOVE gpu_s_max"
        else:
            update += ", gpu_s_max = :most"
            bound[":most"] = limits.gpu_s_per_day
        return self._update(key_id, now, update, condition, bound)

    def _add(self, key_id: str, now: int, update: str, condition: str, values: Item) -> bool:
        used = {name: value for name, value in values.items() if name in f"{update} {condition}"}
        return self._update(key_id, now, update, condition, used)[1]

    def _update(self, key_id: str, now: int, update: str, condition: str, values: Item) -> tuple[Item, bool]:
        numbers = {**values, ":ttl": now // 1000 + KEPT_S}
        try:
            answer = self._call(
                "update_item",
                Key={"slot": {"S": f"key#{key_id}"}},
                UpdateExpression=update,
                ConditionExpression=condition,
                ExpressionAttributeNames={"#ttl": "ttl"},
                ExpressionAttributeValues={name: {"N": str(number)} for name, number in numbers.items()},
                ReturnValues="ALL_NEW",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            there: Any = error.response.get("Item", {})
            return dict(there), False
        return dict(answer["Attributes"]), True

    def _call(self, operation: str, **call: Any) -> Any:
        try:
            return getattr(self._client, operation)(TableName=self._table, **call)
        except ClientError as error:
            if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
                raise
            raise Unavailable("The counters cannot be read just now.") from error
        except BotoCoreError as error:
            raise Unavailable("The counters cannot be reached.") from error


def _account(key_id: str, item: Item, now: int) -> Account:
    numbers = {name: int(value["N"]) for name, value in item.items() if "N" in value}
    limits = Limits(queued_max=numbers.get("queued_max", Limits().queued_max), gpu_s_per_day=numbers.get("gpu_s_max"))
    is_today = numbers.get("on_day") == now // DAY_MS
    return Account(key_id, limits, numbers.get("gpu_ms", 0) if is_today else 0, numbers.get("used_at"))
