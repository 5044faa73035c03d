"""Know the workers that are alive, by their cards in the workers table: how many, and which model files they have."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.contract.card import SHOWN_MS, Seen, read
from chalicelib.contract.errors import Unavailable
from chalicelib.contract.kit import Kit, unpacked_kits
from chalicelib.contract.manifest import Workflow
from chalicelib.contract.parameter import NAMES, Parameter

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

log = logging.getLogger(__name__)

CACHE_MS: Final = 30_000
"""A card may hold 350 KB of names; a new file is known this much later."""
FRESH_MS: Final = 5_000
"""For those who look at the workers themselves."""


class Crew:
    """Read the cards. When they cannot be read nobody is known, and nothing is refused for it."""

    def __init__(self, client: DynamoDBClient, table: str, now_ms: Callable[[], int]) -> None:
        self._client = client
        self._table = table
        self._now_ms = now_ms
        self._read_at = -CACHE_MS
        self._alive = 0
        self._gpus = 0
        self._cards: list[Seen] = []
        self._kits: list[Kit] = []

    def alive(self) -> int:
        """Count the workers that showed themselves within the last minutes and take jobs."""
        self._refresh()
        return self._alive

    def gpus(self) -> int:
        """Count the servers of theirs that take jobs: each renders one at a time."""
        self._refresh()
        return self._gpus

    def classes(self) -> frozenset[str]:
        """Name the node classes that live workers have; empty: nobody knows."""
        self._refresh()
        return frozenset().union(*(kit.classes for kit in self._kits))

    def choices(self, workflow: Workflow, parameter: Parameter) -> tuple[str, ...]:
        """List the files that live workers have for *parameter*; empty: it is about no file, or nobody knows."""
        if parameter.type not in NAMES:
            return ()
        self._refresh()
        found: set[str] = set()
        for kit in self._kits:
            if not kit.is_whole:
                return ()
            for place in parameter.sets:
                node_class = str(workflow.graph.get(place.node, {}).get("class_type", ""))
                found |= kit.models.get((node_class, place.input), frozenset())
        return tuple(sorted(found))

    def seen(self) -> list[Seen]:
        """List the cards of the last hour, five seconds old at most; none when they cannot be read."""
        self._refresh(FRESH_MS)
        return self._cards

    def cards(self) -> list[Seen]:
        """List the cards of the last hour as they are now. Raises `Unavailable`: none read is not none there."""
        try:
            items = self._scan(self._now_ms())
        except (BotoCoreError, ClientError) as error:
            raise Unavailable("The workers' cards cannot be read.") from error
        return [card for item in items if (card := _card_of(item)) is not None]

    def _refresh(self, age_ms: int = CACHE_MS) -> None:
        now = self._now_ms()
        if now - self._read_at < age_ms:
            return
        try:
            items = self._scan(now)
        except (BotoCoreError, ClientError) as error:
            log.warning("workers not read", extra={"error": type(error).__name__})
            items = []
        cards = [card for item in items if (card := _card_of(item)) is not None]
        alive = [card for card in cards if card.is_alive(now)]
        self._read_at, self._cards = now, cards
        self._alive = sum(card.open_servers > 0 for card in alive)
        self._gpus = sum(card.open_servers for card in alive)
        self._kits = []
        for kit in (kit for card in alive for kit in card.kits):
            if kit not in self._kits:
                self._kits.append(kit)

    def _scan(self, now: int) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = []
        start: dict[str, Any] = {}
        while True:
            page = self._client.scan(
                TableName=self._table,
                FilterExpression="seen_at >= :shown",
                ExpressionAttributeValues={":shown": {"N": str(now - SHOWN_MS)}},
                **start,
            )
            items += page["Items"]
            if not page.get("LastEvaluatedKey"):
                return items
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}


def _card_of(item: dict[str, Any]) -> Seen | None:
    try:
        return Seen(
            worker=item["worker"]["S"],
            seen_at=int(item["seen_at"]["N"]),
            servers=read(item["servers"]["S"]),
            kits=unpacked_kits(item["kits"]["S"]),
            started_at=int(item.get("started_at", {"N": "0"})["N"]),
            jobs_done=int(item.get("jobs_done", {"N": "0"})["N"]),
        )
    except (KeyError, ValueError, TypeError):
        log.warning("card not understood", extra={"worker": str(item.get("worker", {}).get("S", ""))[:100]})
        return None
