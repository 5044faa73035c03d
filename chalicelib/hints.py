"""
Work through a batch of hints.

Chalice cannot switch on ReportBatchItemFailures, and without it a returned list of failures silently deletes them. So
what is done is deleted here, what is not is shown again soon, and then the batch fails aloud: right either way.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from pydantic import ValidationError

from chalicelib.complete import Complete
from chalicelib.contract.errors import Unavailable
from chalicelib.contract.events import Hint

log = logging.getLogger(__name__)


class Receipts(Protocol):
    """Settle messages one by one (`chalicelib.queues.CompletionQueue`)."""

    def settle(self, done: Sequence[str], later: Sequence[str], delay_s: int) -> None:
        """Delete what is done; show the rest again after a while."""


def show_hinted(records: Sequence[Mapping[str, Any]], complete: Complete, receipts: Receipts) -> None:
    """
    Show the jobs that an SQS event's *records* hint at.

    Raise `Unavailable` when some could not be shown now; their messages come again in 5 to 20 seconds.
    """
    receipt_of: dict[str, list[str]] = {}
    done: list[str] = []
    for record in records:
        try:
            hint = Hint.model_validate_json(record["body"])
        except ValidationError:
            # Nobody can act on it, and on a FIFO queue it would hold up its whole group.
            log.error("hint not understood", extra={"action": "dropped", "message_id": record.get("messageId")})
            done.append(record["receiptHandle"])
            continue
        receipt_of.setdefault(hint.job_id, []).append(record["receiptHandle"])
    later = complete.show(receipt_of)
    if not later:
        return
    again = [receipt for job_id in later for receipt in receipt_of[job_id]]
    done += [receipt for job_id in receipt_of if job_id not in later for receipt in receipt_of[job_id]]
    receipts.settle(done, again, delay_s=5 + secrets.randbelow(16))
    raise Unavailable(f"{len(later)} rows could not be written now; they come again.")
