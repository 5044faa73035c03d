"""Cancel a job: at once in the ledger; the worker loses its next write and stops ComfyUI."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from chalicelib.contract.errors import Rejected
from chalicelib.contract.job import Job
from chalicelib.contract.ports import Ledger
from chalicelib.contract.states import State


class Hints(Protocol):
    """Send news to the completion."""

    def hint(self, job: Job, sweep_minute: int | None = None) -> None:
        """Hint at *job*'s news."""


def cancel(job_id: str, client_id: str, *, ledger: Ledger, hints: Hints, now_ms: Callable[[], int]) -> Job:
    """
    Cancel a job of *client_id* and answer it as it stands then; an ended job is answered unchanged.

    Raise `Rejected` (not_found) for an unknown job and for another client's: the two look alike.
    """
    job = ledger.get(job_id)
    if job is None or job.client_id != client_id:
        raise Rejected("not_found", "There is no job of this id.")
    after = ledger.cancel(job_id, now=now_ms())
    if after is None:
        raise Rejected("not_found", "There is no job of this id.")
    if after.state is State.CANCELED:
        hints.hint(after)
    return after
