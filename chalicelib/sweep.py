"""
Close the gaps, once a minute: messages that were never sent, workers that died, rows that were not written, jobs
that are held back though there is room.

The sweeper may be wrong: everything that it sends is a hint, and a re-sent job carries a new number that makes its
older message stale.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from chalicelib.contract.counts import NOWHERE, Counts, Metric
from chalicelib.contract.errors import Unavailable
from chalicelib.contract.events import CHECKED_AT_ONCE, Errand
from chalicelib.contract.job import QUEUED_LOST_MS, Job, JobError
from chalicelib.contract.ports import Ledger
from chalicelib.contract.sheets import Registration
from chalicelib.contract.states import TERMINAL, State

log = logging.getLogger(__name__)

AT_ONCE: Final = 200
"""Jobs looked at per index shard and minute."""

AUTOS_AT_ONCE: Final = 15
"""Tabs in which rows start by themselves, looked at in one minute: each costs a read of Google's 60."""

CHECK_UNTIL_MS: Final = 60 * 60 * 1000
"""How long after its end a job's row may still be looked at once more."""

REHINT_MS: Final = 2 * 60 * 1000
"""When the sweeper looks again at an end of which it has asked completion to tell."""

AFTER_LEASE_MS: Final = 30 * 1000
"""When it looks at a job that runs: so long after its lease, unless a heartbeat moves it."""

LONGEST_WAIT_MS: Final = 60 * 60 * 1000
UNREADABLE_MS: Final = 60 * 60 * 1000
"""When the sweeper looks again at a job that cannot be read: the release that wrote it may be back by then."""

TOO_MANY = JobError(
    code="gave_up",
    text="Every worker that tried this row stopped in the middle.",
    hint="Try a smaller size or another workflow, or ask the operator to look at the workers' logs.",
)
TOO_LATE = JobError(
    code="expired",
    text="No worker took this row within a day.",
    hint="Check that a worker is running, then generate the row again.",
)


class Jobs(Protocol):
    """Send jobs to the workers."""

    def send(self, jobs: list[Job]) -> int:
        """Send a message for each job."""


class Window(Protocol):
    """Let jobs go that are held back (`chalicelib.window.Window`)."""

    def refill(self, client_id: str, ended: Collection[str] = ()) -> int:
        """Let as many go as there is room for."""

    def look_again(self, held: Sequence[Job], now: int) -> None:
        """Note when to look again at jobs of one client that are held."""


class Hints(Protocol):
    """Send news to the completion."""

    def hint(self, job: Job) -> None:
        """Hint at *job*'s news."""

    def check(self, jobs: Sequence[Job], sweep_minute: int) -> None:
        """Ask for a look at *jobs*, of one spreadsheet or one client: lagging, or shown a while ago."""

    def ask(self, errand: Errand) -> None:
        """Send an errand."""


class Spreadsheets(Protocol):
    """Know the spreadsheets (`chalicelib.registry.Registry`)."""

    def autos(self) -> list[Registration]:
        """List those in which rows start by themselves."""

    def note_auto(self, spreadsheet_id: str, now: int) -> None:
        """Note that they are looked at."""


@dataclass(frozen=True)
class _Round:
    """Hold what one round gathers while it looks at the jobs one by one."""

    now: int
    checks: dict[str, list[Job]] = field(default_factory=lambda: defaultdict(list))
    """Jobs that completion is asked to look at, by spreadsheet (or client, where they have none)."""
    held: dict[str, list[Job]] = field(default_factory=lambda: defaultdict(list))
    """Jobs that are held back, by client."""
    ended: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Ids of jobs that have ended, by client."""


class Sweep:
    """Look at every job whose time has come and do the one thing that it lacks."""

    def __init__(
        self,
        ledger: Ledger,
        jobs: Jobs,
        hints: Hints,
        spreadsheets: Spreadsheets,
        now_ms: Callable[[], int],
        window: Window,
        counts: Counts = NOWHERE,
    ) -> None:
        self._counts = counts
        self._ledger = ledger
        self._window = window
        self._spreadsheets = spreadsheets
        self._jobs = jobs
        self._hints = hints
        self._now_ms = now_ms

    def sweep(self) -> Counter[str]:
        """Make one round; answer how often each thing was done (re-sent, let go, hinted, gave up, checked, auto …)."""
        done: Counter[str] = Counter()
        this = _Round(self._now_ms())
        now = this.now
        done["auto"] = self._start_autos(now)
        ids = list(self._ledger.due(now, AT_ONCE))
        jobs = self._ledger.get_many(ids)
        done["unreadable"] = self._put_off(set(ids) - {job.job_id for job in jobs}, now)
        for job in jobs:
            try:
                done[self._look(job, this)] += 1
            except Unavailable as reason:
                log.warning("sweep later", extra={"job_id": job.job_id, "reason": reason.message})
                done["unavailable"] += 1
        done["let go"] = self._let_go(this)
        for jobs in this.checks.values():
            for begin in range(0, len(jobs), CHECKED_AT_ONCE):
                self._hints.check(jobs[begin : begin + CHECKED_AT_ONCE], now // 60_000)
        log.info("sweep", extra={"action": "sweep", **done})
        self._counts.add(Metric.SWEEPS)
        for metric, what in ((Metric.JOBS_RESENT, "re-sent"), (Metric.JOBS_GAVE_UP, "gave up")):
            if done[what]:  # a metric is billed for each hour in which it is told
                self._counts.add(metric, done[what])
        return done

    def _put_off(self, job_ids: Collection[str], now: int) -> int:
        """Put off what is due and cannot be read, or it would stand before the others each minute; how many."""
        for job_id in job_ids:
            try:
                self._ledger.put_off(job_id, due_at=now + UNREADABLE_MS)
            except Unavailable as reason:
                log.warning("put off later", extra={"job_id": job_id, "reason": reason.message})
        return len(job_ids)

    def _start_autos(self, now: int) -> int:
        """Have completion look for rows that start by themselves; those looked at longest ago come first."""
        asked = tabs = 0
        try:
            for each in sorted(self._spreadsheets.autos(), key=lambda each: each.auto_at):
                if each.client_id is None or (each.parked is not None and now < each.parked.until):
                    continue
                tabs += len(each.auto_tabs)
                if asked and tabs > AUTOS_AT_ONCE:
                    break
                self._spreadsheets.note_auto(each.spreadsheet_id, now)
                self._hints.ask(Errand(errand="auto", spreadsheet_id=each.spreadsheet_id, id=str(now // 60_000)))
                asked += 1
        except Unavailable as reason:
            # What jobs lack is no less urgent for that.
            log.warning("auto later", extra={"action": "auto", "reason": reason.message})
        return asked

    def _let_go(self, this: _Round) -> int:
        """Fill the windows of the clients whose jobs ended or are held; word of an end may have got lost."""
        gone = 0
        for client_id in {**this.held, **this.ended}:
            try:
                gone += self._window.refill(client_id, this.ended[client_id])
                held = self._ledger.get_many([job.job_id for job in this.held[client_id]])
                still = [job for job in held if job.is_held and job.state is State.QUEUED]
                if still:
                    self._window.look_again(still, this.now)
            except Unavailable as reason:
                log.warning("let go later", extra={"client_id": client_id, "reason": reason.message})
        return gone

    def _look(self, job: Job, this: _Round) -> str:
        now = this.now
        if job.state in TERMINAL:
            if not job.is_held:
                this.ended[job.client_id].add(job.job_id)
            return self._look_at_ended(job, this)
        if job.lease_until >= now and job.state is State.RUNNING:
            if not job.is_shown:
                _note_lagging(job, this)
            self._ledger.look_later(job, due_at=job.lease_until + AFTER_LEASE_MS)
            return "waits"
        if job.deadline <= now or job.budget_left <= 0:
            error = TOO_MANY if job.budget_left <= 0 else TOO_LATE
            return self._give_up(job, this, error)
        if job.is_held:
            this.held[job.client_id].append(job)
            return "held"
        if job.state is State.QUEUED and now < (lost_at := _lost_at(job)):
            self._ledger.look_later(job, due_at=lost_at)
            return "waits"
        return self._resend(job, now)

    def _give_up(self, job: Job, this: _Round, error: JobError) -> str:
        if not self._ledger.give_up(job, now=this.now, error=error):
            return "moved"
        this.ended[job.client_id].add(job.job_id)
        ended = self._ledger.get(job.job_id)
        if ended is not None:
            self._hints.hint(ended)
        return "gave up"

    def _look_at_ended(self, job: Job, this: _Round) -> str:
        now = this.now
        if job.is_shown:
            if job.target is None or now > (job.finished_at or 0) + CHECK_UNTIL_MS:
                self._ledger.mark_synced(job)
                return "shown"
            self._ledger.look_later(job, due_at=now + REHINT_MS)
            this.checks[job.target.spreadsheet_id].append(job)
            return "checked"
        self._ledger.look_later(job, due_at=now + REHINT_MS)
        _note_lagging(job, this)
        return "hinted"

    def _resend(self, job: Job, now: int) -> str:
        seq = self._ledger.resend(job, now=now)
        if seq is None:
            return "moved"
        self._jobs.send([job.model_copy(update={"seq": seq})])
        return "re-sent"


def _note_lagging(job: Job, this: _Round) -> None:
    """
    Have completion look at a job whose news it has not told.

    Not by a message for each: when completion is behind, they would come faster than it takes them, and what it has
    not taken is asked for again and again.
    """
    this.checks[f"lag:{job.target.spreadsheet_id if job.target else job.client_id}"].append(job)


def _lost_at(job: Job) -> int:
    """
    Say when a queued job's message counts as lost.

    The wait doubles with every message sent, so that a long queue is not filled with repeats of itself.
    """
    wait = min(QUEUED_LOST_MS << min(job.seq - 1, 10), LONGEST_WAIT_MS)
    return max(job.enqueued_at, job.not_before) + wait
