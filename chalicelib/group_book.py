"""
Keep what is known of an Auto Scaling group's machines: one item of the counters' table a group.

EC2 Auto Scaling tells of every launch and end by EventBridge; a listing would need a right over all groups of the
account (decision 0027). Every write touches its own attributes only, so events and rounds do not wait for each other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.contract.errors import Unavailable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

FORGOTTEN_MS: Final = 24 * 3600 * 1000
"""How long an instance that ended is remembered: word of its launch may come after that of its end."""


@dataclass(frozen=True)
class Known:
    """Hold what is known of an instance, in ms since the epoch; 0: not yet."""

    started_at: int = 0
    ending_at: int = 0
    """When it was given back."""
    gone_at: int = 0


@dataclass(frozen=True)
class Group:
    """Hold a group: how many it should have, when that was said, when it last could not launch, and its instances."""

    desired: int = 0
    desired_at: int = 0
    refused_at: int = 0
    instances: dict[str, Known] = field(default_factory=dict)


class Groups(Protocol):
    """Keep groups by name."""

    def read(self, group: str) -> Group:
        """Read what is known. Raises `Unavailable`, as all of these do."""

    def want(self, group: str, desired: int, now: int) -> None:
        """Note how many the group should have."""

    def note(self, group: str, instance: str, what: str, at: int) -> None:
        """Note when an instance `started_at`, `ending_at` or `gone_at`."""

    def note_refused(self, group: str, at: int) -> None:
        """Note that EC2 had none to launch."""

    def end(self, group: str, instance: str, now: int) -> None:
        """Note that an instance was given back, and that the group should have one less."""

    def forget(self, group: str, instance: str) -> None:
        """Remove an instance that ended long ago."""


class DynamoGroups:
    """Keep groups in DynamoDB."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def read(self, group: str) -> Group:
        """Read what is known of a group; nothing: an empty one."""
        item = self._call("get_item", group, ConsistentRead=True).get("Item", {})
        instances: dict[str, dict[str, int]] = {}
        for name, value in item.items():
            if name.startswith("i-"):
                instance, _, what = name.partition("/")
                instances.setdefault(instance, {})[what] = int(value["N"])
        told = {name: int(item[name]["N"]) for name in ("desired", "desired_at", "refused_at") if name in item}
        return Group(**told, instances={name: Known(**facts) for name, facts in instances.items()})

    def want(self, group: str, desired: int, now: int) -> None:
        """Note how many the group should have."""
        self._set(group, {"desired": desired, "desired_at": now})

    def note(self, group: str, instance: str, what: str, at: int) -> None:
        """Note a moment of an instance's life."""
        self._set(group, {f"{instance}/{what}": at})

    def note_refused(self, group: str, at: int) -> None:
        """Note that EC2 had none to launch."""
        self._set(group, {"refused_at": at})

    def end(self, group: str, instance: str, now: int) -> None:
        """Note an instance's end and the smaller group in one write: between two of them a round could die."""
        self._call(
            "update_item",
            group,
            UpdateExpression="SET #ending = :now ADD desired :less",
            ExpressionAttributeNames={"#ending": f"{instance}/ending_at"},
            ExpressionAttributeValues={":now": {"N": str(now)}, ":less": {"N": "-1"}},
        )

    def forget(self, group: str, instance: str) -> None:
        """Remove an instance."""
        facts = ("started_at", "ending_at", "gone_at")
        self._call(
            "update_item",
            group,
            UpdateExpression="REMOVE " + ", ".join(f"#{what}" for what in facts),
            ExpressionAttributeNames={f"#{what}": f"{instance}/{what}" for what in facts},
        )

    def _set(self, group: str, values: dict[str, int]) -> None:
        numbered = list(enumerate(values.items()))
        self._call(
            "update_item",
            group,
            UpdateExpression="SET " + ", ".join(f"#n{number} = :v{number}" for number, _ in numbered),
            ExpressionAttributeNames={f"#n{number}": name for number, (name, _) in numbered},
            ExpressionAttributeValues={f":v{number}": {"N": str(value)} for number, (_, value) in numbered},
        )

    def _call(self, operation: str, group: str, **call: Any) -> Any:
        try:
            return getattr(self._client, operation)(
                TableName=self._table, Key={"slot": {"S": f"group#{group}"}}, **call
            )
        except (BotoCoreError, ClientError) as error:
            raise Unavailable("The book of Auto Scaling groups cannot be reached.") from error
