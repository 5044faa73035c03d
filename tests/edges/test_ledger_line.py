"""Judge a client's line (the twin in memory and DynamoDB's index, by one suite): who is out, who is next, how many."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from chalicelib.contract.job import Job, JobError, Timings
from chalicelib.contract.ports import Claimed, Ledger
from chalicelib.contract.states import State
from chalicelib.window import Window
from tests.jobs import NOW, new_job

ERROR = JobError(code="x", text="It broke.")


def put(ledger: Ledger, **fields: object) -> Job:
    return ledger.submit(new_job(**fields)).job


def running(ledger: Ledger, **fields: object) -> Claimed:
    job = put(ledger, **fields)
    claimed = ledger.claim(job.job_id, 1, owner="w", token="t", now=NOW, lease_ms=60_000)
    assert isinstance(claimed, Claimed)
    return claimed


def test_the_held_stand_behind_the_sent_by_priority_then_age(ledger: Ledger) -> None:
    """Another client's stand in their own line; a limit cuts it off at its end."""
    sent = {put(ledger).job_id for _ in range(3)}
    old = put(ledger, seq=0, created_at=NOW - 5)
    low = put(ledger, seq=0, created_at=NOW - 9, priority=-100)
    young = put(ledger, seq=0)
    urgent = put(ledger, seq=0, priority=100, created_at=NOW + 5)
    put(ledger, seq=0, client_id="another")
    line = ledger.line("client-1", 100)
    assert set(line.sent) == sent and line.is_whole
    assert list(line.held) == [urgent.job_id, old.job_id, young.job_id, low.job_id]
    head = ledger.line("client-1", 4)
    assert (len(head.sent), head.held, head.is_whole) == (3, (urgent.job_id,), False)
    assert (ledger.open_jobs("client-1"), ledger.open_jobs("another"), ledger.open_jobs("nobody")) == (7, 1, 0)


def test_an_open_job_stays_in_line_whatever_becomes_of_it(ledger: Ledger) -> None:
    """Running, handed back or waiting to be tried again: its message is out."""
    given_back, again = running(ledger), running(ledger)
    assert ledger.release(given_back.lease, now=NOW)
    assert ledger.retry(again.lease, now=NOW, not_before=NOW + 60_000, error=ERROR)
    third = running(ledger)
    assert set(ledger.line("client-1", 10).sent) == {each.job.job_id for each in (given_back, again, third)}


def test_a_census_counts_the_open_jobs_of_everybody(ledger: Ledger) -> None:
    """Those with the workers by id, those held back by number, and how old the oldest of these is."""
    sent = {put(ledger).job_id, put(ledger, client_id="another").job_id, running(ledger).job.job_id}
    for created_at, client_id in ((NOW - 7_000, "another"), (NOW - 9_000, "client-1"), (NOW - 1, "client-1")):
        put(ledger, seq=0, created_at=created_at, client_id=client_id)
    ended = running(ledger)
    assert ledger.commit(ended.lease, now=NOW, outputs=[], timings=Timings())
    census = ledger.census()
    assert (set(census.sent), census.held, census.oldest_held_at) == (sent, 3, NOW - 9_000)


@pytest.mark.parametrize("state", [State.SUCCEEDED, State.FAILED, State.CANCELED])
def test_an_ended_job_leaves_the_line(ledger: Ledger, state: State) -> None:
    """However it ended; it takes no place from then on."""
    claimed = running(ledger)
    match state:
        case State.SUCCEEDED:
            assert ledger.commit(claimed.lease, now=NOW, outputs=[], timings=Timings())
        case State.FAILED:
            assert ledger.fail(claimed.lease, now=NOW, error=ERROR)
        case _:
            assert ledger.cancel(claimed.job.job_id, now=NOW)
    held = put(ledger, seq=0)
    assert ledger.cancel(held.job_id, now=NOW)
    late = put(ledger, seq=0, deadline=NOW)
    assert ledger.give_up(late, now=NOW, error=ERROR)
    assert ledger.line("client-1", 10).sent == ledger.line("client-1", 10).held == ()
    assert ledger.open_jobs("client-1") == 0


def test_a_held_job_has_no_message_and_cannot_be_claimed(ledger: Ledger) -> None:
    """Until it is let go: then its first message has the number 1, and the job counts as sent."""
    job = put(ledger, seq=0)
    assert not isinstance(ledger.claim(job.job_id, 1, owner="w", token="t", now=NOW, lease_ms=1), Claimed)
    assert ledger.resend(job, now=NOW) == 1
    assert ledger.line("client-1", 10).sent == (job.job_id,)
    there = ledger.get(job.job_id)
    assert there is not None and (there.seq, there.is_held, there.version) == (1, False, 1)
    assert isinstance(ledger.claim(job.job_id, 1, owner="w", token="t", now=NOW, lease_ms=1), Claimed)


def test_a_held_job_that_was_cancelled_is_not_let_go(ledger: Ledger) -> None:
    """Whoever read the line a moment before finds it ended."""
    job = put(ledger, seq=0)
    ledger.cancel(job.job_id, now=NOW)
    assert ledger.resend(job, now=NOW) is None


def test_many_who_let_go_at_once_let_go_no_more_than_there_is_room_for(ledger: Ledger) -> None:
    """They read the same line and mean the same jobs: each gets number 1, and the window is full, not overfull."""
    for _ in range(20):
        put(ledger, seq=0)

    class Nowhere:
        def send(self, jobs: object) -> int:
            return 0

    def refill(_: int) -> int:
        return Window(ledger, Nowhere(), lambda: 1, lambda: NOW).refill("client-1")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(refill, range(8)))
    line = ledger.line("client-1", 100)
    assert len(line.sent) == 4
    assert {job.seq for job in ledger.get_many(line.sent)} == {1}
