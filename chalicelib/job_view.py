"""
Show a job to a program: the Comfy API v2's Job object (comfy-sdk 0.5.0 reads it).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import uuid5

from chalicelib.contract.job import NAMESPACE, RETENTION_MS, Job, Output
from chalicelib.links import output_link, thumbnail_link

_TYPES = {"image", "video", "audio", "text", "latent"}


def job_object(job: Job) -> dict[str, Any]:
    """Give the Job object: every field that v2 requires, plus workflow_id, inputs and attempt."""
    path = f"{job.link_base}/api/v2/jobs/{job.job_id}"
    return {
        "id": job.job_id,
        "status": job.state.value,
        "created_at": _time(job.created_at),
        "started_at": _time(job.started_at),
        "completed_at": _time(job.finished_at),
        "expires_at": _time(job.created_at + RETENTION_MS),
        "queue_position": None,
        "progress": _progress(job),
        "outputs": [_output(job, index, output) for index, output in enumerate(job.outputs)],
        "error": _error(job),
        "metrics": _metrics(job),
        "urls": {"self": path, "events": f"{path}/events", "cancel": f"{path}/cancel", "log": f"{path}/log"},
        "workflow_id": job.workflow_id,
        "inputs": dict(job.inputs),
        "templates": dict(job.templates),
        "attempt": job.attempt,
    }


def _time(ms: int | None) -> str | None:
    if ms is None:
        return None
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _progress(job: Job) -> dict[str, Any] | None:
    if job.progress is None:
        return None
    return {
        "value": job.progress.fraction,
        "nodes_done": job.progress.nodes_done,
        "nodes_total": job.progress.nodes_total,
        "current_node": job.progress.node,
        "current_node_class": job.progress.node_class,
        "step": job.progress.step,
        "steps": job.progress.steps,
    }


def _output(job: Job, index: int, output: Output) -> dict[str, Any]:
    return {
        "id": str(uuid5(NAMESPACE, output.key)),
        "node_id": output.node,
        "name": output.filename,
        "type": output.kind if output.kind in _TYPES else "file",
        "content_type": output.content_type,
        "size_bytes": output.size_bytes,
        # v2 hashes with blake3 and allows null; ours is SHA-256 and has its own field.
        "hash": None,
        "sha256": output.sha256,
        "url": output_link(job, index),
        "url_expires_at": _time(job.created_at + RETENTION_MS),
        "thumbnail_url": thumbnail_link(job, index) if output.thumbnail_key else None,
        "job_id": job.job_id,
    }


def _error(job: Job) -> dict[str, Any] | None:
    if job.error is None:
        return None
    return {
        "code": job.error.code,
        "message": job.error.sentence(),
        "node_id": job.error.node,
        "class_type": job.error.node_class,
        "traceback": None,
    }


def _metrics(job: Job) -> dict[str, int | None]:
    timings = job.timings
    return {
        "queue_ms": None if job.started_at is None else job.started_at - job.created_at,
        "execution_ms": timings.execution_ms if timings else None,
        "upload_ms": timings.upload_ms if timings else None,
    }
