"""Bring jobs of a ledger to where a test wants them, by the moves that lead there."""

from __future__ import annotations

from chalicelib.contract.job import Job, JobError, Timings
from chalicelib.contract.ports import Claimed, Ledger, Refused
from chalicelib.contract.states import State
from tests.jobs import NOW, new_job, output

LEASE_MS = 60_000
ERROR = JobError(code="out_of_memory", text="The GPU ran out of memory.", hint="Use a smaller size.")


def queued(ledger: Ledger, **fields: object) -> Job:
    return ledger.submit(new_job(**fields)).job


def claim(ledger: Ledger, job: Job, *, now: int = NOW, token: str = "t1", seq: int | None = None) -> Claimed | Refused:
    seq = job.seq if seq is None else seq
    return ledger.claim(job.job_id, seq, owner="worker-1", token=token, now=now, lease_ms=LEASE_MS)


def running(ledger: Ledger, job: Job | None = None, *, now: int = NOW, token: str = "t1") -> Claimed:
    claimed = claim(ledger, job or queued(ledger), now=now, token=token)
    assert isinstance(claimed, Claimed)
    return claimed


def stored(ledger: Ledger, job_id: str) -> Job:
    job = ledger.get(job_id)
    assert job is not None
    return job


def ended(ledger: Ledger, state: State) -> Job:
    """Bring a new job to *state* by the moves that lead there."""
    claimed = running(ledger)
    if state is State.SUCCEEDED:
        assert ledger.commit(claimed.lease, now=NOW + 5, outputs=[output()], timings=Timings())
    elif state is State.FAILED:
        assert ledger.fail(claimed.lease, now=NOW + 5, error=ERROR)
    else:
        ledger.cancel(claimed.job.job_id, now=NOW + 5)
    return stored(ledger, claimed.job.job_id)
