"""
Say what a ledger does, for those who are handed one.

`chalicelib.ledger` keeps it in DynamoDB; the tests' twin keeps it in memory; one suite judges both.
Every write is conditional on `states.TRANSITIONS`. A write whose answer got lost and was repeated counts as done
(the in-doubt rule): the item says whose token it carries.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from chalicelib.contract.job import Job, JobError, Output, Progress, Timings
from chalicelib.contract.states import TERMINAL, State


@dataclass(frozen=True)
class Lease:
    """Prove that an attempt is ours: every write of a worker carries it."""

    job_id: str
    attempt: int
    token: str


@dataclass(frozen=True)
class Spot:
    """Name a job's place in its client's list, which goes by time."""

    created_at: int
    job_id: str


@dataclass(frozen=True)
class Submitted:
    """Answer a submission: the job as it stands, and whether this very call made it."""

    job: Job
    created: bool


@dataclass(frozen=True)
class Line:
    """
    Hold the open jobs of one client: ids of those *sent* to the workers, and of those *held* back, in the order in
    which they are to be sent. Not *is_whole*: there are more.
    """

    sent: tuple[str, ...]
    held: tuple[str, ...]
    is_whole: bool


@dataclass(frozen=True)
class Census:
    """
    Count the open jobs of all clients: ids of those *sent* to the workers, how many are *held* back, and when the
    oldest of these was made (ms; None: none is held).
    """

    sent: tuple[str, ...]
    held: int = 0
    oldest_held_at: int | None = None


class Refusal(StrEnum):
    """Say why a claim was refused."""

    UNKNOWN = "unknown"
    ENDED = "ended"
    STALE = "stale"
    HELD = "held"
    NOT_YET = "not yet"
    SPENT = "spent"


@dataclass(frozen=True)
class Refused:
    """Answer a claim that failed: why, the job as it stands (None: unknown), and when to look again (ms)."""

    why: Refusal
    job: Job | None
    look_again_at: int = 0


@dataclass(frozen=True)
class Claimed:
    """Answer a claim that held: the job as claimed and the lease for all later writes."""

    job: Job
    lease: Lease


def refusal_of(job: Job | None, seq: int, now: int) -> Refused:
    """Say why *job*, as it stands, could not be claimed with message *seq* at *now*."""
    if job is None:
        return Refused(Refusal.UNKNOWN, None)
    if job.state in TERMINAL:
        return Refused(Refusal.ENDED, job)
    if job.seq != seq:
        return Refused(Refusal.STALE, job)
    if job.state is State.RUNNING and job.lease_until >= now:
        return Refused(Refusal.HELD, job, look_again_at=job.lease_until)
    if job.budget_left <= 0 or job.deadline <= now:
        return Refused(Refusal.SPENT, job)
    return Refused(Refusal.NOT_YET, job, look_again_at=job.not_before)


class Ledger(Protocol):
    """Keep the jobs. Times are milliseconds since the epoch. `Unavailable` when the table cannot be reached."""

    def submit(self, job: Job) -> Submitted:
        """Put *job* if its id is new; else answer the one that is there, whatever its content."""

    def get(self, job_id: str) -> Job | None:
        """Read one job, strongly consistent."""

    def get_many(self, job_ids: Sequence[str]) -> list[Job]:
        """
        Read jobs, strongly consistent, in the order asked; unknown ids are left out.

        So is an item that cannot be read (it is told in the log): the others of the list do not pay for it.
        """

    def claim(self, job_id: str, seq: int, *, owner: str, token: str, now: int, lease_ms: int) -> Claimed | Refused:
        """Begin an attempt."""

    def heartbeat(
        self,
        lease: Lease,
        *,
        until: int,
        phase: str,
        progress: Progress | None,
        outputs: Sequence[Output] | None = None,
        spent_ms: int | None = None,
    ) -> bool:
        """
        Prolong the lease; False: it is lost (stolen, cancelled or ended).

        *spent_ms*, here and below, is what GPUs have worked for the job until now (None: as was told before).
        *outputs* (None: as before) are shown while the attempt runs; any end of it but `commit` takes them back.
        """

    def release(self, lease: Lease, *, now: int, given_back: int | None = None) -> bool:
        """
        Hand the job back unharmed: queued again, the attempt's cost returned. False: the lease was lost.

        *given_back* is how often it was by now because ComfyUI went down with another job (None: as before).
        """

    def retry(self, lease: Lease, *, now: int, not_before: int, error: JobError, spent_ms: int | None = None) -> bool:
        """Put the job back to wait until *not_before*. False: the lease was lost or no attempt is left."""

    def commit(
        self, lease: Lease, *, now: int, outputs: Sequence[Output], timings: Timings, spent_ms: int | None = None
    ) -> bool:
        """End the job well. False: the lease was lost and nothing of this attempt may be shown."""

    def fail(self, lease: Lease, *, now: int, error: JobError, spent_ms: int | None = None) -> bool:
        """End the job with *error*. False: the lease was lost."""

    def give_up(self, job: Job, *, now: int, error: JobError) -> bool:
        """End a job that nobody holds and that has no attempt or time left. False: it moved meanwhile."""

    def cancel(self, job_id: str, *, now: int) -> Job | None:
        """Cancel an open job; answer the job as it stands then (already ended: unchanged). None: unknown."""

    def resend(self, job: Job, *, now: int) -> int | None:
        """
        Number a new message for a job that nobody attends; its seq, or None when the job moved meanwhile.

        From then on a job that was held back counts as sent.
        """

    def line(self, client_id: str, limit: int) -> Line:
        """List a client's open jobs, at most *limit*: the sent ones, then the held ones (may be late by a moment)."""

    def open_jobs(self, client_id: str) -> int:
        """Count a client's open jobs, sent or held (may be late by a moment)."""

    def census(self) -> Census:
        """Count the open jobs of all clients (may be late by a moment)."""

    def look_later(self, job: Job, *, due_at: int) -> None:
        """Put off the sweeper's next look at *job* (only if it is still the version that was read)."""

    def put_off(self, job_id: str, *, due_at: int) -> None:
        """Put off the sweeper's next look at a job that cannot be read, whatever it holds."""

    def mark_synced(self, job: Job, *, look_at: int | None = None, gone: bool = False) -> bool:
        """
        Note that the row shows *job*'s version. False: there is newer news already.

        The sweeper looks at an ended job once more at *look_at* (None: never again); until then `fresh` lists it. With
        *gone* there was no row to show it: the job is listed by `gone` until it is shown after all.
        """

    def show_again(self, job_id: str, *, now: int) -> Job | None:
        """
        Make an ended job that is shown count as not shown; answer it as it stands then. None: unknown, or not ended.

        A job that waits to be shown stays as it is: its first time is still to be announced and counted.
        """

    def of_client(self, client_id: str, *, since: int, until: int, limit: int, after: Spot | None = None) -> list[Spot]:
        """
        List jobs of *client_id* that were made from *since* to *until* (ms, both included), newest first.

        At most *limit* of them, going on after the place *after*; fewer than *limit*: that was all. May be late by a
        moment.
        """

    def unshown(self, spreadsheet_id: str) -> list[str]:
        """List ids of jobs whose rows in *spreadsheet_id* lag behind (may be late by a moment)."""

    def gone(self, spreadsheet_id: str) -> list[str]:
        """List ids of ended jobs whose rows in *spreadsheet_id* were not found (may be late by a moment)."""

    def fresh(self, spreadsheet_id: str) -> list[str]:
        """List ids of ended jobs whose rows are to be looked at once more (may be late by a moment)."""

    def due(self, now: int, limit: int) -> Iterable[str]:
        """List ids of jobs that the sweeper should look at, oldest first (may be late by a moment)."""


class Seats(Protocol):
    """Bound how many of a name do something slow at a time (`chalicelib.seats`)."""

    def take(self, name: str, most: int, *, now: int, until: int) -> str | None:
        """Take a seat until *until* (ms): what to give back, or None. Raise `Unavailable`."""

    def leave(self, name: str, mine: str, *, now: int) -> None:
        """Leave it. Raise `Unavailable`."""
