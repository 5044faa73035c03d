"""Who pays when ComfyUI goes down: the job that ran, not those that waited behind it."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from chalicelib.contract.errors import Unavailable
from chalicelib.contract.job import BUDGET
from chalicelib.contract.ports import Claimed
from chalicelib.contract.states import State
from tests.jobs import NOW
from tests.worker_shop import Shop
from worker.clock import Clock
from worker.disk import DiskFull
from worker.pace import DOWN_KEPT_S, Pace, Ticket
from worker.ports import ComfyAway
from worker.settle import FREE_MOST, GIVEN_BACK_S, backoff_s


class Hands(Clock):
    """Be a clock that is set by hand."""

    def __init__(self) -> None:
        self.at = 100.0

    def monotonic(self) -> float:
        return self.at

    def wait(self, bell: threading.Event, seconds: float) -> bool:
        return bell.is_set()


def pair() -> tuple[Hands, Ticket, Ticket]:
    """Give two jobs of one ComfyUI, the first of which runs."""
    clock = Hands()
    pace = Pace(2, clock)
    first = pace.enter(lambda: True)
    assert first is not None
    first.taken()
    first.claimed("known")
    first.begun()
    first.left_in_node_s = lambda _now: 0.0
    second = pace.enter(lambda: True)
    assert second is not None
    return clock, first, second


def test_who_waits_behind_a_job_that_runs_is_a_bystander() -> None:
    """While another job of ours is at work this one is not, whoever notices first."""
    _, first, second = pair()
    assert second.is_bystander and not first.is_bystander


def test_a_bystander_stays_one_after_the_other_was_given_up() -> None:
    """The one that ran notices first and is gone; what waited behind it still knows, for a while."""
    clock, first, second = pair()
    first.went_down()
    first.over()
    assert second.is_bystander
    clock.at += DOWN_KEPT_S
    assert not second.is_bystander


def test_who_came_after_the_fall_is_no_bystander() -> None:
    """A job that was taken later has nobody to blame."""
    clock, first, second = pair()
    first.went_down()
    first.over()
    second.over()
    clock.at += 1
    later = first.pace.enter(lambda: True)
    assert later is not None and not later.is_bystander


def test_an_end_that_was_no_fall_blames_nobody() -> None:
    """The other job ended well: what happens to this one then is its own."""
    _, first, second = pair()
    first.over()
    assert not second.is_bystander


def beside_a_run(**changes: str) -> tuple[Shop, Ticket]:
    """Give a worker whose GPU is at work for another job, with one job in its queue."""
    shop = Shop(**changes)
    running = shop.server.pace.enter(lambda: True)
    assert running is not None
    running.taken()
    running.claimed("known")
    running.begun()
    running.left_in_node_s = lambda _now: 0.0
    return shop, running


def raising(error: Unavailable) -> Callable[..., None]:
    def raise_it(*_: object) -> None:
        raise error

    return raise_it


def test_who_waited_while_comfyui_ended_pays_nothing() -> None:
    """It comes again after a moment, with all its attempts."""
    shop, _ = beside_a_run()
    shop.comfy.where = raising(ComfyAway("ComfyUI cannot be reached."))  # type: ignore[method-assign, assignment]
    shop.comfy.submit = shop.comfy.where  # type: ignore[method-assign, assignment]
    shop.work()
    assert (shop.job.state, shop.job.budget_left, shop.job.given_back) == (State.QUEUED, BUDGET, 1)
    least, most = GIVEN_BACK_S
    assert least <= shop.inbox.hidden[-1] <= most


@pytest.mark.parametrize("error", [Unavailable("The bucket cannot be reached."), Unavailable("Slow.", 7.0), DiskFull()])
def test_other_trouble_beside_a_job_that_runs_is_the_job_s_own(error: Unavailable) -> None:
    """The bucket, an input's host or the disk do not fail because another job renders: it waits longer each time."""
    shop, _ = beside_a_run()
    shop.blobs.get = raising(error)  # type: ignore[method-assign, assignment]
    before = shop.job
    shop.work()
    assert (shop.job.state, shop.job.budget_left, shop.job.given_back) == (State.QUEUED, BUDGET - 1, 0)
    claimed = before.model_copy(update={"budget_left": BUDGET - 1})
    delay_s = error.retry_in_s if error.retry_in_s is not None else backoff_s(claimed, 0.5)
    assert shop.inbox.hidden[-1] == delay_s and shop.job.not_before >= NOW + delay_s * 1000


def test_attempts_that_were_handed_back_do_not_count_against_a_bystander() -> None:
    """Workers that stopped or lacked a model raise the attempt's number; only what was given back counts."""
    shop, _ = beside_a_run()
    for number in range(3 * FREE_MOST):
        handed = shop.ledger.claim(shop.job_id, 1, owner="w", token=f"t{number}", now=NOW, lease_ms=1000)
        assert isinstance(handed, Claimed) and shop.ledger.release(handed.lease, now=NOW)
    shop.comfy.submit = raising(ComfyAway("ComfyUI cannot be reached."))  # type: ignore[method-assign, assignment]
    for times in range(1, FREE_MOST + 1):
        shop.work()
        assert (shop.job.budget_left, shop.job.given_back) == (BUDGET, times)
        shop.clock.pass_time(GIVEN_BACK_S[1] + 1)
    shop.work()
    assert (shop.job.budget_left, shop.job.given_back) == (BUDGET - 1, FREE_MOST), "so often and no more"


def test_a_busy_table_costs_a_bystander_no_attempt() -> None:
    """Giving back is insisted on: a lease that runs out would take one."""
    shop, _ = beside_a_run()
    shop.comfy.submit = raising(ComfyAway("ComfyUI cannot be reached."))  # type: ignore[method-assign, assignment]
    shop.ledger.failing = ["release"] * 3
    shop.work()
    assert (shop.job.state, shop.job.budget_left) == (State.QUEUED, BUDGET)
