"""
Count what happens per minute and per day, in one DynamoDB table of counters (key: slot; they expire by themselves).

Google gives a service account 60 reads and 60 writes a minute for all spreadsheets together. `SheetsBudget` keeps
below that, and lets every spreadsheet have its turn: the more of them are busy, the longer each waits between two
turns, and what piles up meanwhile goes into one write.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.contract.errors import Unavailable
from chalicelib.contract.job import Job
from chalicelib.contract.spent import gpu_ms
from chalicelib.contract.states import State

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

MINUTE_MS: Final = 60_000
CALLS_A_MINUTE: Final = 50
"""Of each kind; Google's own limit is 60, and its minute is not ours."""
URGENT_A_MINUTE: Final = 57
"""With the calls that are kept for putting something right."""
BURST: Final = 4
"""Turns that a spreadsheet which was quiet may take at once."""
_KEPT_S: Final = 600
_USAGE_KEPT_S: Final = 100 * 24 * 3600

Kind = Literal["reads", "writes"]


class Tally(Protocol):
    """Count by slot (`Counters`; the tests have a twin of it)."""

    def get(self, slot: str) -> dict[str, Any]:
        """Read a counter's attributes."""

    def add(
        self, slot: str, amounts: dict[str, Any], *, expires_s: int, limit: tuple[str, int] | None = None
    ) -> dict[str, Any] | None:
        """Add to a counter's attributes."""

    def put(self, slot: str, value: int, *, expires_s: int) -> None:
        """Set a counter's value."""


class Counters:
    """Reach the table of counters."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def get(self, slot: str) -> dict[str, Any]:
        """Read a counter's attributes; none: empty."""
        answer = self._call("get_item", Key={"slot": {"S": slot}}, ConsistentRead=True)
        return dict(answer.get("Item", {}))

    def add(
        self, slot: str, amounts: dict[str, Any], *, expires_s: int, limit: tuple[str, int] | None = None
    ) -> dict[str, Any] | None:
        """Add to a counter's attributes (numbers add, sets join); None when *limit* (attribute, most) is reached."""
        names = {f"#{name}": name for name in amounts} | {"#ttl": "ttl"}
        values = {f":{name}": value for name, value in amounts.items()} | {":ttl": {"N": str(expires_s)}}
        call: dict[str, Any] = {}
        if limit is not None:
            values[":most"] = {"N": str(limit[1])}
            names["#limited"] = limit[0]
            call["ConditionExpression"] = "attribute_not_exists(#limited) OR #limited < :most"
        try:
            answer = self._call(
                "update_item",
                Key={"slot": {"S": slot}},
                UpdateExpression="SET #ttl = :ttl ADD " + ", ".join(f"#{name} :{name}" for name in amounts),
                ExpressionAttributeNames=names,
                ExpressionAttributeValues=values,
                ReturnValues="ALL_NEW",
                **call,
            )
        except ClientError as error:
            if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
                return None
            raise
        return dict(answer["Attributes"])

    def put(self, slot: str, value: int, *, expires_s: int) -> None:
        """Set a counter's *value*."""
        item = {"slot": {"S": slot}, "value": {"N": str(value)}, "ttl": {"N": str(expires_s)}}
        self._call("put_item", Item=item)

    def _call(self, operation: str, **call: Any) -> Any:
        try:
            return getattr(self._client, operation)(TableName=self._table, **call)
        except ClientError as error:
            if error.response["Error"]["Code"] in ("ProvisionedThroughputExceededException", "ThrottlingException"):
                raise Unavailable("The counters are busy. Try again in a moment.") from error
            raise
        except BotoCoreError as error:
            raise Unavailable("The counters cannot be reached. Try again in a moment.") from error


class SheetsBudget:
    """Say who may call Google now. One caller per spreadsheet at a time (the completions queue sees to that)."""

    def __init__(self, counters: Tally) -> None:
        self._counters = counters
        self._before: tuple[int, int] = (-1, 0)
        """The last minute that was looked up, and how many spreadsheets were busy in it."""

    def turn(self, spreadsheet_id: str, now: int) -> int:
        """Take a turn for *spreadsheet_id*: 0, or how many ms to wait for the next one."""
        slot = f"turn#{spreadsheet_id}"
        earned = int(self._counters.get(slot).get("value", {"N": "0"})["N"])
        gap = self._gap(now)
        burst = max(1, min(BURST, CALLS_A_MINUTE // max(1, 2 * self._busy(now))))
        wait = earned - (burst - 1) * gap - now
        if wait > 0:
            return wait
        self._counters.put(slot, max(now, earned) + gap, expires_s=now // 1000 + _KEPT_S)
        return 0

    def spend(self, kind: Kind, spreadsheet_id: str, now: int, *, urgent: bool = False) -> None:
        """Count one call; raise `Unavailable` when this minute's are spent."""
        amounts = {kind: {"N": "1"}, "sheets": {"SS": [spreadsheet_id]}}
        spent = self._counters.add(
            _minute(now),
            amounts,
            expires_s=now // 1000 + _KEPT_S,
            limit=(kind, URGENT_A_MINUTE if urgent else CALLS_A_MINUTE),
        )
        if spent is None:
            left_s = (MINUTE_MS - now % MINUTE_MS) / 1000
            raise Unavailable(f"This minute's {kind} of Google Sheets are spent.", retry_in_s=left_s + 1)

    def _gap(self, now: int) -> int:
        return MINUTE_MS * max(1, self._busy(now)) // CALLS_A_MINUTE

    def _busy(self, now: int) -> int:
        """Count the spreadsheets of this minute and of the one before; the larger number counts."""
        minute = now // MINUTE_MS
        if self._before[0] != minute - 1:
            self._before = (minute - 1, self._sheets(_minute(now - MINUTE_MS)))
        return max(self._before[1], self._sheets(_minute(now)))

    def _sheets(self, slot: str) -> int:
        return len(self._counters.get(slot).get("sheets", {"SS": []})["SS"])


def _minute(now: int) -> str:
    return f"minute#{now // MINUTE_MS}"


@dataclass(frozen=True)
class Usage:
    """Hold what a spreadsheet has used on one day (UTC)."""

    images: int = 0
    gpu_ms: int = 0


class UsageBook:
    """Add up what spreadsheets use. A retried note may count twice: this is for people to look at, not for bills."""

    def __init__(self, counters: Tally) -> None:
        self._counters = counters

    def note(self, job: Job, now: int) -> None:
        """Note what an ended job of a row has used, and how long its workflow takes."""
        expires_s = now // 1000 + _USAGE_KEPT_S
        if job.target is not None:
            amounts = {"images": {"N": str(len(job.outputs))}, "gpu_ms": {"N": str(gpu_ms(job))}}
            self._counters.add(_day(job.target.spreadsheet_id, now), amounts, expires_s=expires_s)
        # How long a run takes is told by the one that was shown, not by those that came to nothing.
        run_ms = (job.timings.execution_ms if job.timings else None) or 0
        if job.state is State.SUCCEEDED and run_ms:
            amounts = {"jobs": {"N": "1"}, "gpu_ms": {"N": str(run_ms)}}
            self._counters.add(_pace(job.workflow_hash), amounts, expires_s=expires_s)

    def pace_ms(self, workflow_hash: str) -> int | None:
        """Say how long this version of a workflow takes on average; None: it has never run."""
        item = self._counters.get(_pace(workflow_hash))
        return int(item["gpu_ms"]["N"]) // max(1, int(item["jobs"]["N"])) if item else None

    def today(self, spreadsheet_id: str, now: int) -> Usage:
        """Say what was used today."""
        item = self._counters.get(_day(spreadsheet_id, now))
        return Usage(*(int(item.get(name, {"N": "0"})["N"]) for name in ("images", "gpu_ms")))


def _pace(workflow_hash: str) -> str:
    return f"pace#{workflow_hash}"


def _day(spreadsheet_id: str, now: int) -> str:
    return f"usage#{spreadsheet_id}#{now // (24 * 3600 * 1000)}"
