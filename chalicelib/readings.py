"""
Take the minute's readings: how many jobs wait, run or are stuck, since when, who is there to take them, what it cost.

They are read from what is small: the index that holds open jobs only (keys alone), the items of those that are with
the workers (a client has a few a GPU there), the workers' cards, the list of spreadsheets. Of very many such items
some are looked at, evenly chosen, and stand for the others. What cannot be read is not told; the rest is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from chalicelib.contract.card import Seen
from chalicelib.contract.counts import Counts, Metric
from chalicelib.contract.errors import Unavailable
from chalicelib.contract.job import Job
from chalicelib.contract.limits import EVERYBODY, Account
from chalicelib.contract.ports import Census
from chalicelib.contract.sheets import Registration
from chalicelib.contract.states import State

log = logging.getLogger(__name__)

LOOKED_AT: Final = 400
"""Items of jobs that one round reads: four calls."""
STUCK_MS: Final = 5 * 60 * 1000
"""A lease that ended so long ago was neither taken over nor given up, though the sweeper looks after half a minute."""
SILENT_MOST_MS: Final = 60 * 60 * 1000
"""Cards are known for an hour; a worker of whom there is none has been silent for that at least."""


class OpenJobs(Protocol):
    """Know the open jobs of all clients (`chalicelib.ledger.DynamoLedger`)."""

    def census(self) -> Census:
        """Count them."""

    def get_many(self, job_ids: Sequence[str]) -> list[Job]:
        """Read jobs."""


class Workers(Protocol):
    """Know the workers (`chalicelib.crew.Crew`)."""

    def seen(self) -> Sequence[Seen]:
        """List the cards of the last hour."""


class Spreadsheets(Protocol):
    """Know the spreadsheets (`chalicelib.registry.Registry`)."""

    def parked(self) -> list[Registration]:
        """List those that refuse us."""


class Accounts(Protocol):
    """Know what was used (`chalicelib.accounts.Accounts`)."""

    def account(self, key_id: str, now: int) -> Account:
        """Read an account."""


class Readings:
    """Take readings. *gpu_s_per_day* is what the whole stage may use a day (UTC); None: there is no such bound."""

    def __init__(
        self,
        jobs: OpenJobs,
        workers: Workers,
        spreadsheets: Spreadsheets,
        accounts: Accounts,
        counts: Counts,
        now_ms: Callable[[], int],
        *,
        gpu_s_per_day: int | None = None,
    ) -> None:
        self._jobs = jobs
        self._workers = workers
        self._spreadsheets = spreadsheets
        self._accounts = accounts
        self._counts = counts
        self._now_ms = now_ms
        self._gpu_s_per_day = gpu_s_per_day

    def take(self) -> None:
        """Take all of them once. Nothing that is out of reach stops the others."""
        for part in (self._farm, self._parked, self._spent):
            try:
                part(self._now_ms())
            except Unavailable as reason:
                log.warning("reading not taken", extra={"action": part.__name__, "reason": reason.message})

    def _farm(self, now: int) -> None:
        """Tell of jobs and workers: silence is only trouble while somebody waits."""
        census = self._jobs.census()
        looked_at = _evenly(census.sent, LOOKED_AT)
        share = len(census.sent) / len(looked_at) if looked_at else 1.0
        jobs = self._jobs.get_many(looked_at)
        running = [job for job in jobs if job.state is State.RUNNING and job.lease_until >= now]
        # One that is put off (a later attempt) waits for its own time, not for a worker.
        waiting = [job for job in jobs if _waits(job, now)]
        stuck = [job for job in jobs if job.state is State.RUNNING and job.lease_until < now - STUCK_MS]
        alone_ms = max((now - _alone_since(job) for job in waiting), default=0)
        made = [job.created_at for job in waiting] + [each for each in (census.oldest_held_at,) if each is not None]
        add = self._counts.add
        add(Metric.JOBS_WAITING, round(share * len(waiting)) + census.held)
        add(Metric.JOBS_HELD, census.held)
        add(Metric.JOBS_RUNNING, round(share * len(running)))
        add(Metric.JOBS_STUCK, round(share * len(stuck)))
        add(Metric.OLDEST_WAIT, max(0, now - min(made, default=now)) // 1000)
        cards = self._workers.seen()
        takers = [card for card in cards if card.is_alive(now) and card.open_servers]
        heard_ms = min((now - card.seen_at for card in cards if card.open_servers), default=SILENT_MOST_MS)
        # Whichever is shorter: a farm that slept at zero is not silent the moment its first job comes.
        silent_ms = 0 if takers or not waiting else max(0, min(alone_ms, heard_ms))
        add(Metric.WORKERS_ALIVE, len(takers))
        add(Metric.GPUS_OPEN, sum(card.open_servers for card in takers))
        add(Metric.WORKER_SILENCE, silent_ms // 1000)
        for job in stuck:
            log.warning("stuck", extra={"action": "stuck", "job_id": job.job_id, "attempt": job.attempt})

    def _parked(self, _now: int) -> None:
        self._counts.add(Metric.SHEETS_PARKED, len(self._spreadsheets.parked()))

    def _spent(self, now: int) -> None:
        spent_s = self._accounts.account(EVERYBODY, now).gpu_ms_today / 1000
        self._counts.add(Metric.GPU_SECONDS_TODAY, round(spent_s, 1))
        if self._gpu_s_per_day:
            self._counts.add(Metric.GPU_BUDGET_USED, round(100 * spent_s / self._gpu_s_per_day, 1))


def _waits(job: Job, now: int) -> bool:
    """Say whether *job* could be taken now."""
    if job.state is State.RUNNING:
        return job.lease_until < now
    return job.state is State.QUEUED and job.not_before <= now


def _alone_since(job: Job) -> int:
    """Say since when *job* could be taken (ms). Not `enqueued_at`: the sweeper moves it each time it sends again."""
    return job.lease_until if job.state is State.RUNNING else max(job.created_at, job.not_before)


def _evenly(ids: Sequence[str], most: int) -> list[str]:
    """Choose *most* ids, spread over the whole list."""
    return list(ids) if len(ids) <= most else [ids[place * len(ids) // most] for place in range(most)]
