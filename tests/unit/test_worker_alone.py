"""A job that has cost an attempt before is done alone: it may be the one that takes its worker down."""

from __future__ import annotations

from chalicelib.contract.job import BUDGET
from chalicelib.contract.states import State
from tests.jobs import NOW
from tests.worker_shop import Shop
from worker.loop import Hand
from worker.pace import Pace, Ticket


def taken(pace: Pace) -> Ticket:
    ticket = pace.enter(lambda: True)
    assert ticket is not None
    ticket.taken()
    return ticket


def test_nobody_is_let_in_beside_a_job_that_is_done_alone() -> None:
    """It waits for those before it, and those after it for it."""
    pace = Shop().server.pace
    first = taken(pace)
    first.claimed("w")
    first.begun()
    first.left_in_node_s = lambda _now: 0.0
    second = taken(pace)
    assert second.claim_alone() and not first.claim_alone(), "there is one such at most"
    looks: list[int] = []
    second.wait_alone(lambda: bool(looks.append(1)) or len(looks) < 3 or bool(first.over()))
    assert len(looks) >= 3, "it waited while the first one was there"
    assert pace.is_held_alone()
    asked = iter([True, False])
    assert pace.enter(lambda: next(asked)) is None, "nobody comes in"
    second.over()
    assert taken(pace)


def test_a_job_that_cost_an_attempt_is_done_alone_and_well() -> None:
    """With nothing beside it there is nothing to wait for."""
    shop = Shop()
    shop.ledger.claim(shop.job_id, 1, owner="dead", token="t", now=NOW, lease_ms=1)
    shop.clock.pass_time(10)
    shop.work()
    assert (shop.job.state, shop.job.attempt, shop.job.budget_left) == (State.SUCCEEDED, 2, BUDGET - 2)


def test_what_comes_beside_it_is_left_for_others_without_cost() -> None:
    """A message for which a hand had asked before is hidden for a while, unclaimed."""
    shop = Shop()
    assert taken(shop.server.pace).claim_alone()
    Hand("0", shop.tools, shop.house)._step(Ticket(shop.server.pace, 0.0))
    assert (shop.job.state, shop.job.attempt) == (State.QUEUED, 0)
    assert shop.inbox.hidden
