"""Guess how long jobs take still, from how long their workflows took so far. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from chalicelib.contract.job import Job


def left_ms(job: Job, now: int, pace: Mapping[str, int | None]) -> float | None:
    """
    Say how long a running job will take still: by its workflow's usual time, else by how far it has come.

    *pace* holds usual times by workflow hash (ms). None: nothing is known.
    """
    spent_ms, fraction = now - (job.started_at or now), job.progress.fraction if job.progress else 0.0
    usual_ms = pace[job.workflow_hash]
    if usual_ms is not None and spent_ms < usual_ms:
        return usual_ms - spent_ms
    return spent_ms * (1 - fraction) / fraction if fraction >= 0.1 else None
