"""
Work through a batch of news for completion: hints at jobs, second looks, ends, errands.

Chalice cannot switch on ReportBatchItemFailures, and without it a returned list of failures silently deletes them. So
what is done is deleted here, what is not is shown again later, and then the batch fails aloud: right either way.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from pydantic import ValidationError

from chalicelib.complete import Complete
from chalicelib.contract.counts import NOWHERE, Counts, Metric
from chalicelib.contract.errors import Unavailable
from chalicelib.contract.events import Check, Ended, Errand, Hint, read_news
from chalicelib.errands import Errands
from chalicelib.unreadable import buried

log = logging.getLogger(__name__)

DELAYS_S: Final = (5, 10, 20, 40, 60)
"""When a message comes again that could not be acted on, by how often it has come."""


FAULTS_MOST: Final = 3
"""How often an errand that fails by a fault of ours is tried: its spreadsheet's news waits behind it."""

ERRANDS_WITHIN_S: Final = 20
"""Errands are left to the next call when the rows before them took longer: a call has 60 seconds."""


class Receipts(Protocol):
    """Settle messages one by one (`chalicelib.queues.CompletionQueue`)."""

    def settle(self, done: Sequence[str], later: Mapping[str, int]) -> None:
        """Delete what is done; show the rest again after as many seconds."""

    def bury(self, record: Mapping[str, Any], reason: str) -> None:
        """Put a message among the dead letters. `Unavailable` when that cannot be done now."""


def work_through(
    records: Sequence[Mapping[str, Any]],
    complete: Complete,
    errands: Errands,
    receipts: Receipts,
    clock_s: Callable[[], float] = time.monotonic,
    *,
    settle: Callable[[Sequence[Ended]], None],
    counts: Counts = NOWHERE,
) -> None:
    """
    Act on the messages of an SQS event's *records*; *settle* what follows from a job's end (`chalicelib.ends`).

    Raise `Unavailable` when some could not be acted on now; their messages come again in a while. A fault of ours is
    logged with its trace and held to its own message: it neither undoes the others nor blocks its spreadsheet for ever.
    """
    batch, began_s = _Batch(counts), clock_s()
    for record in records:
        try:
            news = read_news(record["body"])
        except ValidationError as fault:
            batch.settle(record, buried(record, fault, receipts.bury))
            continue
        match news:
            case Hint():
                batch.of_jobs.append((record, [news.job_id]))
                batch.hinted.append(news.job_id)
                log.info(
                    "hint",
                    extra={
                        "action": "taken",
                        "job_id": news.job_id,
                        "version": news.version,
                        "message_id": record.get("messageId"),
                        "receives": _times(record),
                    },
                )
            case Check():
                batch.of_jobs.append((record, news.check))
                batch.checked += news.check
            case Errand():
                batch.errands.append((record, news))
            case Ended():
                batch.ended.append((record, news))
    # First of all: it takes a moment, and a GPU waits for it.
    held_up = _settled(batch, settle)
    for record, _ in batch.ended:
        batch.settle(record, held_up)
    waits = _shown(batch, complete)
    for record, job_ids in batch.of_jobs:
        behind = [waits[job_id] for job_id in job_ids if job_id in waits]
        batch.settle(record, max((wait or 0 for wait in behind), default=None))
    for record, errand in batch.errands:
        is_late = clock_s() - began_s > ERRANDS_WITHIN_S
        batch.settle(record, 1 if is_late else _run(record, errand, errands, counts))
    if batch.later:
        receipts.settle(batch.done, batch.later)
        raise Unavailable(f"{len(batch.later)} messages could not be acted on now; they come again.")


def _shown(batch: _Batch, complete: Complete) -> Mapping[str, float | None]:
    """Show what the batch's jobs are at; answer as `Complete.show`."""
    if not batch.of_jobs:
        return {}
    try:
        return complete.show(dict.fromkeys(batch.hinted), dict.fromkeys(batch.checked))
    except Unavailable as reason:
        log.info("rows later", extra={"action": "later", "reason": reason.message})
        return dict.fromkeys([*batch.hinted, *batch.checked], reason.retry_in_s)


def _settled(batch: _Batch, settle: Callable[[Sequence[Ended]], None]) -> float | None:
    """Act on the ends in the batch; answer as `_run`."""
    if not batch.ended:
        return None
    try:
        settle([ended for _, ended in batch.ended])
    except Unavailable as reason:
        log.info("ends later", extra={"action": "ended", "reason": reason.message})
        return reason.retry_in_s or 0
    except Exception:
        # The sweeper lets the next jobs go as well.
        log.exception("ends failed", extra={"action": "ended"})
        batch.counts.add(Metric.COMPLETION_FAULTS)
    return None


def _run(record: Mapping[str, Any], errand: Errand, errands: Errands, counts: Counts) -> float | None:
    """Run an errand; None when it is done, or in how many seconds it is to come again (0: after a while)."""
    try:
        errands.run(errand)
    except Unavailable as reason:
        log.info("errand later", extra={"action": errand.errand, "reason": reason.message})
        return reason.retry_in_s or 0
    except Exception:
        log.exception("errand failed", extra={"action": errand.errand})
        counts.add(Metric.COMPLETION_FAULTS)
        if _times(record) < FAULTS_MOST:
            return 0
        errands.give_up(errand)
    return None


def _times(record: Mapping[str, Any]) -> int:
    return int(record.get("attributes", {}).get("ApproximateReceiveCount", "1"))


class _Batch:
    """Collect what a batch holds and what became of it."""

    def __init__(self, counts: Counts) -> None:
        self.counts = counts
        self.of_jobs: list[tuple[Mapping[str, Any], list[str]]] = []
        self.hinted: list[str] = []
        self.checked: list[str] = []
        self.ended: list[tuple[Mapping[str, Any], Ended]] = []
        self.errands: list[tuple[Mapping[str, Any], Errand]] = []
        self.done: list[str] = []
        self.later: dict[str, int] = {}

    def settle(self, record: Mapping[str, Any], wait_s: float | None) -> None:
        """Note that a message is done (None), or is to come again in *wait_s* seconds (0: the longer the oftener)."""
        if wait_s is None:
            self.done.append(record["receiptHandle"])
            return
        own_s = DELAYS_S[min(_times(record), len(DELAYS_S)) - 1]
        # Whole seconds are all that SQS takes; none would bring it back at once.
        self.later[record["receiptHandle"]] = min(max(1, -int(-wait_s // 1)), 900) if wait_s else own_s
