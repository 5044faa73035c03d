"""
Work through a batch of news for completion: hints at jobs, second looks, errands.

Chalice cannot switch on ReportBatchItemFailures, and without it a returned list of failures silently deletes them. So
what is done is deleted here, what is not is shown again later, and then the batch fails aloud: right either way.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from pydantic import ValidationError

from chalicelib.complete import Complete
from chalicelib.contract.errors import Unavailable
from chalicelib.contract.events import Check, Errand, Hint, read_news
from chalicelib.errands import Errands

log = logging.getLogger(__name__)

DELAYS_S: Final = (5, 10, 20, 40, 60)
"""When a message comes again that could not be acted on, by how often it has come."""


class Receipts(Protocol):
    """Settle messages one by one (`chalicelib.queues.CompletionQueue`)."""

    def settle(self, done: Sequence[str], later: Mapping[str, int]) -> None:
        """Delete what is done; show the rest again after as many seconds."""


def work_through(
    records: Sequence[Mapping[str, Any]], complete: Complete, errands: Errands, receipts: Receipts
) -> None:
    """
    Act on the messages of an SQS event's *records*.

    Raise `Unavailable` when some could not be acted on now; their messages come again in a while.
    """
    batch = _Batch()
    for record in records:
        try:
            news = read_news(record["body"])
        except ValidationError:
            # Nobody can act on it, and on a FIFO queue it would hold up its whole group.
            log.error("news not understood", extra={"action": "dropped", "message_id": record.get("messageId")})
            batch.done.append(record["receiptHandle"])
            continue
        match news:
            case Hint():
                batch.of_jobs.append((record, [news.job_id]))
                batch.hinted.append(news.job_id)
            case Check():
                batch.of_jobs.append((record, news.check))
                batch.checked += news.check
            case Errand():
                batch.errands.append((record, news))
    waits = complete.show(dict.fromkeys(batch.hinted), dict.fromkeys(batch.checked)) if batch.of_jobs else {}
    for record, job_ids in batch.of_jobs:
        behind = [waits[job_id] for job_id in job_ids if job_id in waits]
        batch.settle(record, max((wait or 0 for wait in behind), default=None))
    for record, errand in batch.errands:
        try:
            errands.run(errand)
        except Unavailable as reason:
            log.info("errand later", extra={"action": errand.errand, "reason": reason.message})
            batch.settle(record, reason.retry_in_s or 0)
        else:
            batch.settle(record, None)
    if batch.later:
        receipts.settle(batch.done, batch.later)
        raise Unavailable(f"{len(batch.later)} messages could not be acted on now; they come again.")


class _Batch:
    """Collect what a batch holds and what became of it."""

    def __init__(self) -> None:
        self.of_jobs: list[tuple[Mapping[str, Any], list[str]]] = []
        self.hinted: list[str] = []
        self.checked: list[str] = []
        self.errands: list[tuple[Mapping[str, Any], Errand]] = []
        self.done: list[str] = []
        self.later: dict[str, int] = {}

    def settle(self, record: Mapping[str, Any], wait_s: float | None) -> None:
        """Note that a message is done (None), or is to come again in *wait_s* seconds (0: the longer the oftener)."""
        if wait_s is None:
            self.done.append(record["receiptHandle"])
            return
        times = int(record.get("attributes", {}).get("ApproximateReceiveCount", "1"))
        own_s = DELAYS_S[min(times, len(DELAYS_S)) - 1]
        # Whole seconds are all that SQS takes; none would bring it back at once.
        self.later[record["receiptHandle"]] = min(max(1, -int(-wait_s // 1)), 900) if wait_s else own_s
