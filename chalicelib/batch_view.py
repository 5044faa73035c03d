"""Show a batch to a program: how many of its jobs are where, and which they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict, Field, RootModel

from chalicelib.batch import BatchRecord
from chalicelib.batches import Batch, Plan
from chalicelib.contract.job import Job
from chalicelib.contract.states import TERMINAL
from chalicelib.links import download_link
from chalicelib.submit import Scalar

DEFAULT_PAGE = 20
MAX_PAGE = 100
_SHORT = 200
"""Characters of an input that is told again; a data URI is not."""


class _View(BaseModel):
    model_config = ConfigDict(frozen=True)


class BatchQuery(_View):
    """Say which of a batch's jobs are shown: *limit* of them, from where the last page ended."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    limit: int = Field(default=DEFAULT_PAGE, ge=1, le=MAX_PAGE)
    cursor: str = Field(default="0", pattern=r"^[0-9]{1,3}$")
    """`next_cursor` of the page before."""


class BatchCounts(_View):
    """Count a batch's jobs by status. *rejected* were never made; *missing* are still to be: repeat the request."""

    queued: int = 0
    running: int = 0
    succeeded: int = 0
    failed: int = 0
    canceled: int = 0
    rejected: int = 0
    missing: int = 0


class BatchJob(_View):
    """Show one job of a batch in brief; *url* has all of it. *index* is its place in the request, from 0."""

    index: int
    id: str | None
    status: str
    """A job's status; `rejected`: it was never made; `missing`: it is still to be made."""
    inputs: dict[str, Scalar] = Field(default_factory=dict)
    """What was expanded, as it was resolved."""
    outputs: list[str] = Field(default_factory=list)
    """Links to what it made; they need no key."""
    error: str | None = None
    code: str | None = None
    url: str | None = None


class BatchUrls(_View):
    """Say where a batch is shown and cancelled."""

    self: str
    cancel: str


class BatchView(_View):
    """Show a batch: *jobs* is one page of them, *next_cursor* leads to the next (null: it was the last)."""

    id: str
    created_at: datetime
    count: int
    """How many jobs were asked for."""
    is_done: bool
    """Whether every job has ended."""
    counts: BatchCounts
    tags: list[str]
    jobs: list[BatchJob]
    next_cursor: str | None
    urls: BatchUrls


class BatchFault(_View):
    """Say what is wrong with job *index*."""

    index: int
    code: str
    message: str


class BatchPlan(_View):
    """Tell what a batch would be (dry_run): *count* jobs, the *inputs* of the first few, and which are *rejected*."""

    dry_run: bool = True
    count: int
    inputs: list[dict[str, Scalar]]
    rejected: list[BatchFault]


class BatchAnswer(RootModel[BatchView | BatchPlan]):
    """Answer a batch that was there already, or what one would be."""


def plan_view(plan: Plan) -> BatchPlan:
    """Give what a batch would be."""
    rejected = [BatchFault(index=fault.index, code=fault.code, message=fault.message) for fault in plan.faults]
    return BatchPlan(count=plan.count, inputs=list(plan.inputs), rejected=rejected)


def batch_view(batch: Batch, link_base: str, asked: BatchQuery | None = None) -> BatchView:
    """Give a batch with a page of its jobs."""
    record, page = batch.record, asked or BatchQuery(limit=MAX_PAGE)
    rows = _rows(batch, link_base)
    start = int(page.cursor)
    end = start + page.limit
    url = f"{link_base}/api/v2/batches/{record.batch_id}"
    return BatchView(
        id=record.batch_id,
        created_at=datetime.fromtimestamp(record.created_at / 1000, UTC),
        count=record.count,
        is_done=all(job.state in TERMINAL for job in batch.jobs.values()) and len(batch.jobs) == len(record.members),
        counts=BatchCounts(**Counter(row.status for row in rows)),
        tags=list(record.tags),
        jobs=rows[start:end],
        next_cursor=str(end) if end < len(rows) else None,
        urls=BatchUrls(self=url, cancel=f"{url}/cancel"),
    )


def _rows(batch: Batch, link_base: str) -> list[BatchJob]:
    """Show all jobs in the order that they were asked for."""
    record = batch.record
    made = [
        _row(record, member.index, member.job_id, batch.jobs.get(member.job_id), link_base) for member in record.members
    ]
    refused = [
        BatchJob(index=fault.index, id=None, status="rejected", error=fault.message, code=fault.code)
        for fault in record.faults
    ]
    return sorted(made + refused, key=lambda row: row.index)


def _row(record: BatchRecord, index: int, job_id: str, job: Job | None, link_base: str) -> BatchJob:
    url = f"{link_base}/api/v2/jobs/{job_id}"
    if job is None:
        return BatchJob(index=index, id=job_id, status="missing", url=url)
    return BatchJob(
        index=index,
        id=job_id,
        status=job.state.value,
        inputs=dict(_varied(record, job)),
        outputs=[download_link(job, number) for number in range(len(job.outputs))],
        error=job.error.sentence() if job.error else None,
        code=job.error.code if job.error else None,
        url=url,
    )


def _varied(record: BatchRecord, job: Job) -> Iterable[tuple[str, Scalar]]:
    """Give what was expanded, as it was resolved, where it is short."""
    for name in record.varied:
        value = job.inputs.get(name)
        if isinstance(value, bool | int | float) or (isinstance(value, str) and len(value) <= _SHORT):
            yield name, value
