"""Know the workers that are alive, by their cards in the workers table: how many, and which model files they have."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.contract.kit import LIVE_MS, Kit, unpacked_kits
from chalicelib.contract.manifest import Workflow
from chalicelib.contract.parameter import NAMES, Parameter

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

log = logging.getLogger(__name__)

CACHE_MS: Final = 30_000
"""A card may hold 350 KB of names; a new file is known this much later."""


class Crew:
    """Read the cards. When they cannot be read nobody is known, and nothing is refused for it."""

    def __init__(self, client: DynamoDBClient, table: str, now_ms: Callable[[], int]) -> None:
        self._client = client
        self._table = table
        self._now_ms = now_ms
        self._read_at = -CACHE_MS
        self._alive = 0
        self._gpus = 0
        self._kits: list[Kit] = []

    def alive(self) -> int:
        """Count the workers that showed themselves within the last minutes."""
        self._refresh()
        return self._alive

    def gpus(self) -> int:
        """Count the servers at which they work: a job each at a time."""
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

    def _refresh(self) -> None:
        now = self._now_ms()
        if now - self._read_at < CACHE_MS:
            return
        try:
            items = self._scan(now)
        except (BotoCoreError, ClientError) as error:
            log.warning("workers not read", extra={"error": type(error).__name__})
            items = []
        self._read_at, self._alive = now, len(items)
        self._gpus = sum(_servers(item) for item in items)
        kits: list[Kit] = []
        for item in items:
            try:
                kits += [kit for kit in unpacked_kits(item["kits"]["S"]) if kit not in kits]
            except (KeyError, ValueError):
                log.warning("card not understood", extra={"worker": str(item.get("worker", {}).get("S", ""))[:100]})
        self._kits = kits

    def _scan(self, now: int) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = []
        start: dict[str, Any] = {}
        while True:
            page = self._client.scan(
                TableName=self._table,
                FilterExpression="seen_at >= :live",
                ExpressionAttributeValues={":live": {"N": str(now - LIVE_MS)}},
                **start,
            )
            items += page["Items"]
            if not page.get("LastEvaluatedKey"):
                return items
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}


def _servers(item: dict[str, Any]) -> int:
    """Count the servers on a card; a card that says nothing of them stands for one."""
    try:
        return max(1, len(json.loads(item["servers"]["S"])))
    except (KeyError, ValueError, TypeError):
        return 1
