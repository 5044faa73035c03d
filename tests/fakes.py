"""
Stand in for the edges, as real classes with the rules of the real thing.

`MemoryLedger` is the twin of `chalicelib.ledger`: the same suite judges both, so that neither learns the habits of one
engine. It evaluates the guards of `states.TRANSITIONS` in Python, under one lock.
"""

from __future__ import annotations

import bisect
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from uuid import uuid4

from chalicelib.contract.job import SHOWN_BEFORE, Job, JobError, Output, Progress, Timings
from chalicelib.contract.ports import Census, Claimed, Lease, Line, Refused, Spot, Submitted, refusal_of
from chalicelib.contract.states import OPEN, TERMINAL, TRANSITIONS, Guard, State, Transition, Verb
from chalicelib.ledger.item import SENT, place_of

SWEEP_SLACK_MS = 30_000

Asked = dict[str, Any]

HOLDS: dict[Guard, Callable[[Job, Asked], bool]] = {
    Guard.SEQ: lambda job, asked: job.seq == asked["seq"],
    Guard.BUDGET: lambda job, _: job.budget_left > 0,
    Guard.SPENT: lambda job, asked: job.budget_left <= 0 or job.deadline <= asked["now"],
    Guard.IN_TIME: lambda job, asked: job.deadline > asked["now"],
    Guard.CLAIMABLE: lambda job, asked: (
        job.not_before <= asked["now"] if job.state is State.QUEUED else job.lease_until < asked["now"]
    ),
    Guard.UNATTENDED: lambda job, asked: job.state is State.QUEUED or job.lease_until < asked["now"],
    Guard.MINE: lambda job, asked: (job.attempt, job.claim_token) == (asked["attempt"], asked["token"]),
    Guard.SEEN: lambda job, asked: job.attempt == asked["attempt"],
    Guard.VERSION: lambda job, asked: job.version == asked["version"],
    Guard.SHOWN: lambda job, _: job.is_shown,
}


class MemoryLedger:
    """
    Keep jobs in a dictionary, with every rule of the DynamoDB ledger.

    *table*: another one than the product's own shows what a rule is for, by what happens without it.
    """

    def __init__(self, table: Mapping[Verb, Transition] = TRANSITIONS) -> None:
        self._table = table
        self._jobs: dict[str, Job] = {}
        self._dirty: set[str] = set()
        self._gone: set[str] = set()
        self._lines: dict[str, list[tuple[str, str]]] = defaultdict(list)
        """Of each client's open jobs the place and the id, sorted."""
        self.unreadable: set[str] = set()
        """Ids of jobs that are there and cannot be read."""
        self._lock = threading.RLock()

    def get(self, job_id: str) -> Job | None:
        with self._lock:
            return self._jobs.get(job_id)

    def get_many(self, job_ids: Sequence[str]) -> list[Job]:
        with self._lock:
            there = self._jobs.keys() - self.unreadable
            return [self._jobs[job_id] for job_id in dict.fromkeys(job_ids) if job_id in there]

    def submit(self, job: Job) -> Submitted:
        with self._lock:
            there = self._jobs.get(job.job_id)
            if there is not None:
                return Submitted(there, created=there.submit_token == job.submit_token)
            self._keep(job)
            if not job.is_shown:
                self._dirty.add(job.job_id)
            return Submitted(job, created=True)

    def claim(self, job_id: str, seq: int, *, owner: str, token: str, now: int, lease_ms: int) -> Claimed | Refused:
        with self._lock:
            job = self._jobs.get(job_id)
            if job is None or not self._may(Verb.CLAIM, job, {"seq": seq, "now": now}):
                if job is not None and job.state is State.RUNNING and job.claim_token == token:
                    return Claimed(job, Lease(job_id, job.attempt, token))
                return refusal_of(job, seq, now)
            until = now + lease_ms
            claimed = self._move(
                Verb.CLAIM,
                job,
                owner=owner,
                claim_token=token,
                lease_until=until,
                started_at=now,
                due_at=until + SWEEP_SLACK_MS,
                phase="claimed",
                progress=None,
                attempt=job.attempt + 1,
                budget_left=job.budget_left - 1,
            )
            return Claimed(claimed, Lease(job_id, claimed.attempt, token))

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
        sets: Asked = {"lease_until": until, "due_at": until + SWEEP_SLACK_MS, "phase": phase}
        if progress is not None:
            sets["progress"] = progress
        if outputs is not None:
            sets["outputs"] = tuple(outputs)
        return self._mine(Verb.HEARTBEAT, lease, **sets, **_spent(spent_ms))

    def release(self, lease: Lease, *, now: int, given_back: int | None = None) -> bool:
        with self._lock:
            job = self._jobs.get(lease.job_id)
            if job is None:
                return False
            told = {} if given_back is None else {"given_back": given_back}
            return self._mine(
                Verb.RELEASE,
                lease,
                not_before=0,
                enqueued_at=now,
                due_at=now + SWEEP_SLACK_MS,
                phase="queued",
                budget_left=job.budget_left + 1,
                **told,
            )

    def retry(self, lease: Lease, *, now: int, not_before: int, error: JobError, spent_ms: int | None = None) -> bool:
        return self._mine(
            Verb.RETRY,
            lease,
            not_before=not_before,
            enqueued_at=now,
            due_at=not_before + SWEEP_SLACK_MS,
            phase="waiting",
            last_error=error,
            **_spent(spent_ms),
        )

    def commit(
        self, lease: Lease, *, now: int, outputs: Sequence[Output], timings: Timings, spent_ms: int | None = None
    ) -> bool:
        return self._mine(
            Verb.COMMIT,
            lease,
            outputs=tuple(outputs),
            timings=timings,
            committed_attempt=lease.attempt,
            **_ending(now),
            **_spent(spent_ms),
        )

    def fail(self, lease: Lease, *, now: int, error: JobError, spent_ms: int | None = None) -> bool:
        return self._mine(Verb.FAIL, lease, error=error, **_ending(now), **_spent(spent_ms))

    def give_up(self, job: Job, *, now: int, error: JobError) -> bool:
        with self._lock:
            there = self._jobs.get(job.job_id)
            if there is None or not self._may(Verb.GIVE_UP, there, {"attempt": job.attempt, "now": now}):
                return there is not None and there.state is State.FAILED and there.error == error
            self._move(Verb.GIVE_UP, there, error=error, **_ending(now))
            return True

    def cancel(self, job_id: str, *, now: int) -> Job | None:
        with self._lock:
            job = self._jobs.get(job_id)
            if job is None or not self._may(Verb.CANCEL, job, {}):
                return job
            return self._move(Verb.CANCEL, job, lease_until=0, **_ending(now))

    def resend(self, job: Job, *, now: int) -> int | None:
        with self._lock:
            there = self._jobs.get(job.job_id)
            if there is None or not self._may(Verb.RESEND, there, {"seq": job.seq, "now": now}):
                again = there is not None and there.seq == job.seq + 1 and there.state in OPEN
                return there.seq if again and there is not None else None
            due_at = max(now, job.not_before) + 10 * SWEEP_SLACK_MS
            return self._move(Verb.RESEND, there, seq=there.seq + 1, enqueued_at=now, due_at=due_at).seq

    def line(self, client_id: str, limit: int) -> Line:
        with self._lock:
            head = self._lines[client_id][:limit]
        sent = tuple(job_id for place, job_id in head if place == SENT)
        return Line(sent, tuple(job_id for _, job_id in head[len(sent) :]), is_whole=len(head) < limit)

    def open_jobs(self, client_id: str) -> int:
        with self._lock:
            return len(self._lines[client_id])

    def census(self) -> Census:
        with self._lock:
            places = [each for line in self._lines.values() for each in line]
            held = [self._jobs[job_id].created_at for place, job_id in places if place != SENT]
        return Census(tuple(job_id for place, job_id in places if place == SENT), len(held), min(held, default=None))

    def look_later(self, job: Job, *, due_at: int) -> None:
        with self._lock:
            there = self._jobs.get(job.job_id)
            if there is not None and there.version == job.version and there.due_at is not None:
                self._keep(there.model_copy(update={"due_at": due_at}))

    def put_off(self, job_id: str, *, due_at: int) -> None:
        with self._lock:
            there = self._jobs.get(job_id)
            if there is not None and there.due_at is not None:
                self._keep(there.model_copy(update={"due_at": due_at}))

    def mark_synced(self, job: Job, *, look_at: int | None = None, gone: bool = False) -> bool:
        with self._lock:
            there = self._jobs.get(job.job_id)
            if there is None or not self._may(Verb.SYNCED, there, {"version": job.version}):
                return False
            due_at = look_at if there.state in TERMINAL else there.due_at
            self._move(Verb.SYNCED, there, synced_version=job.version, due_at=due_at)
            self._dirty.discard(job.job_id)
            (self._gone.add if gone else self._gone.discard)(job.job_id)
            return True

    def show_again(self, job_id: str, *, now: int) -> Job | None:
        with self._lock:
            job = self._jobs.get(job_id)
            if job is None or job.state not in TERMINAL:
                return None
            if not self._may(Verb.SHOW_AGAIN, job, {}):
                return job
            self._dirty.add(job_id)
            self._gone.discard(job_id)
            return self._move(Verb.SHOW_AGAIN, job, synced_version=SHOWN_BEFORE, due_at=now + SWEEP_SLACK_MS)

    def of_client(self, client_id: str, *, since: int, until: int, limit: int, after: Spot | None = None) -> list[Spot]:
        with self._lock:
            own = [
                job for job in self._jobs.values() if job.client_id == client_id and since <= job.created_at <= until
            ]
            places = sorted(((job.created_at, job.job_id) for job in own), reverse=True)
            if after is not None:
                places = [place for place in places if place < (after.created_at, after.job_id)]
            return [Spot(*place) for place in places[:limit]]

    def gone(self, spreadsheet_id: str) -> list[str]:
        return self._of(self._gone, spreadsheet_id)

    def fresh(self, spreadsheet_id: str) -> list[str]:
        with self._lock:
            waiting = {
                job.job_id
                for job in self._jobs.values()
                if job.state in TERMINAL and job.is_shown and job.due_at is not None and job.job_id not in self._gone
            }
        return self._of(waiting, spreadsheet_id)

    def unshown(self, spreadsheet_id: str) -> list[str]:
        return self._of(self._dirty, spreadsheet_id)

    def _of(self, job_ids: set[str], spreadsheet_id: str) -> list[str]:
        with self._lock:
            return [
                job_id
                for job_id in job_ids
                if (target := self._jobs[job_id].target) is not None and target.spreadsheet_id == spreadsheet_id
            ]

    def due(self, now: int, limit: int) -> Iterable[str]:
        with self._lock:
            waiting = [job for job in self._jobs.values() if job.due_at is not None and job.due_at <= now]
            return [job.job_id for job in sorted(waiting, key=lambda job: job.due_at or 0)[:limit]]

    def _mine(self, verb: Verb, lease: Lease, **sets: Any) -> bool:
        with self._lock:
            job = self._jobs.get(lease.job_id)
            if job is None:
                return False
            if not self._may(verb, job, {"attempt": lease.attempt, "token": lease.token}):
                # The in-doubt rule: what we asked for is there already, under our own token.
                done = self._table[verb].target
                return done is not None and (job.state, job.attempt, job.claim_token) == (
                    done,
                    lease.attempt,
                    lease.token,
                )
            self._move(verb, job, **sets)
            return True

    def _may(self, verb: Verb, job: Job, asked: Asked) -> bool:
        move = self._table[verb]
        return job.state in move.sources and all(HOLDS[guard](job, asked) for guard in move.guards)

    def _move(self, verb: Verb, job: Job, **sets: Any) -> Job:
        move = self._table[verb]
        if move.target is not None:
            sets |= {"state": move.target, "version": job.version + 1}
            if verb is not Verb.COMMIT:
                sets["outputs"] = ()
            self._dirty.add(job.job_id)
            self._gone.discard(job.job_id)
        moved = job.model_copy(update=sets)
        self._keep(moved)
        return moved

    def _keep(self, job: Job) -> None:
        """Keep *job* as it is now, in its client's line or out of it."""
        before, line = self._jobs.get(job.job_id), self._lines[job.client_id]
        old = (place_of(before), job.job_id) if before is not None and before.state in OPEN else None
        new = (place_of(job), job.job_id) if job.state in OPEN else None
        if old != new:
            if old is not None:
                del line[bisect.bisect_left(line, old)]
            if new is not None:
                bisect.insort(line, new)
        self._jobs[job.job_id] = job


def _spent(spent_ms: int | None) -> Asked:
    return {} if spent_ms is None else {"spent_ms": spent_ms}


def _ending(now: int) -> Asked:
    return {"finished_at": now, "due_at": now + SWEEP_SLACK_MS, "phase": "ended"}


class MemorySeats:
    """Keep seats in a dictionary (the twin of `chalicelib.seats`)."""

    def __init__(self) -> None:
        self.trouble: Exception | None = None
        """Raised instead of an answer."""
        self._taken: dict[str, dict[str, int]] = defaultdict(dict)
        self._lock = threading.Lock()

    def take(self, name: str, most: int, *, now: int, until: int) -> str | None:
        if self.trouble is not None:
            raise self.trouble
        with self._lock:
            there = {mine: end for mine, end in self._taken[name].items() if end > now}
            self._taken[name] = there
            if len(there) >= most:
                return None
            mine = f"{until}#{uuid4().hex}"
            there[mine] = until
            return mine

    def leave(self, name: str, mine: str, *, now: int) -> None:
        with self._lock:
            self._taken[name].pop(mine, None)
