"""Once a minute every gap is closed, and nothing that is well is touched."""

from __future__ import annotations

from collections.abc import Callable

from chalicelib.contract.job import QUEUED_LOST_MS, Job, Timings
from chalicelib.contract.ports import Claimed
from chalicelib.contract.states import State
from chalicelib.sweep import Sweep
from tests.fakes import MemoryLedger
from tests.jobs import NOW, new_job

LEASE_MS = 60_000


class Post:
    """Note what is sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, int]] = []
        self.hinted: list[tuple[str, int | None]] = []

    def send(self, jobs: list[Job]) -> int:
        self.sent += [(job.job_id, job.seq) for job in jobs]
        return len(jobs)

    def hint(self, job: Job, sweep_minute: int | None = None) -> None:
        self.hinted.append((job.job_id, sweep_minute))


def sweep(ledger: MemoryLedger, post: Post, now: int) -> Callable[[], object]:
    return Sweep(ledger, post, post, lambda: now).sweep


def claimed(ledger: MemoryLedger, job: Job, now: int = NOW) -> Claimed:
    answer = ledger.claim(job.job_id, job.seq, owner="w", token="t", now=now, lease_ms=LEASE_MS)
    assert isinstance(answer, Claimed)
    return answer


def test_a_lost_message_is_sent_again_under_a_new_number() -> None:
    """Queued and silent for five minutes: its message never was, or is gone."""
    ledger, post = MemoryLedger(), Post()
    job = ledger.submit(new_job()).job
    sweep(ledger, post, NOW + QUEUED_LOST_MS - 1)()
    assert post.sent == []
    sweep(ledger, post, NOW + QUEUED_LOST_MS)()
    assert post.sent == [(job.job_id, 2)]
    sweep(ledger, post, NOW + QUEUED_LOST_MS)()
    assert len(post.sent) == 1


def test_a_dead_workers_job_is_offered_again() -> None:
    """The lease has ended and nobody went on."""
    ledger, post = MemoryLedger(), Post()
    job = claimed(ledger, ledger.submit(new_job()).job).job
    sweep(ledger, post, NOW + LEASE_MS + 30_000)()
    assert post.sent == [(job.job_id, 2)]


def test_a_live_job_is_left_alone() -> None:
    """A heartbeat moves the next look."""
    ledger, post = MemoryLedger(), Post()
    job = claimed(ledger, ledger.submit(new_job()).job)
    ledger.heartbeat(job.lease, until=NOW + 10 * LEASE_MS, phase="rendering", progress=None)
    sweep(ledger, post, NOW + 5 * LEASE_MS)()
    assert post.sent == []


def test_a_job_that_killed_its_workers_is_given_up_with_a_sentence() -> None:
    """No attempt left and a dead lease: the row must say why."""
    ledger, post = MemoryLedger(), Post()
    job = claimed(ledger, ledger.submit(new_job(budget_left=1)).job).job
    sweep(ledger, post, NOW + LEASE_MS + 30_001)()
    there = ledger.get(job.job_id)
    assert there is not None and there.state is State.FAILED and there.error is not None
    assert "stopped in the middle" in there.error.text and there.error.hint
    assert post.hinted == [(job.job_id, None)]


def test_a_job_that_nobody_took_within_its_time_is_given_up() -> None:
    """The deadline ends waiting."""
    ledger, post = MemoryLedger(), Post()
    job = ledger.submit(new_job(deadline=NOW + 1_000, due_at=NOW + 1_000)).job
    sweep(ledger, post, NOW + 1_000)()
    there = ledger.get(job.job_id)
    assert there is not None and there.state is State.FAILED and there.error is not None
    assert there.error.code == "expired"


def test_an_end_that_no_row_shows_is_hinted_at_each_time() -> None:
    """With its minute in the name, so that the queue's memory does not swallow it."""
    ledger, post = MemoryLedger(), Post()
    job = claimed(ledger, ledger.submit(new_job()).job)
    ledger.commit(job.lease, now=NOW, outputs=[], timings=Timings())
    later = NOW + 30_000
    sweep(ledger, post, later)()
    sweep(ledger, post, later + 120_000)()
    assert [minute for _, minute in post.hinted] == [later // 60_000, (later + 120_000) // 60_000]


def test_what_is_shown_leaves_the_sweepers_sight() -> None:
    """An ended job without a row has nothing to show."""
    ledger, post = MemoryLedger(), Post()
    job = claimed(ledger, ledger.submit(new_job(target=None)).job)
    ledger.commit(job.lease, now=NOW, outputs=[], timings=Timings())
    sweep(ledger, post, NOW + 60_000)()
    assert list(ledger.due(NOW + 10**9, 10)) == [] and post.hinted == []
