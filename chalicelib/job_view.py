"""
Show a job to a program: the Comfy API v2's Job object (comfy-sdk 0.5.0 reads it), and what ours have besides.

Fields that v2 has not: workflow_id, inputs, attempt, phase, priority, tags, metadata, batch_id, retry_of, target, and
in outputs sha256, sizes in pixels and thumbnail_url.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from chalicelib.contract.job import RETENTION_MS, Job, Output
from chalicelib.contract.job import JobError as Fault
from chalicelib.contract.job import Progress as Course
from chalicelib.contract.states import State
from chalicelib.links import output_id, output_link, thumbnail_link

OutputType = Literal["image", "video", "audio", "text", "latent", "file"]
_TYPES: Mapping[str, OutputType] = {
    "image": "image",
    "video": "video",
    "audio": "audio",
    "text": "text",
    "latent": "latent",
}
Status = Literal["queued", "running", "succeeded", "canceling", "canceled", "failed", "expired"]
"""The contract's seven; a job of ours is never canceling (cancelling is immediate) nor expired."""


class View(BaseModel):
    """Set what all answer bodies share."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ProgressView(View):
    """Say how far a job is; complete in itself."""

    value: float = Field(ge=0, le=1)
    nodes_done: int
    nodes_total: int
    current_node: str | None
    current_node_class: str | None
    step: int | None
    steps: int | None
    message: str | None = None
    """A line for people, like "KSampler 4/20"."""


class OutputView(View):
    """Describe one file that a job has made."""

    id: str
    node_id: str
    name: str
    type: OutputType
    content_type: str
    size_bytes: int
    hash: str | None
    """v2 hashes with blake3 and allows null; ours is SHA-256 and has its own field."""
    sha256: str
    width_px: int | None
    height_px: int | None
    duration_s: float | None
    url: str
    url_expires_at: str
    thumbnail_url: str | None
    job_id: str


class ErrorView(View):
    """Say why a job failed."""

    code: str
    message: str
    node_id: str | None
    class_type: str | None
    traceback: str | None = None


class MetricsView(View):
    """Tell how long the parts took, in milliseconds; null: not known (yet)."""

    queue_ms: int | None
    execution_ms: int | None
    upload_ms: int | None
    gpu_ms: int | None
    """How long the GPU was its alone."""


class UrlsView(View):
    """Name what can be asked next."""

    self: str
    events: str
    cancel: str
    log: str
    workflow: str
    retry: str


class TargetView(View):
    """Name the row that shows the job."""

    spreadsheet_id: str
    sheet_id: int
    job_key: str


class JobView(View):
    """Show a job whole. Times are RFC 3339, in UTC."""

    id: str
    status: Status
    created_at: str
    started_at: str | None
    completed_at: str | None
    expires_at: str
    queue_position: int | None
    """Where a queued job stands among its client's open ones (1: the workers have it). Null: it is not known."""
    progress: ProgressView | None
    outputs: list[OutputView]
    """While it runs: what is uploaded so far. What counts is what is there when it has succeeded."""
    error: ErrorView | None
    metrics: MetricsView
    urls: UrlsView
    workflow_id: str
    inputs: dict[str, object]
    """As they were resolved: defaults filled in, the seed drawn, prompts written out."""
    templates: dict[str, str]
    """What was typed where an input differs from it: a prompt with fields, variants or wildcards."""
    attempt: int
    phase: str | None
    priority: int
    tags: list[str]
    metadata: dict[str, str]
    batch_id: str | None
    retry_of: str | None
    target: TargetView | None


class JobSummary(View):
    """Show a job in a list: without its inputs, outputs and progress."""

    id: str
    status: Status
    create_time: str
    update_time: str
    """Of its last change of state."""
    started_at: str | None
    completed_at: str | None
    workflow_id: str
    outputs_count: int
    error: ErrorView | None
    priority: int
    tags: list[str]
    metadata: dict[str, str]
    batch_id: str | None
    retry_of: str | None
    target: TargetView | None
    url: str


def job_view(job: Job, queue_position: int | None = None) -> JobView:
    """Give the Job object; *queue_position* where it is known."""
    return JobView(
        id=job.job_id,
        status=job.state.value,
        created_at=moment(job.created_at),
        started_at=moment_or_none(job.started_at),
        completed_at=moment_or_none(job.finished_at),
        expires_at=moment(job.created_at + RETENTION_MS),
        queue_position=queue_position,
        progress=_progress(job.progress),
        outputs=[output_view(job, index, output) for index, output in enumerate(job.outputs)],
        error=_error(job.error),
        metrics=_metrics(job),
        urls=_urls(job),
        workflow_id=job.workflow_id,
        inputs=dict(job.inputs),
        templates=dict(job.templates),
        attempt=job.attempt,
        phase=job.phase,
        priority=job.priority,
        tags=list(job.tags),
        metadata=dict(job.metadata),
        batch_id=job.batch_id,
        retry_of=job.retry_of,
        target=_target(job),
    )


def job_summary(job: Job) -> JobSummary:
    """Give the job for a list."""
    return JobSummary(
        id=job.job_id,
        status=job.state.value,
        create_time=moment(job.created_at),
        update_time=moment(job.finished_at or job.started_at or job.created_at),
        started_at=moment_or_none(job.started_at),
        completed_at=moment_or_none(job.finished_at),
        workflow_id=job.workflow_id,
        outputs_count=len(job.outputs),
        error=_error(job.error),
        priority=job.priority,
        tags=list(job.tags),
        metadata=dict(job.metadata),
        batch_id=job.batch_id,
        retry_of=job.retry_of,
        target=_target(job),
        url=_address(job),
    )


def output_view(job: Job, index: int, output: Output) -> OutputView:
    """Describe output *index* of a job."""
    return OutputView(
        id=output_id(job, output),
        node_id=output.node,
        name=output.filename,
        type=_TYPES.get(output.kind, "file"),
        content_type=output.content_type,
        size_bytes=output.size_bytes,
        hash=None,
        sha256=output.sha256,
        width_px=output.width_px,
        height_px=output.height_px,
        duration_s=output.duration_s,
        url=output_link(job, index),
        url_expires_at=moment(job.created_at + RETENTION_MS),
        thumbnail_url=thumbnail_link(job, index) if output.thumbnail_key else None,
        job_id=job.job_id,
    )


def moment(ms: int) -> str:
    """Write a time (ms since the epoch) as RFC 3339."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def moment_or_none(ms: int | None) -> str | None:
    """Write a time that may not have come yet."""
    return None if ms is None else moment(ms)


def _address(job: Job) -> str:
    return f"{job.link_base}/api/v2/jobs/{job.job_id}"


def _urls(job: Job) -> UrlsView:
    base = _address(job)
    return UrlsView(
        self=base,
        events=f"{base}/events",
        cancel=f"{base}/cancel",
        log=f"{base}/log",
        workflow=f"{base}/workflow",
        retry=f"{base}/retry",
    )


def _progress(course: Course | None) -> ProgressView | None:
    if course is None:
        return None
    steps = f" {course.step}/{course.steps}" if course.steps else ""
    return ProgressView(
        value=course.fraction,
        nodes_done=course.nodes_done,
        nodes_total=course.nodes_total,
        current_node=course.node,
        current_node_class=course.node_class,
        step=course.step,
        steps=course.steps,
        message=f"{course.node_class}{steps}" if course.node_class else None,
    )


def _error(fault: Fault | None) -> ErrorView | None:
    if fault is None:
        return None
    return ErrorView(code=fault.code, message=fault.sentence(), node_id=fault.node, class_type=fault.node_class)


def _metrics(job: Job) -> MetricsView:
    timings = job.timings
    return MetricsView(
        queue_ms=None if job.started_at is None else job.started_at - job.created_at,
        execution_ms=timings.execution_ms if timings else None,
        upload_ms=timings.upload_ms if timings else None,
        # ComfyUI runs one prompt at a time.
        gpu_ms=timings.execution_ms if timings and job.state is State.SUCCEEDED else None,
    )


def _target(job: Job) -> TargetView | None:
    if job.target is None:
        return None
    return TargetView(spreadsheet_id=job.target.spreadsheet_id, sheet_id=job.target.sheet_id, job_key=job.job_key)
