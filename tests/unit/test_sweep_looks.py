"""What the sweeper does about one job, when it looks at it again, and what it tells of a round."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

import pytest

from chalicelib.contract.counts import Metric
from chalicelib.contract.errors import Unavailable
from chalicelib.contract.job import QUEUED_LOST_MS, Job, JobError, Timings
from chalicelib.contract.ports import Claimed
from chalicelib.sweep import (
    AFTER_LEASE_MS,
    AT_ONCE,
    CHECK_UNTIL_MS,
    LONGEST_WAIT_MS,
    REHINT_MS,
    TOO_LATE,
    UNREADABLE_MS,
    Sweep,
)
from tests.fakes import MemoryLedger
from tests.jobs import NOW, new_job
from tests.sheet_desk import Abacus
from tests.sheet_fakes import MemoryRegistry, Post

LEASE_MS = 60_000


class Door:
    """Be a window that only notes what it is asked."""

    def __init__(self, *troubles: Exception) -> None:
        self.troubles = list(troubles)
        self.refilled: list[tuple[str, set[str]]] = []
        self.held: list[tuple[set[str], int]] = []

    def refill(self, client_id: str, ended: Collection[str] = ()) -> int:
        if self.troubles:
            raise self.troubles.pop(0)
        self.refilled.append((client_id, set(ended)))
        return 2

    def look_again(self, held: Sequence[Job], now: int) -> None:
        self.held.append(({job.job_id for job in held}, now))


class Watch:
    """Hold what a sweeper is handed, and make rounds."""

    def __init__(self, *troubles: Exception, ledger: MemoryLedger | None = None) -> None:
        self.ledger, self.post, self.door, self.counts = ledger or MemoryLedger(), Post(), Door(*troubles), Abacus()

    def round(self, now: int) -> Counter[str]:
        return Sweep(self.ledger, self.post, self.post, MemoryRegistry(), lambda: now, self.door, self.counts).sweep()

    def submitted(self, **fields: object) -> Job:
        return self.ledger.submit(new_job(**fields)).job

    def running(self, **fields: object) -> Claimed:
        job = self.submitted(**fields)
        got = self.ledger.claim(job.job_id, job.seq, owner="w", token="t", now=NOW, lease_ms=LEASE_MS)
        assert isinstance(got, Claimed)
        return got

    def done(self, **fields: object) -> Job:
        lease = self.running(**fields).lease
        assert self.ledger.commit(lease, now=NOW, outputs=[], timings=Timings())
        return self.now(lease.job_id)

    def now(self, job_id: str) -> Job:
        job = self.ledger.get(job_id)
        assert job is not None
        return job

    def due(self, job: Job, now: int = NOW) -> None:
        """Have *job* looked at in the round of *now*."""
        self.ledger.look_later(self.now(job.job_id), due_at=now)


@pytest.mark.parametrize(("seq", "wait_ms"), [(1, 1), (2, 2), (3, 4), (4, 8), (5, 12), (60, 12)])
def test_each_message_that_was_lost_doubles_the_wait_up_to_an_hour(seq: int, wait_ms: int) -> None:
    """Else a long queue is filled with repeats of itself. In units of five minutes."""
    assert 12 * QUEUED_LOST_MS == LONGEST_WAIT_MS
    watch, lost_at = Watch(), NOW + wait_ms * QUEUED_LOST_MS
    job = watch.submitted(seq=seq, due_at=NOW)
    assert watch.round(lost_at - 1) == Counter(waits=1) and watch.now(job.job_id).due_at == lost_at
    assert watch.round(lost_at) == Counter({"re-sent": 1}) and watch.post.sent == [(job.job_id, seq + 1)]
    assert watch.counts.noted == [(Metric.SWEEPS, 1), (Metric.SWEEPS, 1), (Metric.JOBS_RESENT, 1)]


def test_the_wait_of_a_job_that_is_tried_again_begins_when_it_may_be_claimed() -> None:
    """Its message sleeps until then: it is not lost."""
    watch = Watch()
    job = watch.submitted(not_before=NOW + 600_000, due_at=NOW)
    watch.round(NOW + QUEUED_LOST_MS)
    assert watch.post.sent == [] and watch.now(job.job_id).due_at == NOW + 600_000 + QUEUED_LOST_MS


def test_a_job_that_moved_meanwhile_is_not_sent_again() -> None:
    """Somebody claimed it between the look and the write."""

    class Quick(MemoryLedger):
        def resend(self, job: Job, *, now: int) -> int | None:
            assert isinstance(self.claim(job.job_id, 1, owner="w", token="t", now=now, lease_ms=1), Claimed)
            return super().resend(job, now=now)

    watch = Watch(ledger=Quick())
    watch.submitted()
    assert watch.round(NOW + QUEUED_LOST_MS) == Counter(moved=1) and watch.post.sent == []


def test_a_job_that_moved_meanwhile_is_not_given_up() -> None:
    """A worker's word came between the look and the write: nobody is told of an end, and none is counted."""

    class Quick(MemoryLedger):
        def give_up(self, job: Job, *, now: int, error: JobError) -> bool:
            self.cancel(job.job_id, now=now)
            return super().give_up(job, now=now, error=error)

    watch = Watch(ledger=Quick())
    watch.submitted(deadline=NOW, due_at=NOW)
    assert watch.round(NOW) == Counter(moved=1)
    assert (watch.post.hinted, watch.door.refilled, watch.counts.noted) == ([], [], [(Metric.SWEEPS, 1)])


def test_a_job_whose_lease_ends_now_is_still_its_workers() -> None:
    """The next look is some time after the lease; nothing is said of a row that shows it."""
    watch = Watch()
    claimed = watch.running()
    assert watch.ledger.mark_synced(claimed.job)
    watch.due(claimed.job)
    assert watch.round(NOW + LEASE_MS) == Counter(waits=1)
    assert watch.now(claimed.job.job_id).due_at == NOW + LEASE_MS + AFTER_LEASE_MS
    assert (watch.post.sent, watch.post.checked) == ([], [])


def test_a_running_job_whose_row_lags_is_asked_for() -> None:
    """The row says that it waits while it renders."""
    watch = Watch()
    claimed = watch.running()
    watch.due(claimed.job)
    assert watch.round(NOW) == Counter(waits=1) and watch.post.checked == [[claimed.job.job_id]]


def test_a_dead_workers_job_with_one_attempt_left_has_it() -> None:
    """Given up is who has none."""
    watch = Watch()
    claimed = watch.running(budget_left=2)
    assert watch.round(NOW + LEASE_MS + AFTER_LEASE_MS) == Counter({"re-sent": 1})
    assert watch.now(claimed.job.job_id).budget_left == 1


def test_a_job_with_one_attempt_left_that_nobody_took_in_time_came_too_late() -> None:
    """Its workers are not blamed: the sentence is the deadline's."""
    watch = Watch()
    job = watch.submitted(budget_left=1, deadline=NOW, due_at=NOW)
    assert watch.round(NOW) == Counter({"gave up": 1, "let go": 2})
    assert watch.now(job.job_id).error == TOO_LATE
    assert watch.counts.noted == [(Metric.SWEEPS, 1), (Metric.JOBS_GAVE_UP, 1)]


def test_an_end_lets_the_next_of_its_client_go() -> None:
    """The window is told who ended, for the index may not know; so it is with one that is given up."""
    watch = Watch()
    ended, late = watch.done(), watch.submitted(client_id="other", deadline=NOW, due_at=NOW)
    watch.due(ended)
    assert watch.round(NOW) == Counter({"hinted": 1, "gave up": 1, "let go": 4})
    assert watch.door.refilled == [("client-1", {ended.job_id}), ("other", {late.job_id})]


def test_a_held_job_that_was_cancelled_leaves_no_place() -> None:
    """It had none: nothing may go in its stead."""
    watch = Watch()
    job = watch.submitted(seq=0)
    watch.ledger.cancel(job.job_id, now=NOW)
    watch.due(job)
    assert watch.round(NOW) == Counter(hinted=1) and watch.door.refilled == []


def test_what_is_still_held_after_the_window_was_filled_is_looked_at_again() -> None:
    """What went meanwhile, or was cancelled, is not."""
    watch = Watch()
    held, went, canceled = [watch.submitted(seq=seq, due_at=NOW) for seq in (0, 0, 0)]

    def refill(client_id: str, ended: Collection[str] = ()) -> int:
        assert watch.ledger.resend(went, now=NOW) == 1
        watch.ledger.cancel(canceled.job_id, now=NOW)
        return 1

    watch.door.refill = refill  # type: ignore[method-assign]
    assert watch.round(NOW) == Counter({"held": 3, "let go": 1})
    assert watch.door.held == [({held.job_id}, NOW)]


def test_where_all_went_nobody_is_looked_at_again() -> None:
    """The window needs one that is last."""
    watch = Watch()
    job = watch.submitted(seq=0, due_at=NOW)
    watch.door.refill = lambda *_: watch.ledger.resend(job, now=NOW) or 0  # type: ignore[method-assign]
    assert watch.round(NOW) == Counter({"held": 1, "let go": 1}) and watch.door.held == []


def test_one_clients_window_out_of_reach_stops_no_other() -> None:
    """The next round tries it again."""
    watch = Watch(Unavailable("busy"))
    for client in ("a", "b"):
        watch.submitted(client_id=client, seq=0, due_at=NOW)
    assert watch.round(NOW) == Counter({"held": 2, "let go": 2})
    assert [client for client, _ in watch.door.refilled] == ["b"]


def test_one_jobs_trouble_stops_no_other() -> None:
    """Its write is refused for now; the others are looked at, and the round tells how many it could not help."""

    class Busy(MemoryLedger):
        def resend(self, job: Job, *, now: int) -> int | None:
            if job.job_id in bad:
                raise Unavailable("The job table is busy.")
            return super().resend(job, now=now)

    watch = Watch(ledger=Busy())
    bad = [watch.submitted().job_id for _ in range(3)]
    good = {(watch.submitted().job_id, 2) for _ in range(2)}
    assert watch.round(NOW + QUEUED_LOST_MS) == Counter({"unavailable": 3, "re-sent": 2})
    assert set(watch.post.sent) == good and watch.counts.noted == [(Metric.SWEEPS, 1), (Metric.JOBS_RESENT, 2)]


def test_an_end_that_nobody_told_is_looked_at_again_in_two_minutes() -> None:
    """And one that its row shows as well, while it may still be undone."""
    for shown, word in ((False, "hinted"), (True, "checked")):
        watch = Watch()
        job = watch.done()
        if shown:
            assert watch.ledger.mark_synced(job, look_at=NOW)
        watch.due(job)
        assert watch.round(NOW + 7) == Counter({word: 1, "let go": 2})
        assert watch.now(job.job_id).due_at == NOW + 7 + REHINT_MS and watch.post.checked == [[job.job_id]]
        assert watch.post.checked_in == [NOW // 60_000], "who hears of it twice in a minute looks once"


@pytest.mark.parametrize(("after_ms", "word"), [(CHECK_UNTIL_MS, "checked"), (CHECK_UNTIL_MS + 1, "shown")])
def test_an_hour_after_its_end_a_row_is_nobodys_business_any_more(after_ms: int, word: str) -> None:
    """Its person may write there what they like."""
    watch = Watch()
    job = watch.done()
    assert watch.ledger.mark_synced(job, look_at=NOW)
    assert watch.round(NOW + after_ms) == Counter({word: 1, "let go": 2})
    assert (watch.now(job.job_id).due_at is None) is (word == "shown")


def test_a_shown_job_without_a_row_is_looked_at_no_more() -> None:
    """There is nothing that anybody could undo."""
    watch = Watch()
    job = watch.done(target=None)
    assert watch.ledger.mark_synced(job, look_at=NOW)
    assert watch.round(NOW) == Counter({"shown": 1, "let go": 2})
    assert watch.now(job.job_id).due_at is None and watch.post.checked == []


def test_a_round_tells_what_could_not_be_read() -> None:
    """How many, also where not all of them could be put off; those that could are seen again in an hour."""

    class Stern(MemoryLedger):
        def put_off(self, job_id: str, *, due_at: int) -> None:
            if job_id == first.job_id:
                raise Unavailable("busy")
            super().put_off(job_id, due_at=due_at)

    watch = Watch(ledger=Stern())
    first, second = watch.submitted(), watch.submitted()
    watch.ledger.unreadable = {first.job_id, second.job_id}
    now = NOW + QUEUED_LOST_MS
    assert watch.round(now) == Counter(unreadable=2)
    assert watch.now(second.job_id).due_at == now + UNREADABLE_MS
    assert watch.now(first.job_id).due_at == now


def test_a_round_looks_at_so_many_jobs_and_no_more() -> None:
    """A minute has to suffice; the next one goes on."""
    asked: list[tuple[int, int]] = []

    class Asked(MemoryLedger):
        def due(self, now: int, limit: int) -> list[str]:
            asked.append((now, limit))
            return list(super().due(now, limit))

    Watch(ledger=Asked()).round(NOW)
    assert asked == [(NOW, AT_ONCE)]
