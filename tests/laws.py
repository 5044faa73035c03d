"""
Say what may become of a job, whatever is asked of the ledger and by whom: the promises P6 to P8 as a function.

Random histories (`tests.histories`) and the exhaustive model (`tests.model`) judge every single step by it.
"""

from __future__ import annotations

from chalicelib.contract.job import Job
from chalicelib.contract.ports import Lease
from chalicelib.contract.states import TERMINAL, State

_END = ("state", "version", "attempt", "outputs", "error", "committed_attempt", "finished_at", "timings")
"""What of an ended job stays as it is for ever."""


def is_mine(job: Job, lease: Lease) -> bool:
    """Say whether *lease* is the one under which *job* runs."""
    return job.state is State.RUNNING and (job.attempt, job.claim_token) == (lease.attempt, lease.token)


def breaches(before: Job, after: Job, lease: Lease | None = None) -> list[str]:
    """
    Say what is wrong with a step from *before* to *after*; nothing: all is well.

    *lease*: who asked for it is a worker, and has only this to show.
    """
    wrong = []
    if lease is not None and not is_mine(before, lease) and after != before:
        wrong.append("P6: a worker that had lost its lease changed the job")
    if before.state in TERMINAL and any(getattr(before, name) != getattr(after, name) for name in _END):
        wrong.append(f"P7: a job that was {before.state} became {after.state}, or something else of its end changed")
    if before.state is State.CANCELED and (after.state is State.SUCCEEDED or after.outputs):
        wrong.append("P8: a cancelled job succeeded or shows outputs")
    if after.version < before.version or after.attempt < before.attempt or after.seq < before.seq:
        wrong.append("a version, an attempt or a message's number went down")
    told = (
        (before.state, before.attempt, before.committed_attempt),
        (after.state, after.attempt, after.committed_attempt),
    )
    if (told[0] != told[1]) != (after.version == before.version + 1) or after.version > before.version + 1:
        wrong.append("P19: state or attempt changed without one new version, or a version came without news")
    if after.attempt > before.attempt + 1 or after.budget_left < 0:
        wrong.append("an attempt was begun that nobody paid for")
    if (after.committed_attempt is not None) != (after.state is State.SUCCEEDED):
        wrong.append("a commit without success, or a success without a commit")
    if after.state is State.SUCCEEDED and after.committed_attempt != after.attempt:
        wrong.append("P4: what was committed is another attempt's than the last")
    if (after.state not in TERMINAL or not after.is_shown) and after.due_at is None:
        wrong.append("P1: a job that is open, or not shown, is out of the sweeper's sight")
    return wrong
