"""
Describe a batch: what is asked for, and the record that is kept of it.
"""

from __future__ import annotations

from typing import Annotated
from uuid import UUID, uuid5

from pydantic import Field

from chalicelib.contract.errors import Rejected
from chalicelib.contract.job import NAMESPACE, Frozen
from chalicelib.expand import MAX_JOBS, Mode, expand
from chalicelib.programs import JobRequest, Tag
from chalicelib.submit import Request, Scalar

Values = Annotated[list[Scalar], Field(max_length=MAX_JOBS)]


class BatchRequest(Request):
    """
    Ask for up to 100 jobs: *jobs*, each as for itself, or one *job* and what to *expand* of its inputs.

    `{"seed": "1..8", "cfg": [4, 6, 8]}` makes 24 jobs (mode product); with mode zip the lists go side by side.
    """

    jobs: list[JobRequest] | None = Field(default=None, min_length=1, max_length=MAX_JOBS)
    job: JobRequest | None = None
    expand: dict[str, Annotated[str, Field(max_length=100)] | Values] = Field(default_factory=dict, max_length=20)
    mode: Mode = "product"
    tags: list[Tag] = Field(default_factory=list, max_length=20)
    """Given to every job, beside its own."""
    dry_run: bool = False
    """Only tell how many jobs it makes, and what is wrong with them."""
    partial: bool = False
    """Make the good ones when others are not; else it is all or none."""


class Fault(Frozen):
    """Say why job *index* (from 0) of a batch was not made."""

    index: int
    code: str
    message: str


class Member(Frozen):
    """Name job *index* (from 0) of a batch."""

    index: int
    job_id: str


class BatchRecord(Frozen):
    """Hold what is known of a batch from its beginning; what became of its jobs stands in them."""

    batch_id: str
    client_id: str
    key: str
    """The submitter's own name for it; its jobs are called `<key>:<index>`."""
    request_hash: str
    created_at: int
    count: int
    """How many jobs were asked for."""
    tags: tuple[str, ...]
    varied: tuple[str, ...]
    """Names of the inputs that were expanded."""
    members: tuple[Member, ...]
    faults: tuple[Fault, ...]


def batch_id_of(client_id: str, key: str) -> str:
    """Derive the id of the batch that *client_id* calls *key*."""
    return str(uuid5(NAMESPACE, f"{client_id}#batch#{key}"))


def record_key(client_id: str, batch_id: str) -> str:
    """Name a batch's record in the bucket."""
    return f"batches/{client_id}/{batch_id}.json"


def is_batch_id(text: str) -> bool:
    """Say whether *text* is an id as `batch_id_of` writes them: it becomes part of a key."""
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


def requests_of(asked: BatchRequest) -> list[JobRequest]:
    """Give the jobs that a batch asks for; raise `Rejected` (bad_request) when that is not clear, or too many."""
    if (asked.jobs is None) == (asked.job is None):
        raise Rejected("bad_request", "Send either jobs (a list), or one job with what to expand.")
    if asked.jobs is not None:
        if asked.expand:
            raise Rejected("bad_request", "expand belongs to one job: send job instead of jobs.")
        return list(asked.jobs)
    one = asked.job
    if one is None or not asked.expand:
        return [] if one is None else [one]
    # What is expanded comes first: of two names for the same input the first counts.
    return [
        one.model_copy(update={"inputs": row | {name: value for name, value in one.inputs.items() if name not in row}})
        for row in expand(asked.expand, asked.mode)
    ]
