"""Judge the autoscaler's decision by itself: what it orders, whom it gives back, and what it says."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from chalicelib.scaling import Load, Past, Policy, Rented, Standing, decide

POLICY = Policy(most=8, target_wait_s=300, idle_s=600, job_s=60, boot_s=180)
QUIET = Past(boot_s=180, busy=0, peak=0, had_work=False, may_order=True, order_price=0.5)
BUSY = replace(QUIET, peak=1, had_work=True)


def jobs(waiting: int, each_s: float = 60, running: int = 0) -> Load:
    return Load(waiting, waiting * each_s, running, running * each_s / 2)


def machine(name: str = "a", **changed: object) -> Rented:
    fields: dict[str, object] = {"id": name, "pool": "p", "standing": Standing.READY, "hour_price": 0.5}
    return Rented(**{**fields, **changed})  # type: ignore[arg-type]


def starting(name: str, ready_in_s: float = 100) -> Rented:
    return machine(name, standing=Standing.STARTING, ready_in_s=ready_in_s)


def test_one_job_starts_one_machine_and_no_job_starts_none() -> None:
    """From zero, any work is worth a machine."""
    assert decide(POLICY, jobs(1, each_s=1), [], BUSY).start == 1
    assert decide(POLICY, Load(), [], QUIET).start == 0


def test_as_many_start_as_the_target_needs() -> None:
    """20 jobs of a minute are 1,200 s of work; a new machine counts for 180 s of it: less is not worth its start."""
    decision = decide(POLICY, jobs(20), [], BUSY)
    assert decision.start == math.ceil(20 * 60 / 180)
    assert "20 jobs wait (about 1,200 s of work)" in decision.reason and "5 min" in decision.reason


def test_no_machine_starts_for_less_work_than_its_start_takes() -> None:
    """A short queue behind a busy machine waits for that machine."""
    assert decide(POLICY, jobs(10, each_s=5, running=1), [machine(jobs=1)], BUSY).start == 0


def test_a_job_is_not_split() -> None:
    """Two jobs of an hour need two machines, not twenty."""
    assert decide(POLICY, jobs(2, each_s=3600), [], BUSY).start == 2


def test_machines_that_start_are_counted() -> None:
    """What is on its way is not ordered again."""
    there = [starting(f"s{number}") for number in range(7)]
    assert decide(POLICY, jobs(20), there, BUSY).start == 0


def test_never_more_than_the_most() -> None:
    """However long the queue is; and the sentence says what holds it back."""
    decision = decide(POLICY, jobs(5000), [machine(), starting("b")], BUSY)
    assert decision.start == 6 and "8 is the most" in decision.reason
    full = [machine(f"m{number}", jobs=1) for number in range(8)]
    assert decide(POLICY, jobs(5000), full, BUSY).start == 0


def test_the_least_is_kept_without_any_work() -> None:
    """An idle machine of the least is not given back, and a missing one is ordered."""
    policy = replace(POLICY, least=2)
    assert decide(policy, Load(), [machine(idle_s=9999)], QUIET).start == 1
    assert decide(policy, Load(), [machine(idle_s=9999), machine("b", idle_s=9999)], QUIET).stop == ()


def test_nothing_is_ordered_while_an_order_is_not_settled() -> None:
    """The last one may have been granted although its answer got lost."""
    decision = decide(POLICY, jobs(100), [], replace(BUSY, may_order=False))
    assert decision.start == 0 and "not settled" in decision.reason


def test_the_last_machine_goes_after_the_idle_time() -> None:
    """Not while there was work within it, and not before its own time is over."""
    assert decide(POLICY, Load(), [machine(idle_s=601)], QUIET).stop == ("a",)
    assert decide(POLICY, Load(), [machine(idle_s=599)], QUIET).stop == ()
    assert decide(POLICY, Load(), [machine(idle_s=601)], replace(QUIET, had_work=True)).stop == ()


def test_one_too_many_goes_when_it_idled_as_long_as_a_start_takes() -> None:
    """The longest idle first, and only idle ones."""
    fleet = [machine("a", jobs=1), machine("b", idle_s=200), machine("c", idle_s=300), machine("d", idle_s=100)]
    assert decide(POLICY, Load(running=1), fleet, BUSY).stop == ("c", "b")
    assert decide(POLICY, Load(running=1), fleet, replace(BUSY, peak=3)).stop == ("c",)


def test_a_machine_with_jobs_in_hand_is_never_surplus() -> None:
    """Whatever the figures say."""
    fleet = [machine("a", jobs=1), machine("b", jobs=1)]
    assert decide(POLICY, Load(running=2), fleet, BUSY).stop == ()


def test_a_dead_machine_is_given_back_and_told() -> None:
    """It costs and does nothing; and it does not count as one that works."""
    decision = decide(POLICY, jobs(1), [machine("dud", standing=Standing.DEAD)], BUSY)
    assert decision.stop == ("dud",) and decision.start == 1
    assert "dud costs $0.50 an hour" in decision.alerts[0]


def test_what_the_budget_cannot_pay_for_is_not_ordered() -> None:
    """A machine must be paid for its start, some use and its end, beside those that are there."""
    decision = decide(POLICY, jobs(100), [], replace(BUSY, left=0.25, cap="the day's $5.00"))
    assert decision.start == 2 and "the day's $5.00 do not pay for" in decision.reason
    broke = decide(POLICY, jobs(100), [], replace(BUSY, left=0.05, cap="the day's $5.00"))
    assert broke.start == 0 and "the day's $5.00 leave $0.05" in broke.reason


def test_near_the_cap_machines_go_and_busy_ones_last() -> None:
    """Starting ones first, then idle ones; busy ones only when nothing else keeps the cap."""
    fleet = [machine("busy", jobs=1), machine("idle", idle_s=5), starting("late")]
    four_minutes = 0.5 * 240 / 3600
    some = decide(POLICY, jobs(9), fleet, replace(BUSY, left=2.5 * four_minutes, cap="the day's $5.00"))
    assert some.stop == ("late",) and "nearly spent" in some.reason
    more = decide(POLICY, jobs(9), fleet, replace(BUSY, left=1.5 * four_minutes, cap="the day's $5.00"))
    assert more.stop == ("late", "idle")
    every = decide(POLICY, jobs(9), fleet, replace(BUSY, left=0.0, cap="the day's $5.00"))
    assert every.stop == ("late", "idle", "busy") and "1 of them had jobs in hand" in every.alerts[-1]


def test_the_cap_is_above_the_least() -> None:
    """A least that cannot be paid for is not kept."""
    policy = replace(POLICY, least=2)
    assert decide(policy, Load(), [], replace(QUIET, left=0.01, cap="the day's $1.00")).start == 0


def test_jobs_that_no_machine_can_do_order_none() -> None:
    """They waited while machines idled: more of these machines would idle too. A job beside them does order one."""
    stuck = replace(QUIET, stuck=3)
    assert decide(POLICY, jobs(3), [], stuck).start == 0
    assert decide(POLICY, jobs(4), [], stuck).start == 1
    idle = decide(POLICY, jobs(3), [machine(idle_s=601)], stuck)
    assert idle.stop == ("a",) and "3 jobs wait while machines idle" in idle.alerts[0]


@pytest.mark.parametrize("gpus", [1, 4])
def test_gpus_of_a_machine_count(gpus: int) -> None:
    """A machine with four of them does the work of four."""
    decision = decide(replace(POLICY, most=100, gpus=gpus), jobs(120), [], BUSY)
    assert decision.start == math.ceil(120 * 60 / 180 / gpus)
