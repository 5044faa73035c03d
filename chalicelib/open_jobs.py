"""Find a client's open jobs among its latest: one that is older than a day has been given up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from chalicelib.contract.job import JOB_LIFETIME_MS, Job
from chalicelib.contract.ports import Ledger
from chalicelib.contract.states import OPEN

_LATEST: Final = 500


@dataclass(frozen=True)
class OpenLine:
    """Hold ids of open jobs, those that run first."""

    sent: tuple[str, ...]
    held: tuple[str, ...] = ()


@dataclass(frozen=True)
class RecentJobs:
    """Look at the latest five hundred."""

    ledger: Ledger
    now_ms: Callable[[], int]

    def line(self, client_id: str, limit: int) -> OpenLine:
        """List open jobs, *limit* at most."""
        return OpenLine(tuple(job.job_id for job in self._open(client_id)[:limit]))

    def open_jobs(self, client_id: str) -> int:
        """Count open jobs."""
        return len(self._open(client_id))

    def get_many(self, job_ids: Sequence[str]) -> list[Job]:
        """Read jobs."""
        return self.ledger.get_many(job_ids)

    def _open(self, client_id: str) -> list[Job]:
        now = self.now_ms()
        since = now - 2 * JOB_LIFETIME_MS
        spots = self.ledger.of_client(client_id, since=since, until=now, limit=_LATEST)
        jobs = [job for job in self.ledger.get_many([spot.job_id for spot in spots]) if job.state in OPEN]
        return sorted(jobs, key=lambda job: (job.state.value != "running", job.created_at))
