"""
Make any moves in any order on a ledger, late, repeated and by whoever has no business any more, and judge each step.

Several ledgers are asked the same side by side, and every answer of theirs must be equal: so the twin in memory, on
which the exhaustive model stands, is shown to be what runs on DynamoDB.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, precondition, rule

from chalicelib.contract.job import BUDGET, Job, JobError, Progress, Timings, job_id_of
from chalicelib.contract.ports import Claimed, Lease, Ledger
from chalicelib.contract.states import OPEN, TERMINAL, State
from tests.jobs import NOW, new_job, output, target
from tests.laws import breaches, is_mine

LEASE_MS = 60_000
JOBS_MOST = 3
ERRORS = (JobError(code="a", text="It broke."), JobError(code="b", text="It broke again."))
EVER = 2**53
PAUSES_MS = (1, 999, LEASE_MS, LEASE_MS + 1, 6 * 60_000, 24 * 3_600_000)

Message = tuple[str, int]
Asks = Callable[[Ledger], Any]


class Histories(RuleBasedStateMachine):
    """Ask *ledgers* the same. Everybody keeps what they were ever told: leases, messages, jobs as they once were."""

    leases = Bundle("leases")
    messages = Bundle("messages")
    seen = Bundle("seen")
    asked = Bundle("asked")

    def __init__(self, ledgers: Sequence[Ledger], client_id: str = "client-1") -> None:
        super().__init__()
        self.ledgers = ledgers
        self.client_id = client_id
        self.sheets = [f"{client_id}-sheet-{number}" for number in range(2)]
        self.now = NOW
        self.jobs: dict[str, Job] = {}
        """Each job as it is known to be."""
        self.released: Counter[str] = Counter()
        self.budgets: dict[str, int] = {}
        self.gone: set[str] = set()
        """Ids of those whose row was not found."""
        self.tokens = 0

    # -- what is asked -----------------------------------------------------------------------------------------------

    @initialize(target=messages)
    def begin(self) -> Message:
        return self._submitted(new_job(**self._fields(0), target=target(self.sheets[0])))

    @precondition(lambda self: len(self.jobs) < JOBS_MOST)
    @rule(
        target=messages,
        held=st.booleans(),
        shown=st.booleans(),
        priority=st.sampled_from([0, 0, 100, -100]),
        budget=st.sampled_from([BUDGET, BUDGET, 1]),
        sheet=st.sampled_from([None, 0, 1]),
    )
    def submit(self, held: bool, shown: bool, priority: int, budget: int, sheet: int | None) -> Message:
        row = None if sheet is None else target(self.sheets[sheet])
        made = {"seq": 0 if held else 1, "priority": priority, "budget_left": budget, "target": row}
        return self._submitted(new_job(**self._fields(len(self.jobs)), **made, synced_version=int(shown)))

    @rule(job=seen, is_own=st.booleans())
    def submit_again(self, job: Job, is_own: bool) -> None:
        """The same put once more, or another request under the same key."""
        ids = {"job_id": job.job_id, "job_key": job.job_key}
        asked = job if is_own else new_job(**{**self._fields(9), **ids})
        answer = self._ask(lambda ledger: ledger.submit(asked), job.job_id)
        assert answer.job == self.jobs[job.job_id] and answer.created == is_own

    @rule(target=leases, message=messages, lease_ms=st.sampled_from([LEASE_MS, 5]))
    def claim(self, message: Message, lease_ms: int) -> Lease:
        """A message may be old, may come twice, and two workers may have it."""
        self.tokens += 1
        token, now = f"token-{self.tokens}", self.now
        job_id, seq = message

        def ask(ledger: Ledger) -> Any:
            return ledger.claim(job_id, seq, owner="w", token=token, now=now, lease_ms=lease_ms)

        return self._claimed(job_id, ask, token)

    @rule(lease=leases, seq=st.integers(1, 3))
    def claim_again(self, lease: Lease, seq: int) -> None:
        """The answer to a claim was lost for so long that it is repeated only now."""
        now = self.now

        def ask(ledger: Ledger) -> Any:
            return ledger.claim(lease.job_id, seq, owner="w", token=lease.token, now=now, lease_ms=LEASE_MS)

        self._claimed(lease.job_id, ask, lease.token)

    @rule(lease=leases, fraction=st.sampled_from([None, 0.25]), files=st.sampled_from([None, 0, 1]))
    def heartbeat(self, lease: Lease, fraction: float | None, files: int | None) -> None:
        progress = None if fraction is None else Progress(fraction=fraction)
        outputs = None if files is None else [output(f"beat-{lease.attempt}")] * files
        until = self.now + LEASE_MS
        kept = self._ask(
            lambda ledger: ledger.heartbeat(lease, until=until, phase="runs", progress=progress, outputs=outputs),
            lease.job_id,
            lease,
        )
        assert kept == is_mine(self.jobs[lease.job_id], lease)

    @rule(target=asked, lease=leases)
    def release(self, lease: Lease) -> tuple[str, Lease | None, Asks]:
        now, before = self.now, self.jobs[lease.job_id]
        asks = self._worker_asks(lease, lambda ledger: ledger.release(lease, now=now), State.QUEUED)
        self.released[lease.job_id] += self.jobs[lease.job_id].version > before.version
        return asks

    @rule(target=asked, lease=leases, wait_ms=st.sampled_from([0, 5_000]), error=st.sampled_from(ERRORS))
    def retry(self, lease: Lease, wait_ms: int, error: JobError) -> tuple[str, Lease | None, Asks]:
        now = self.now
        return self._worker_asks(
            lease, lambda ledger: ledger.retry(lease, now=now, not_before=now + wait_ms, error=error), State.QUEUED
        )

    @rule(target=asked, lease=leases)
    def commit(self, lease: Lease) -> tuple[str, Lease | None, Asks]:
        now, made = self.now, [output(f"made-{lease.attempt}-{lease.token}")]
        asks = self._worker_asks(
            lease,
            lambda ledger: ledger.commit(lease, now=now, outputs=made, timings=Timings(execution_ms=1)),
            State.SUCCEEDED,
        )
        job = self.jobs[lease.job_id]
        assert (
            job.state is not State.SUCCEEDED or job.outputs[0].key == f"made-{job.committed_attempt}-{job.claim_token}"
        )
        return asks

    @rule(target=asked, lease=leases, error=st.sampled_from(ERRORS))
    def fail(self, lease: Lease, error: JobError) -> tuple[str, Lease | None, Asks]:
        now = self.now
        return self._worker_asks(lease, lambda ledger: ledger.fail(lease, now=now, error=error), State.FAILED)

    @rule(target=asked, job=seen, error=st.sampled_from(ERRORS))
    def give_up(self, job: Job, error: JobError) -> tuple[str, Lease | None, Asks]:
        """Whoever gives up goes by the job as it was read, which may be long ago."""
        now = self.now

        def ask(ledger: Ledger) -> bool:
            return ledger.give_up(job, now=now, error=error)

        if self._ask(ask, job.job_id):
            assert self.jobs[job.job_id].state is State.FAILED
        return job.job_id, None, ask

    @rule(target=asked, job=seen)
    def cancel(self, job: Job) -> tuple[str, Lease | None, Asks]:
        now, before = self.now, self.jobs[job.job_id]

        def ask(ledger: Ledger) -> Job | None:
            return ledger.cancel(job.job_id, now=now)

        answer = self._ask(ask, job.job_id)
        assert answer == self.jobs[job.job_id]
        assert answer.state is (before.state if before.state in TERMINAL else State.CANCELED)
        return job.job_id, None, ask

    @rule(target=messages, job=seen)
    def resend(self, job: Job) -> Message:
        """The sweeper, or the window: by the job as it was read."""
        now = self.now
        seq = self._ask(lambda ledger: ledger.resend(job, now=now), job.job_id)
        assert seq is None or seq == self.jobs[job.job_id].seq
        return job.job_id, seq or max(1, job.seq)

    @rule(target=asked, job=seen, look_ms=st.sampled_from([None, 600_000]), is_gone=st.booleans())
    def mark_synced(self, job: Job, look_ms: int | None, is_gone: bool) -> tuple[str, Lease | None, Asks]:
        """Completion: the row shows the job as it was read, or there is none."""
        look_at = None if look_ms is None else self.now + look_ms
        is_gone = is_gone and job.state in TERMINAL

        def ask(ledger: Ledger) -> bool:
            return ledger.mark_synced(job, look_at=look_at, gone=is_gone)

        if self._ask(ask, job.job_id):
            assert self.jobs[job.job_id].is_shown and self.jobs[job.job_id].version == job.version
            if job.target is not None:
                (self.gone.add if is_gone else self.gone.discard)(job.job_id)
        return job.job_id, None, lambda _: None

    @rule(job=seen)
    def show_again(self, job: Job) -> None:
        now = self.now
        answer = self._ask(lambda ledger: ledger.show_again(job.job_id, now=now), job.job_id)
        there = self.jobs[job.job_id]
        assert (answer is None) == (there.state in OPEN) and answer in (None, there)
        if answer is not None:
            assert not there.is_shown
            self.gone.discard(job.job_id)

    @rule(job=seen, wait_ms=st.sampled_from(PAUSES_MS))
    def look_later(self, job: Job, wait_ms: int) -> None:
        due_at = self.now + wait_ms
        self._ask(lambda ledger: ledger.look_later(job, due_at=due_at), job.job_id)

    @rule(asks=asked)
    def ask_again(self, asks: tuple[str, Lease | None, Asks]) -> None:
        """An answer got lost: the very same is asked once more, at any later time, and nothing happens twice."""
        job_id, lease, ask = asks
        before = self.jobs[job_id]
        self._ask(ask, job_id, lease)
        # A release or a retry may be what this very lease is still good for; all else is over.
        assert self.jobs[job_id] == before or lease is None or is_mine(before, lease)
        self.released[job_id] += self.jobs[job_id].budget_left > before.budget_left

    @rule(target=seen, message=messages)
    def look(self, message: Message) -> Job:
        """Read a job, to act on it later."""
        return self.jobs[message[0]]

    @rule(pause_ms=st.sampled_from(PAUSES_MS))
    def wait(self, pause_ms: int) -> None:
        self.now += pause_ms

    # -- what must hold ----------------------------------------------------------------------------------------------

    @invariant()
    def the_budget_is_the_bound(self) -> None:
        """Every attempt was paid for, and only what was handed back was paid back."""
        for job in self.jobs.values():
            assert job.budget_left == self.budgets[job.job_id] - job.attempt + self.released[job.job_id]

    @invariant()
    def the_indexes_tell_what_the_items_are(self) -> None:
        """Of the first ledger after every step; of the others, which answer over a network, after the last one."""
        self._judge_indexes(self.ledgers[0])

    def teardown(self) -> None:
        for ledger in self.ledgers[1:]:
            self._judge_indexes(ledger)

    def _judge_indexes(self, ledger: Ledger) -> None:
        jobs = list(self.jobs.values())
        waiting = [job for job in jobs if job.state in OPEN]
        held = sorted(
            (job for job in waiting if job.is_held), key=lambda job: (-job.priority, job.created_at, job.job_id)
        )
        line = ledger.line(self.client_id, 99)
        assert sorted(line.sent) == sorted(job.job_id for job in waiting if not job.is_held)
        assert list(line.held) == [job.job_id for job in held] and line.is_whole
        assert ledger.open_jobs(self.client_id) == len(waiting)
        ours = {job.job_id for job in jobs}
        assert set(ledger.due(EVER, 999)) & ours == {job.job_id for job in jobs if job.due_at is not None}
        now_due = {job.job_id for job in jobs if job.due_at is not None and job.due_at <= self.now}
        assert set(ledger.due(self.now, 999)) & ours == now_due
        for sheet in self.sheets:
            of_sheet = [job for job in jobs if job.target is not None and job.target.spreadsheet_id == sheet]
            assert set(ledger.unshown(sheet)) == {job.job_id for job in of_sheet if not job.is_shown}
            assert set(ledger.gone(sheet)) == {job.job_id for job in of_sheet if job.job_id in self.gone}
            looked_for = {job.job_id for job in of_sheet if job.state in TERMINAL and job.is_shown and job.due_at}
            assert set(ledger.fresh(sheet)) == looked_for - self.gone
        spots = ledger.of_client(self.client_id, since=0, until=EVER, limit=99)
        places = sorted(((job.created_at, job.job_id) for job in jobs), reverse=True)
        assert [spot.created_at for spot in spots] == [made_at for made_at, _ in places]
        assert {spot.job_id for spot in spots} == ours

    # -- how it is asked ---------------------------------------------------------------------------------------------

    def _fields(self, number: int) -> dict[str, Any]:
        key = f"key-{number}"
        # Ids and tokens that do not differ from run to run: a failing history can be replayed.
        return {
            "client_id": self.client_id,
            "job_key": key,
            "job_id": job_id_of(self.client_id, key),
            "submit_token": UUID(int=number).hex,
            "now": self.now + number,
        }

    def _submitted(self, job: Job) -> Message:
        for ledger in self.ledgers:
            answer = ledger.submit(job)
            assert answer.created and answer.job == job == ledger.get(job.job_id)
        self.jobs[job.job_id] = job
        self.budgets[job.job_id] = job.budget_left
        return job.job_id, 1

    def _claimed(self, job_id: str, ask: Asks, token: str) -> Lease:
        before = self.jobs[job_id]
        answer = self._ask(ask, job_id)
        after = self.jobs[job_id]
        if not isinstance(answer, Claimed):
            assert after == before and answer.job == before
            return Lease(job_id, max(1, before.attempt), token)
        assert answer.job == after and is_mine(after, answer.lease) and answer.lease.token == token
        # A live lease is never taken from its holder.
        assert after == before or before.state is State.QUEUED or before.lease_until < self.now
        return answer.lease

    def _worker_asks(self, lease: Lease, ask: Asks, done: State) -> tuple[str, Lease | None, Asks]:
        if self._ask(ask, lease.job_id, lease):
            job = self.jobs[lease.job_id]
            assert (job.state, job.attempt, job.claim_token) == (done, lease.attempt, lease.token)
        return lease.job_id, lease, ask

    def _ask(self, ask: Asks, job_id: str, lease: Lease | None = None) -> Any:
        """Ask every ledger; their answers and the job after it are equal, and the step is a lawful one."""
        answers = [ask(ledger) for ledger in self.ledgers]
        assert all(answer == answers[0] for answer in answers), answers
        stand = [ledger.get(job_id) for ledger in self.ledgers]
        after = stand[0]
        assert after is not None and all(each == after for each in stand), stand
        assert breaches(self.jobs[job_id], after, lease) == []
        if after.version > self.jobs[job_id].version:
            self.gone.discard(job_id)
        self.jobs[job_id] = after
        return answers[0]
