"""
Say what is posted: an event of at most 20 KB, with ids, links and the reason, and without what was asked for.

A receiver that wants more asks for the job. The body is made anew at each attempt: links that were revoked meanwhile
are not sent.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Final

from chalicelib.contract.deliveries import Delivery
from chalicelib.contract.job import Job, Output
from chalicelib.links import output_link, thumbnail_link

LIMIT_BYTES: Final = 20_000
_LABELS_BYTES: Final = 4_000
"""Labels of the submitter's own that are larger are left out: they come with the job."""
_TEXT_CHARS: Final = 1_000


def body_of(delivery: Delivery, job: Job | None) -> bytes:
    """Give the body of *delivery*'s POST: JSON in UTF-8, as the Standard Webhooks specification advises."""
    if job is None:
        data: dict[str, Any] = {"webhook_id": delivery.webhook_id, "message": "This is a test of your webhook."}
        return _encoded({"type": delivery.event, "timestamp": _time(delivery.created_at), "data": data})
    ended = delivery.event != "job.started"
    at = (job.finished_at if ended else job.started_at) or delivery.created_at
    data = _facts(job)
    event = {"type": delivery.event, "timestamp": _time(at), "data": data}
    left = LIMIT_BYTES - len(_encoded(event))
    for index, output in enumerate(job.outputs if ended else ()):
        told = _output(job, index, output)
        left -= len(_encoded(told)) + 1
        if left < 0:
            break
        data["outputs"].append(told)
    return _encoded(event)


def _facts(job: Job) -> dict[str, Any]:
    path = f"{job.link_base}/api/v2/jobs/{job.job_id}"
    labels = {"tags": list(job.tags), "metadata": dict(job.metadata)}
    if len(_encoded(labels)) > _LABELS_BYTES:
        labels = {"tags": [], "metadata": {}}
    return {
        "id": job.job_id,
        "status": job.state.value,
        "version": job.version,
        "attempt": job.attempt,
        "workflow_id": job.workflow_id,
        "batch_id": job.batch_id,
        "retry_of": job.retry_of,
        **labels,
        "created_at": _time(job.created_at),
        "started_at": _time(job.started_at),
        "completed_at": _time(job.finished_at),
        "error": _error(job),
        "outputs_total": len(job.outputs),
        "outputs": [],
        "urls": {"self": path},
    }


def _error(job: Job) -> dict[str, Any] | None:
    if job.error is None:
        return None
    return {
        "code": job.error.code,
        "message": job.error.sentence()[:_TEXT_CHARS],
        "node_id": job.error.node,
        "class_type": job.error.node_class,
    }


def _output(job: Job, index: int, output: Output) -> dict[str, Any]:
    return {
        "name": output.filename[:_TEXT_CHARS],
        "node_id": output.node,
        "type": output.kind,
        "content_type": output.content_type,
        "size_bytes": output.size_bytes,
        "sha256": output.sha256,
        "url": output_link(job, index),
        "thumbnail_url": thumbnail_link(job, index) if output.thumbnail_key else None,
    }


def _encoded(value: Any) -> bytes:
    # Half a character (a lone surrogate) would be no UTF-8.
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _time(ms: int | None) -> str | None:
    if ms is None:
        return None
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
