"""
Let each client have a few jobs with the workers at a time, and hold its others back in the table.

The workers' queue is about first come, first served: whoever puts 10,000 messages into it makes everybody wait for
them. So at most a window's width of one client's messages are out; another client's job then waits for one job per
GPU. The rest are held (`Job.is_held`), the highest priority first, then the oldest. Each end lets the next one go.

What is out is read from the table's index and counted nowhere else, so that no counter can drift. The index may be
late by a moment: a burst may get a few jobs more out than the window has places, which is unfair for a moment only.
A job that nobody lets go is found by the sweeper, by the next look that is noted on the last of those held together.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from chalicelib.contract.errors import Exhausted, Unavailable
from chalicelib.contract.job import Job
from chalicelib.contract.limits import QUEUED_MAX
from chalicelib.contract.ports import Ledger, Line
from chalicelib.contract.states import OPEN

log = logging.getLogger(__name__)

NARROWEST: Final = 4
"""Places of a client while no worker, or only one, is known."""
PER_GPU: Final = 2
"""One that renders, one that is next."""
LOOK_MS: Final = 60_000
"""When the sweeper looks whether those that are held together still move on."""
LATER_MS: Final = 60 * 60 * 1000
"""When it looks at the others of them."""
RETRY_S: Final = 30


class Jobs(Protocol):
    """Send jobs to the workers."""

    def send(self, jobs: Sequence[Job]) -> int:
        """Send a message for each job."""


@dataclass(frozen=True)
class Admitted:
    """Answer who may come in: *jobs* to put, in their order; *refusal* says why the others may not (None: all may)."""

    jobs: tuple[Job, ...]
    refusal: Exhausted | None = None
    has_room: bool = False
    """Whether jobs that were held before may go: the window is wider than it was."""


def width(gpus: int) -> int:
    """Say how many jobs of a client may be out while *gpus* servers work."""
    return max(NARROWEST, PER_GPU * gpus)


class Window:
    """Send, hold and let go. *gpus* counts the servers at work; it is asked only when the narrowest window is full."""

    def __init__(self, ledger: Ledger, jobs: Jobs, gpus: Callable[[], int], now_ms: Callable[[], int]) -> None:
        self._ledger = ledger
        self._jobs = jobs
        self._gpus = gpus
        self._now_ms = now_ms

    def admit(self, jobs: Sequence[Job], queued_max: int = QUEUED_MAX, refusal: Exhausted | None = None) -> Admitted:
        """
        Say which of *jobs*, all of one client and none put yet, are to be sent and which held; the first come first.

        Those above *queued_max* are refused (with *refusal*), replays of jobs that are there excepted. When the
        table's index cannot be read all are admitted: their own put says what is wrong.
        """
        if not jobs:
            return Admitted(())
        client_id = jobs[0].client_id
        try:
            line, places = self._line(client_id, len(jobs))
            free = max(0, queued_max - self._count(client_id, line, queued_max))
            let_in = [*jobs[:free], *self._replays(jobs[free:])]
        except Unavailable as reason:
            log.warning("line not read", extra={"client_id": client_id, "reason": reason.message})
            return Admitted(tuple(jobs))
        room = 0 if line.held else max(0, places - len(line.sent))
        has_room = bool(line.held) and len(line.sent) < places
        placed = _placed(let_in, room, self._now_ms())
        if len(let_in) == len(jobs):
            return Admitted(placed, None, has_room)
        return Admitted(placed, refusal or _full(queued_max), has_room)

    def refill(self, client_id: str, ended: Collection[str] = ()) -> int:
        """
        Let jobs of *client_id* go, as many as there is room for; how many went.

        *ended*: ids that have just ended, though the index may not know yet. Repeating it, or doing it twice at once,
        changes nothing: both mean the same jobs, and each goes once.
        """
        places = width(self._gpus())
        line = self._ledger.line(client_id, 2 * places + len(ended))
        room = places - len(set(line.sent) - set(ended))
        if room <= 0 or not line.held:
            return 0
        next_ones = [job for job in self._next(line.held, room) if job.state in OPEN]
        # The index may be late: what it calls held may be out already.
        room -= sum(not job.is_held for job in next_ones)
        going: list[Job] = []
        for job in [job for job in next_ones if job.is_held][: max(0, room)]:
            seq = self._ledger.resend(job, now=self._now_ms())
            if seq is not None:
                going.append(job.model_copy(update={"seq": seq}))
        if going:
            self._jobs.send(going)
            log.info("let go", extra={"action": "let go", "client_id": client_id, "count": len(going)})
        return len(going)

    def look_again(self, held: Sequence[Job], now: int) -> None:
        """Note when the sweeper looks again at jobs of one client that are still held: soon at one, later at all."""
        *others, last = sorted(held, key=_rank)
        self._ledger.look_later(last, due_at=now + LOOK_MS)
        for job in others:
            self._ledger.look_later(job, due_at=min(now + LATER_MS, job.deadline))

    def _next(self, held: Sequence[str], room: int) -> list[Job]:
        """Read the first *room* of those held; all when some cannot be read, or these would hold up the rest."""
        jobs = self._ledger.get_many(held[:room])
        return jobs if len(jobs) == len(held[:room]) else self._ledger.get_many(held)

    def _line(self, client_id: str, coming: int) -> tuple[Line, int]:
        """Read the head of the line and say how many places there are. One job of a quiet client costs one read."""
        if coming <= NARROWEST:
            line = self._ledger.line(client_id, NARROWEST + 1)
            if len(line.sent) + len(line.held) + coming <= NARROWEST:
                return line, NARROWEST
            places = width(self._gpus())
            if line.is_whole or places == NARROWEST:
                return line, places
        else:
            places = width(self._gpus())
        return self._ledger.line(client_id, places + 1), places

    def _count(self, client_id: str, line: Line, queued_max: int) -> int:
        """Count the open jobs; a line that was read to its end needs no further call."""
        seen = len(line.sent) + len(line.held)
        return seen if line.is_whole or seen >= queued_max else self._ledger.open_jobs(client_id)

    def _replays(self, jobs: Sequence[Job]) -> list[Job]:
        there = {job.job_id for job in self._ledger.get_many([job.job_id for job in jobs])}
        return [job for job in jobs if job.job_id in there]


def _placed(jobs: Sequence[Job], room: int, now: int) -> tuple[Job, ...]:
    """Mark who is held. Jobs of one request keep their order: the earlier ones count as some milliseconds older."""
    aged = [job.model_copy(update={"created_at": job.created_at - behind}) for behind, job in _from_end(jobs)]
    waiting = sorted(aged, key=_rank)[room:]
    held = {job.job_id for job in waiting}
    placed = []
    for job in aged:
        if job.job_id in held:
            due_at = now + (LOOK_MS if job.job_id == waiting[-1].job_id else LATER_MS)
            job = job.model_copy(update={"seq": 0, "due_at": min(due_at, job.deadline)})
        placed.append(job)
    return tuple(placed)


def _from_end(jobs: Sequence[Job]) -> list[tuple[int, Job]]:
    return [(len(jobs) - 1 - number, job) for number, job in enumerate(jobs)]


def _rank(job: Job) -> tuple[int, int, str]:
    return -job.priority, job.created_at, job.job_id


def _full(queued_max: int) -> Exhausted:
    return Exhausted(
        "queue_full",
        f"{queued_max:,} of your jobs are waiting already. Wait for some to end, or cancel some, and ask again.",
        retry_in_s=RETRY_S,
    )
