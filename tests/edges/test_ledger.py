"""
Judge a ledger: the twin in memory and DynamoDB's protocol, by one suite.

Every move of the state table is tried from every state, and every race that the design names has a test.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest

from chalicelib.contract.job import BUDGET, Progress, Timings
from chalicelib.contract.ports import Claimed, Lease, Ledger, Refusal, Refused, Spot
from chalicelib.contract.states import State
from tests.jobs import NOW, new_job, output
from tests.ledger_moves import ERROR, LEASE_MS, claim, ended, queued, running, stored


def test_a_submitted_job_reads_back_exactly(ledger: Ledger) -> None:
    """What is put is what is read: 64-bit seeds, fractions, emoji and nested values included."""
    job = new_job(inputs={"prompt": "ein Fuchs 🦊 \n=IMPORTXML(1)", "seed": 2**64 - 1, "cfg": 7.5, "none": None})
    answer = ledger.submit(job)
    assert answer.created
    assert ledger.get(job.job_id) == job


def test_a_replayed_submit_answers_the_job_that_is_there(ledger: Ledger) -> None:
    """The second put of the same id makes nothing and answers the first job as it stands."""
    job = queued(ledger)
    running(ledger, job)
    again = ledger.submit(new_job(job_key=job.job_key))
    assert not again.created
    assert again.job.state is State.RUNNING
    assert again.job.submit_token == job.submit_token


def test_a_submit_whose_answer_was_lost_counts_as_made(ledger: Ledger) -> None:
    """In-doubt rule: the repeat of our own put finds our own token and says created."""
    job = new_job()
    ledger.submit(job)
    assert ledger.submit(job).created


def test_fifty_submits_at_once_make_one_job(ledger: Ledger) -> None:
    """Exactly one of 50 concurrent submits of one key is told that it made the job."""
    key = str(uuid4())
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: ledger.submit(new_job(job_key=key)), range(50)))
    assert sum(answer.created for answer in answers) == 1
    assert len({answer.job.submit_token for answer in answers}) == 1


def test_a_claim_starts_an_attempt(ledger: Ledger) -> None:
    """A claim counts the attempt up and the budget down, and sets token, owner, lease and start."""
    job = queued(ledger)
    claimed = running(ledger, job)
    assert claimed.lease == Lease(job.job_id, 1, "t1")
    now = stored(ledger, job.job_id)
    assert now == claimed.job
    assert (now.state, now.attempt, now.budget_left, now.version) == (State.RUNNING, 1, BUDGET - 1, 2)
    assert (now.owner, now.claim_token, now.lease_until, now.started_at) == ("worker-1", "t1", NOW + LEASE_MS, NOW)


def test_one_of_fifty_claimers_wins(ledger: Ledger) -> None:
    """Of 50 workers with the same message one gets the job."""
    job = queued(ledger)
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda n: claim(ledger, job, token=f"t{n}"), range(50)))
    assert sum(isinstance(answer, Claimed) for answer in answers) == 1
    assert {answer.why for answer in answers if isinstance(answer, Refused)} == {Refusal.HELD}


def test_a_claim_whose_answer_was_lost_counts_as_held(ledger: Ledger) -> None:
    """In-doubt rule: a repeated claim finds its own token and gets the same attempt, not a refusal."""
    claimed = running(ledger)
    again = claim(ledger, claimed.job, token="t1")
    assert isinstance(again, Claimed) and again.lease == claimed.lease
    assert stored(ledger, claimed.job.job_id).attempt == 1


def test_an_end_whose_answer_was_lost_counts_as_written(ledger: Ledger) -> None:
    """In-doubt rule: repeated commits, failures, releases and retries of our own say yes and change nothing."""
    committed = running(ledger)
    for _ in range(2):
        assert ledger.commit(committed.lease, now=NOW, outputs=[output()], timings=Timings())
    failed = running(ledger)
    for _ in range(2):
        assert ledger.fail(failed.lease, now=NOW, error=ERROR)
    released = running(ledger)
    for _ in range(2):
        assert ledger.release(released.lease, now=NOW)
    assert stored(ledger, released.job.job_id).budget_left == BUDGET
    assert stored(ledger, committed.job.job_id).version == 3


def test_an_old_message_is_stale(ledger: Ledger) -> None:
    """After a re-send only the newest message can claim."""
    job = queued(ledger)
    assert ledger.resend(job, now=NOW) == 2
    refused = claim(ledger, job, seq=1)
    assert isinstance(refused, Refused) and refused.why is Refusal.STALE
    assert isinstance(claim(ledger, job, seq=2), Claimed)


def test_an_unknown_job_is_refused_as_unknown(ledger: Ledger) -> None:
    """A message can be faster than its put; the claimer is told."""
    refused = claim(ledger, new_job())
    assert isinstance(refused, Refused) and refused.why is Refusal.UNKNOWN and refused.job is None


def test_a_live_lease_is_respected_and_a_dead_one_is_taken(ledger: Ledger) -> None:
    """Until the lease's end the job is held; after it the next claimer has attempt 2."""
    claimed = running(ledger)
    end = NOW + LEASE_MS
    held = claim(ledger, claimed.job, now=end, token="t2")
    assert isinstance(held, Refused) and held.why is Refusal.HELD and held.look_again_at == end
    taken = claim(ledger, claimed.job, now=end + 1, token="t2")
    assert isinstance(taken, Claimed) and taken.lease.attempt == 2


def test_a_waiting_retry_is_not_claimed_early(ledger: Ledger) -> None:
    """A job put back waits until its time; the refusal says until when."""
    claimed = running(ledger)
    assert ledger.retry(claimed.lease, now=NOW, not_before=NOW + 5_000, error=ERROR)
    job = stored(ledger, claimed.job.job_id)
    assert job.state is State.QUEUED and job.last_error == ERROR and job.seq == claimed.job.seq
    early = claim(ledger, job, now=NOW + 4_999)
    assert isinstance(early, Refused) and early.why is Refusal.NOT_YET and early.look_again_at == NOW + 5_000
    assert isinstance(claim(ledger, job, now=NOW + 5_000, token="t2"), Claimed)


def test_the_budget_ends_after_three_attempts(ledger: Ledger) -> None:
    """Three dead leases spend the budget; the fourth claimer is told and may give the job up."""
    job = queued(ledger)
    now = NOW
    for number in range(BUDGET):
        assert isinstance(claim(ledger, job, now=now, token=f"t{number}"), Claimed)
        now += LEASE_MS + 1
    spent = claim(ledger, job, now=now, token="t9")
    assert isinstance(spent, Refused) and spent.why is Refusal.SPENT and spent.job is not None
    assert ledger.give_up(spent.job, now=now, error=ERROR)
    end = stored(ledger, job.job_id)
    assert end.state is State.FAILED and end.error == ERROR and end.attempt == BUDGET


def test_a_retry_without_budget_is_refused(ledger: Ledger) -> None:
    """The last attempt cannot be put back: the worker must fail it."""
    job = queued(ledger, budget_left=1)
    claimed = running(ledger, job)
    assert not ledger.retry(claimed.lease, now=NOW, not_before=NOW, error=ERROR)
    assert ledger.fail(claimed.lease, now=NOW, error=ERROR)


def test_a_held_or_hopeful_job_is_not_given_up(ledger: Ledger) -> None:
    """Giving up needs a spent budget (or a passed deadline) and a dead lease."""
    claimed = running(ledger)
    assert not ledger.give_up(claimed.job, now=NOW + LEASE_MS + 1, error=ERROR)
    last = running(ledger, queued(ledger, budget_left=1))
    assert not ledger.give_up(last.job, now=NOW, error=ERROR)
    assert ledger.give_up(last.job, now=NOW + LEASE_MS + 1, error=ERROR)


def test_a_deadline_ends_claims(ledger: Ledger) -> None:
    """After the deadline nobody claims; the job can be given up with attempts left."""
    job = queued(ledger, deadline=NOW)
    late = claim(ledger, job, now=NOW)
    assert isinstance(late, Refused) and late.why is Refusal.SPENT
    assert ledger.give_up(job, now=NOW, error=ERROR)


def test_a_heartbeat_prolongs_and_reports_without_news(ledger: Ledger) -> None:
    """A heartbeat moves the lease and the progress and raises no version: rows show no progress."""
    claimed = running(ledger)
    progress = Progress(fraction=0.5, node="3", node_class="KSampler", step=10, steps=20)
    assert ledger.heartbeat(claimed.lease, until=NOW + 99_000, phase="running", progress=progress)
    job = stored(ledger, claimed.job.job_id)
    assert (job.lease_until, job.phase, job.progress, job.version) == (NOW + 99_000, "running", progress, 2)
    assert job.due_at == NOW + 129_000, "the sweeper gets interested half a minute after the lease's end"


def test_what_gpus_worked_is_kept_over_attempts(ledger: Ledger) -> None:
    """Told with heartbeat, retry and either end; a claim or a move that tells nothing leaves it as it was."""
    claimed = running(ledger)
    assert claimed.job.spent_ms is None
    assert ledger.heartbeat(claimed.lease, until=NOW + 9, phase="rendering", progress=None, spent_ms=1_000)
    assert ledger.heartbeat(claimed.lease, until=NOW + 9, phase="rendering", progress=None)
    assert stored(ledger, claimed.job.job_id).spent_ms == 1_000
    assert ledger.retry(claimed.lease, now=NOW, not_before=NOW, error=ERROR, spent_ms=1_500)
    again = claim(ledger, stored(ledger, claimed.job.job_id), token="t2")
    assert isinstance(again, Claimed) and again.job.spent_ms == 1_500
    assert ledger.commit(again.lease, now=NOW, outputs=[], timings=Timings(), spent_ms=1_900)
    assert stored(ledger, claimed.job.job_id).spent_ms == 1_900
    failed = running(ledger)
    assert ledger.fail(failed.lease, now=NOW, error=ERROR, spent_ms=7)
    assert stored(ledger, failed.job.job_id).spent_ms == 7


def test_a_release_costs_nothing(ledger: Ledger) -> None:
    """A job handed back keeps its message number and its attempt count; only the budget returns."""
    claimed = running(ledger)
    assert ledger.release(claimed.lease, now=NOW + 1)
    job = stored(ledger, claimed.job.job_id)
    assert (job.state, job.attempt, job.budget_left, job.seq) == (State.QUEUED, 1, BUDGET, 1)
    again = claim(ledger, job, now=NOW + 1, token="t2")
    assert isinstance(again, Claimed) and again.lease.attempt == 2
    assert again.job.given_back == 0, "a worker that stops is not counted"
    assert ledger.release(again.lease, now=NOW + 2, given_back=1)
    assert stored(ledger, job.job_id).given_back == 1


def test_what_was_handed_back_can_be_claimed_at_once(ledger: Ledger) -> None:
    """Also by who has a clock that is behind the releaser's, and if it had waited to be tried again before."""
    claimed = running(ledger)
    assert ledger.retry(claimed.lease, now=NOW, not_before=NOW + 5_000, error=ERROR)
    again = running(ledger, claimed.job, now=NOW + 5_000, token="t2")
    assert ledger.release(again.lease, now=NOW + 6_000)
    assert isinstance(claim(ledger, again.job, now=NOW, token="t3"), Claimed)


def test_a_commit_ends_the_job_with_its_outputs(ledger: Ledger) -> None:
    """A commit stores what was made, by which attempt, and when."""
    claimed = running(ledger)
    assert ledger.commit(claimed.lease, now=NOW + 9, outputs=[output()], timings=Timings(execution_ms=7, upload_ms=2))
    job = stored(ledger, claimed.job.job_id)
    assert (job.state, job.outputs, job.committed_attempt, job.finished_at) == (
        State.SUCCEEDED,
        (output(),),
        1,
        NOW + 9,
    )
    assert job.timings == Timings(execution_ms=7, upload_ms=2)
    assert job.version == 3


@pytest.mark.parametrize("state", [State.SUCCEEDED, State.FAILED, State.CANCELED])
def test_an_end_absorbs(ledger: Ledger, state: State) -> None:
    """No move leaves a terminal state, whoever tries."""
    job = ended(ledger, state)
    lease = Lease(job.job_id, job.attempt, "somebody else's")
    late = NOW + 10 * LEASE_MS
    refused = claim(ledger, job, now=late, token="t9")
    assert isinstance(refused, Refused) and refused.why is Refusal.ENDED
    assert not ledger.heartbeat(lease, until=late, phase="x", progress=None)
    assert not ledger.release(lease, now=late)
    assert not ledger.retry(lease, now=late, not_before=late, error=ERROR)
    assert not ledger.commit(lease, now=late, outputs=[], timings=Timings())
    assert not ledger.fail(lease, now=late, error=ERROR)
    assert ledger.resend(job, now=late) is None
    cancelled = ledger.cancel(job.job_id, now=late)
    assert cancelled is not None and cancelled.state is state
    assert stored(ledger, job.job_id) == job


def test_a_worker_that_lost_its_lease_changes_nothing(ledger: Ledger) -> None:
    """After another worker took over, every write of the first is refused (the zombie rule)."""
    zombie = running(ledger)
    now = NOW + LEASE_MS + 1
    heir = running(ledger, zombie.job, now=now, token="t2")
    assert not ledger.heartbeat(zombie.lease, until=now, phase="x", progress=None)
    assert not ledger.release(zombie.lease, now=now)
    assert not ledger.retry(zombie.lease, now=now, not_before=now, error=ERROR)
    assert not ledger.commit(zombie.lease, now=now, outputs=[output()], timings=Timings())
    assert not ledger.fail(zombie.lease, now=now, error=ERROR)
    assert stored(ledger, zombie.job.job_id) == heir.job


def test_a_cancelled_job_cannot_succeed(ledger: Ledger) -> None:
    """The worker's next write after a cancel fails: it must interrupt and throw away."""
    claimed = running(ledger)
    cancelled = ledger.cancel(claimed.job.job_id, now=NOW + 1)
    assert cancelled is not None and cancelled.state is State.CANCELED and cancelled.version == 3
    assert not ledger.heartbeat(claimed.lease, until=NOW, phase="x", progress=None)
    assert not ledger.commit(claimed.lease, now=NOW, outputs=[output()], timings=Timings())


def test_cancelling_nothing_says_so(ledger: Ledger) -> None:
    """An unknown id is no error and no job."""
    assert ledger.cancel(new_job().job_id, now=NOW) is None


def test_the_sweeper_never_numbers_anew_what_somebody_holds(ledger: Ledger) -> None:
    """A live lease stops a re-send; a dead one allows it, and the old holder's message is then stale."""
    claimed = running(ledger)
    assert ledger.resend(claimed.job, now=NOW + 1) is None
    assert ledger.resend(claimed.job, now=NOW + LEASE_MS + 1) == 2
    assert stored(ledger, claimed.job.job_id).version == claimed.job.version


def test_two_sweepers_send_the_same_number(ledger: Ledger) -> None:
    """A re-send repeated (lost answer, second sweeper) never makes a third number."""
    job = queued(ledger)
    assert ledger.resend(job, now=NOW) == 2
    assert ledger.resend(job, now=NOW) == 2
    assert stored(ledger, job.job_id).seq == 2


def test_many_jobs_are_read_in_the_order_asked(ledger: Ledger) -> None:
    """More than one page of reads comes back whole, in order, without the unknown."""
    jobs = [queued(ledger) for _ in range(120)]
    asked = [job.job_id for job in reversed(jobs)]
    asked.insert(50, new_job().job_id)
    assert [job.job_id for job in ledger.get_many(asked)] == [job.job_id for job in reversed(jobs)]


def test_what_is_no_id_names_no_job(ledger: Ledger) -> None:
    """People type addresses: too long for a key, empty, half a character; none of it is an error of ours."""
    for job_id in ("", "x", "x" * 3000, "ü" * 36, "\ud800" * 36, "x" * 36):
        assert ledger.get(job_id) is None


def test_a_clients_jobs_are_listed_by_time(ledger: Ledger) -> None:
    """Newest first, within the bounds (both included), from behind a place; another client's are not there."""
    client = f"client-{uuid4().hex}"
    for number in (3, 1, 4, 2):
        queued(ledger, client_id=client, job_key=f"k{number}", now=NOW + number)
    queued(ledger, client_id=f"{client}-2", now=NOW + 3)

    def listed(since: int = 0, until: int = 2**53, limit: int = 10, after: Spot | None = None) -> list[int]:
        spots = ledger.of_client(client, since=since, until=until, limit=limit, after=after)
        assert all(stored(ledger, spot.job_id).created_at == spot.created_at for spot in spots)
        return [spot.created_at - NOW for spot in spots]

    assert listed() == [4, 3, 2, 1]
    assert listed(since=NOW + 2, until=NOW + 3) == [3, 2]
    assert listed(since=NOW + 2, until=NOW + 2) == [2]
    assert listed(since=NOW + 3, until=NOW + 2) == []
    assert listed(limit=2) == [4, 3]
    [_, third] = ledger.of_client(client, since=0, until=2**53, limit=2)
    assert listed(after=third) == [2, 1]
    assert listed(after=third, limit=1) == [2]
    assert listed(after=Spot(NOW + 2, "0" * 36), since=NOW) in ([1], [2, 1]), "a place where no job is"


def test_jobs_of_one_moment_are_all_listed_over_pages(ledger: Ledger) -> None:
    """A page may end between jobs of the same millisecond."""
    client = f"client-{uuid4().hex}"
    made = {queued(ledger, client_id=client, now=NOW).job_id for _ in range(7)}
    seen: list[Spot] = []
    for number in (3, 3, 1, 0):
        spots = ledger.of_client(client, since=0, until=2**53, limit=3, after=seen[-1] if seen else None)
        assert len(spots) == number
        seen += spots
    assert len(seen) == 7 and {spot.job_id for spot in seen} == made


def test_outputs_are_shown_while_an_attempt_runs_and_count_only_if_it_ends_well(ledger: Ledger) -> None:
    """Failed, cancelled, handed back or claimed anew: they are gone; a commit has its own."""

    def shown(claimed: Claimed) -> Lease:
        lease = claimed.lease
        assert ledger.heartbeat(lease, until=NOW + 9, phase="rendering", progress=None, outputs=[output()])
        assert ledger.heartbeat(lease, until=NOW + 9, phase="rendering", progress=None)
        assert stored(ledger, lease.job_id).outputs == (output(),)
        return lease

    lease = shown(running(ledger))
    assert ledger.fail(lease, now=NOW, error=ERROR) and stored(ledger, lease.job_id).outputs == ()
    lease = shown(running(ledger))
    assert ledger.release(lease, now=NOW) and stored(ledger, lease.job_id).outputs == ()
    lease = shown(running(ledger))
    assert ledger.retry(lease, now=NOW, not_before=NOW, error=ERROR) and stored(ledger, lease.job_id).outputs == ()
    lease = shown(running(ledger))
    ledger.cancel(lease.job_id, now=NOW)
    assert stored(ledger, lease.job_id).outputs == ()
    lease = shown(running(ledger))
    again = ledger.claim(lease.job_id, 1, owner="w2", token="t2", now=NOW + 90_000, lease_ms=LEASE_MS)
    assert isinstance(again, Claimed) and again.job.outputs == () == stored(ledger, lease.job_id).outputs
    made = output("outputs/client-1/x/2/0-cd.png")
    assert ledger.commit(again.lease, now=NOW + 90_001, outputs=[made], timings=Timings())
    assert stored(ledger, lease.job_id).outputs == (made,)
