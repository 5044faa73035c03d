"""
Say how long GPUs were busy with a job: what its key is charged, its sheet's panel shows, and its cost is counted by.

Releases may be mixed for a while: a worker of an earlier one tells its last attempt alone, in the timings.
"""

from __future__ import annotations

from typing import Final

from chalicelib.contract.job import Job
from chalicelib.contract.states import State

UNMEASURED_MOST_MS: Final = 15 * 60_000
"""The usual bound of an attempt."""


def gpu_ms(job: Job) -> int:
    """
    Say how long GPUs were busy with an ended job, in all its attempts, as its workers told.

    Where no worker told the end (it died, or the job was cancelled) it is from the last start to the end, if that is
    longer: its last seconds were told by nobody. That guess is bounded, for a job that was handed back keeps its last
    start while it waits.
    """
    told_ms = max(job.spent_ms or 0, (job.timings.execution_ms if job.timings else None) or 0)
    if _is_end_told(job, told_ms) or job.started_at is None:
        return told_ms
    return max(told_ms, min(UNMEASURED_MOST_MS, max(0, (job.finished_at or 0) - job.started_at)))


def _is_end_told(job: Job, told_ms: int) -> bool:
    """Say whether a worker ended the job and knew the GPU's time. Only while nobody has the lease do others end it."""
    if job.state is State.SUCCEEDED:
        return told_ms > 0
    return job.state is State.FAILED and (job.finished_at or 0) <= job.lease_until
