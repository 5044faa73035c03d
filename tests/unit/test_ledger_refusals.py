"""Why a claim was refused, and when to look again."""

from __future__ import annotations

import pytest

from chalicelib.contract.ports import Refusal, Refused, refusal_of
from chalicelib.contract.states import TERMINAL, State
from tests.jobs import NOW, new_job


def test_what_is_not_there_is_unknown() -> None:
    """There is no job to go with it."""
    assert refusal_of(None, 1, NOW) == Refused(Refusal.UNKNOWN, None, 0)


@pytest.mark.parametrize("state", sorted(TERMINAL))
def test_an_end_comes_before_all_else(state: State) -> None:
    """Also with an old message, no attempt left, a lease that would go on."""
    job = new_job(state=state, seq=2, budget_left=0, lease_until=NOW + 1)
    assert refusal_of(job, 1, NOW) == Refused(Refusal.ENDED, job)


@pytest.mark.parametrize("seq", [1, 3])
def test_only_the_newest_message_counts(seq: int) -> None:
    """An older one is stale, and so is one of a number that was never sent."""
    job = new_job(state=State.RUNNING, seq=2, lease_until=NOW + 1)
    assert refusal_of(job, seq, NOW) == Refused(Refusal.STALE, job)


def test_a_lease_holds_to_its_last_millisecond() -> None:
    """Then the job is looked at again; a queued job's old lease holds nothing."""
    running = new_job(state=State.RUNNING, budget_left=0, lease_until=NOW)
    assert refusal_of(running, 1, NOW) == Refused(Refusal.HELD, running, NOW)
    assert refusal_of(running, 1, NOW + 1).why is Refusal.SPENT
    assert refusal_of(new_job(lease_until=NOW, not_before=NOW + 5), 1, NOW).why is Refusal.NOT_YET


def test_without_an_attempt_or_time_the_job_is_spent() -> None:
    """With one attempt and a millisecond left it is not: it waits until its time."""
    for job in (new_job(budget_left=0), new_job(deadline=NOW), new_job(deadline=NOW - 1)):
        assert refusal_of(job, 1, NOW) == Refused(Refusal.SPENT, job)
    last = new_job(budget_left=1, deadline=NOW + 1, not_before=NOW + 5)
    assert refusal_of(last, 1, NOW) == Refused(Refusal.NOT_YET, last, NOW + 5)
