"""Work through the hints of the deliveries queue, and ring for lanes whose time has come."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from pydantic import ValidationError

from chalicelib.contract.counts import NOWHERE, Counts, Metric
from chalicelib.contract.deliveries import LaneHint
from chalicelib.contract.delivery_ports import DeliveryBook
from chalicelib.contract.errors import Unavailable
from chalicelib.deliver import Deliver
from chalicelib.herald import Posts
from chalicelib.unreadable import buried

log = logging.getLogger(__name__)

LANES_AT_ONCE: Final = 200
"""Lanes that are rung for per index shard and minute."""
DELAYS_S: Final = (5, 10, 20, 40, 60)
"""When a hint comes again that could not be acted on, by how often it has come."""


class Receipts(Protocol):
    """Settle messages one by one (`chalicelib.queues.DeliveryQueue`)."""

    def settle(self, done: Sequence[str], later: Mapping[str, int]) -> None:
        """Delete what is done; show the rest again after as many seconds."""

    def bury(self, record: Mapping[str, Any], reason: str) -> None:
        """Put a message among the dead letters. `Unavailable` when that cannot be done now."""


def work_lanes(
    records: Sequence[Mapping[str, Any]], deliver: Deliver, receipts: Receipts, counts: Counts = NOWHERE
) -> None:
    """
    Look at the lanes of an SQS event's *records*.

    Raise `Unavailable` when some are to be looked at again soon: their messages come again (`chalicelib.hints`).
    """
    done: list[str] = []
    later: dict[str, int] = {}
    for record in records:
        wait_s = _look(record, deliver, receipts, counts)
        if wait_s is None:
            done.append(record["receiptHandle"])
        else:
            later[record["receiptHandle"]] = max(1, -int(-wait_s // 1))
    if later:
        receipts.settle(done, later)
        raise Unavailable(f"{len(later)} lanes are to be looked at again.")


def _look(record: Mapping[str, Any], deliver: Deliver, receipts: Receipts, counts: Counts) -> float | None:
    times = int(record.get("attributes", {}).get("ApproximateReceiveCount", "1"))
    own_s = DELAYS_S[min(times, len(DELAYS_S)) - 1]
    try:
        hint = LaneHint.model_validate_json(record["body"])
    except ValidationError as fault:
        wait_s = buried(record, fault, receipts.bury)
        return own_s if wait_s == 0 else wait_s
    try:
        return deliver.look(hint)
    except Unavailable as reason:
        log.warning("lane later", extra={"lane": hint.lane, "action": "later", "reason": reason.message})
        return reason.retry_in_s or own_s
    except Exception:
        # A fault of ours: the lane's own message ends in the dead letters, the sweeper rings again.
        log.exception("lane failed", extra={"lane": hint.lane, "action": "failed"})
        counts.add(Metric.DELIVERY_FAULTS)
        return own_s


class LaneSweep:
    """Ring for every lane whose time has come, once a minute: for later attempts, and for hints that got lost."""

    def __init__(self, book: DeliveryBook, posts: Posts, now_ms: Callable[[], int]) -> None:
        self._book = book
        self._posts = posts
        self._now_ms = now_ms

    def sweep(self) -> int:
        """Make one round; answer how many were rung for."""
        now = self._now_ms()
        lanes = self._book.due(now, LANES_AT_ONCE)
        for client_id, name in lanes:
            self._posts.ring(LaneHint(client_id=client_id, lane=name), sweep_minute=now // 60_000)
        if lanes:
            log.info("lanes", extra={"action": "rung", "lanes": len(lanes)})
        return len(lanes)
