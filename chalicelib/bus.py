"""
Tell other programs of the account how jobs ended, as EventBridge events (docs/events.md).

The worker tells what it does; how a job ended is told here, by whoever has seen it in the ledger: of a job that was
cancelled in the queue no worker knows. Nothing waits for the bus: what cannot be told is a line in the log.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.contract.deliveries import Lane
from chalicelib.contract.job import Job, prompt_id_of
from chalicelib.contract.states import State

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient

log = logging.getLogger(__name__)

SOURCE: Final = "comfyui.monitor"
AT_ONCE: Final = 10
"""Entries that one call takes."""
_KINDS: Final = {
    State.SUCCEEDED: "Job Completed",
    State.FAILED: "Job Failed",
    State.CANCELED: "Job Cancelled",
}


class EventBus:
    """Send to the bus *name*."""

    def __init__(self, client: EventBridgeClient, name: str) -> None:
        self._client = client
        self._name = name

    def tell_ended(self, jobs: Sequence[Job]) -> None:
        """Say how jobs ended. Nothing is raised."""
        self._send([(_KINDS[job.state], _about(job)) for job in jobs if job.state in _KINDS])

    def tell_webhook_off(self, lane: Lane, reason: str) -> None:
        """Say that an endpoint was switched off. Nothing is raised."""
        self._send(
            [("Webhook Disabled", {"client_id": lane.client_id, "webhook_id": lane.webhook_id, "reason": reason})]
        )

    def tell_machines(self, sentences: Sequence[str]) -> None:
        """Say what is wrong with rented machines. Nothing is raised."""
        self._send([("Machines Alert", {"reason": sentence}) for sentence in sentences])

    def _send(self, events: Sequence[tuple[str, Mapping[str, object]]]) -> None:
        for start in range(0, len(events), AT_ONCE):
            entries: list[Any] = [
                {
                    "EventBusName": self._name,
                    "Source": SOURCE,
                    "DetailType": kind,
                    "Detail": json.dumps(detail, ensure_ascii=False),
                }
                for kind, detail in events[start : start + AT_ONCE]
            ]
            try:
                answer = self._client.put_events(Entries=entries)
            except (BotoCoreError, ClientError) as error:
                log.warning("events not told", extra={"count": len(entries), "error": type(error).__name__})
                continue
            # A 200 may carry failures.
            if lost := answer.get("FailedEntryCount", 0):
                codes = sorted({entry["ErrorCode"] for entry in answer["Entries"] if "ErrorCode" in entry})
                log.warning("events not told", extra={"count": lost, "error": ", ".join(codes)})


def _about(job: Job) -> dict[str, object]:
    at = datetime.fromtimestamp((job.finished_at or job.created_at) / 1000, UTC).isoformat(timespec="milliseconds")
    detail: dict[str, object] = {
        "timestamp": at,
        "job_id": job.job_id,
        "queue_id": job.job_id,
        "prompt_id": prompt_id_of(job.job_id, job.attempt) if job.attempt else None,
        "attempt": job.attempt,
        "version": job.version,
        "client_id": job.client_id,
        "workflow_id": job.workflow_id,
        "tags": list(job.tags),
        "batch_id": job.batch_id,
    }
    if job.state is State.SUCCEEDED:
        detail["files"] = len(job.outputs)
    if job.error is not None:
        detail["code"] = job.error.code
    return detail
