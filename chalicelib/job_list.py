"""
List a client's jobs, newest first, page by page.

The index gives places by time; the items themselves are read for each page, and what the filters leave out is left out
here. So that no call works for ever, one looks at `LOOKED_AT_MOST` jobs: a page may hold fewer than were asked for and
still go on. A page is also bounded in bytes: a Lambda answers with 6 MB.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Final

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from chalicelib.contract.errors import Rejected
from chalicelib.contract.job import Job
from chalicelib.contract.ports import Ledger, Spot
from chalicelib.contract.states import State
from chalicelib.contract.words import fold
from chalicelib.job_view import JobSummary, View, job_summary

LOOKED_AT_MOST: Final = 500
_READ_AT_ONCE: Final = 100
PAGE_BYTES: Final = 1_500_000
_FOR_EVER: Final = 2**53
_STATES: Final[Mapping[str, State | None]] = {
    **{state.value: state for state in State},
    # Words of v2's that no job of ours ever shows.
    "canceling": None,
    "expired": None,
}


class JobsQuery(BaseModel):
    """Say which jobs are listed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    status: str | None = Field(default=None, max_length=200)
    """One or several of v2's words, parted by commas."""
    workflow: str | None = Field(default=None, max_length=200)
    tag: str | None = Field(default=None, max_length=64)
    sheet: str | None = Field(default=None, min_length=1, max_length=200)
    """A spreadsheet's id: the jobs that its rows show."""
    batch: str | None = Field(default=None, max_length=200)
    created_after: AwareDatetime | None = None
    created_before: AwareDatetime | None = None
    metadata: dict[str, str] = Field(default_factory=dict)
    """As `metadata[key]=value`: jobs that carry all these labels."""
    limit: Annotated[int, Field(ge=1, le=100)] = 50
    cursor: str | None = Field(default=None, max_length=200)
    """Where the page before ended: its `next_cursor`."""

    @property
    def is_filtered(self) -> bool:
        """Say whether some jobs may be left out."""
        return bool(self.status or self.workflow or self.tag or self.sheet or self.batch or self.metadata)


class JobPage(View):
    """Hold one page of jobs; *next_cursor* is left out on the last one."""

    jobs: list[JobSummary]
    next_cursor: str | None = None


def list_jobs(ledger: Ledger, client_id: str, query: JobsQuery) -> JobPage:
    """
    Give one page of a client's jobs.

    Raise `Rejected`: bad_request (an unknown status), invalid_cursor, invalid_metadata_filter.
    """
    fits = _filter(query)
    since = _ms(query.created_after, default=-1) + 1
    until = _ms(query.created_before, default=_FOR_EVER) - 1
    last = None if query.cursor is None else _spot(query.cursor)
    found: list[JobSummary] = []
    size = looked = 0
    while looked < LOOKED_AT_MOST:
        wanted = _READ_AT_ONCE if query.is_filtered else query.limit - len(found)
        spots = ledger.of_client(client_id, since=since, until=until, limit=wanted, after=last)
        jobs = {job.job_id: job for job in ledger.get_many([spot.job_id for spot in spots])}
        for spot in spots:
            looked, last = looked + 1, spot
            job = jobs.get(spot.job_id)
            if job is None or not fits(job):
                continue
            shown = job_summary(job)
            found.append(shown)
            size += len(json.dumps(shown.model_dump(mode="json")))
            if len(found) == query.limit or size > PAGE_BYTES:
                return JobPage(jobs=found, next_cursor=_cursor(spot))
        if len(spots) < wanted:
            return JobPage(jobs=found)
    return JobPage(jobs=found, next_cursor=_cursor(last) if last else None)


def folded(query: Mapping[str, str]) -> dict[str, object]:
    """Gather `metadata[key]=value` pairs under one name, as the contract's deepObject style has them."""
    plain: dict[str, object] = {}
    labels: dict[str, str] = {}
    for name, value in query.items():
        if name.startswith("metadata[") and name.endswith("]"):
            labels[name[9:-1]] = value
        else:
            plain[name] = value
    if len(labels) > 16 or not all(labels):
        raise Rejected("invalid_metadata_filter", "Filter by 1 to 16 labels, each as metadata[key]=value.")
    return {**plain, "metadata": labels} if labels else plain


def _filter(query: JobsQuery) -> Callable[[Job], bool]:
    words = [word.strip() for word in query.status.split(",")] if query.status else []
    unknown = [word for word in words if word not in _STATES]
    if unknown:
        raise Rejected("bad_request", f'There is no status "{unknown[0][:30]}". There are {", ".join(_STATES)}.')
    states = {_STATES[word] for word in words}
    workflow = fold(query.workflow) if query.workflow else None

    def fits(job: Job) -> bool:
        return (
            (not words or job.state in states)
            and workflow in (None, fold(job.workflow_id))
            and query.tag in (None, *job.tags)
            and query.sheet in (None, job.target.spreadsheet_id if job.target else "")
            and query.batch in (None, job.batch_id)
            and query.metadata.items() <= job.metadata.items()
        )

    return fits


def _ms(time: datetime | None, *, default: int) -> int:
    return default if time is None else int(time.timestamp() * 1000)


def _cursor(spot: Spot) -> str:
    return base64.urlsafe_b64encode(f"{spot.created_at}.{spot.job_id}".encode()).decode().rstrip("=")


def _spot(cursor: str) -> Spot:
    """Read a cursor of ours. It names a place in the caller's own list alone, so it needs no signature."""
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        created_at, _, job_id = text.partition(".")
        spot = Spot(int(created_at), job_id)
    except (ValueError, binascii.Error):
        spot = None
    if spot is None or not job_id_like(spot.job_id) or not 0 <= spot.created_at < _FOR_EVER or _cursor(spot) != cursor:
        raise Rejected("invalid_cursor", "This cursor is none of ours. Begin again without one.")
    return spot


def job_id_like(text: str) -> bool:
    """Say whether *text* has the form of a job's id."""
    return len(text) == 36 and all(letter in "0123456789abcdef-" for letter in text)
