"""
Play loads through the autoscaler in emulated time: whole days with starts, duds, spot losses and empty shelves.

The figures are of bench/scale.py; docs/scaling.md says how the loads were made and what the oracle is.
"""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from rich.console import Console

from bench.scale import DEAR, POLICY, SPOT, Outcome, compare, scale_of, scaled, table, world_of
from bench.scale_loads import LOADS
from bench.scale_world import DAY_S, Nature, World
from chalicelib.scale import Round
from chalicelib.scaling import LAST_CALL_S, Policy
from tests.sizes import examples

HOUR_S = 3600.0
COST = {"office-day": 3.0, "night-batch": 1.2, "trickle": 4.2, "stampede": 1.6}
"""Of the oracle's cost, how many times as much ours may be; it is dearest where machines wait for single jobs."""
WAIT = 1.5
"""Of the oracle's wait, or of a full fleet's that always runs if that is longer: the oracle has no most."""


@pytest.fixture(scope="module")
def days() -> dict[str, list[Outcome]]:
    return {load: compare(load) for load in LOADS}


def test_every_load_is_near_the_oracle(days: dict[str, list[Outcome]], capfd: pytest.CaptureFixture[str]) -> None:
    """The wait and the cost stay within a factor of what somebody would pay who knew every arrival."""
    with capfd.disabled():
        Console(file=sys.stdout, width=110).print(table(each for day in days.values() for each in day))
    for load, (oracle, ours, _, always) in days.items():
        assert ours.wait(0.95) <= WAIT * max(oracle.wait(0.95), always.wait(0.95)), load
        assert ours.dollars <= COST[load] * oracle.dollars, load


def test_it_is_faster_than_plain_tracking_and_cheaper_than_machines_that_always_run(
    days: dict[str, list[Outcome]],
) -> None:
    """On every load: its p95 wait is below that of backlog per worker, its cost a small part of a fixed fleet's."""
    for load, (_, ours, tracked, always) in days.items():
        assert ours.wait(0.95) < tracked.wait(0.95), load
        assert ours.dollars < always.dollars / 8, load


def test_all_jobs_are_done_and_no_machine_is_left(days: dict[str, list[Outcome]]) -> None:
    """After the day there is nothing that costs, and none was stopped with a job in hand."""
    for load, (_, ours, *_) in days.items():
        assert ours.world is not None
        assert all(job.done is not None for job in ours.world.jobs), load
        assert (ours.world.renting(), ours.world.busy_stops) == (0, 0), load
        assert peak(ours.world) <= POLICY.most, load


def peak(world: World) -> int:
    """Count the machines that there were at once, those apart that were given back already."""
    times = sorted(
        [(box.ordered, 1) for box in world.boxes]
        + [(min(t for t in (box.stopping, box.gone) if t is not None), -1) for box in world.boxes if box.gone]
    )
    most = count = 0
    for _, step in times:
        count += step
        most = max(most, count)
    return most


def dollars_by_day(world: World) -> list[float]:
    return [world.dollars(day * DAY_S, (day + 1) * DAY_S) for day in range(int(world.now // DAY_S) + 1)]


@pytest.mark.parametrize("cap", [0.5, 3.0])
def test_a_cap_that_is_too_small_for_the_night_is_kept(cap: float) -> None:
    """Ten thousand jobs cost some $9: with less to spend, less is done that day, and the rest begins after midnight."""
    policy = replace(POLICY, day_dollars=cap)
    ours = scaled("night-batch", policy)
    assert ours.world is not None
    spent = dollars_by_day(ours.world)
    assert max(spent) <= cap and spent[0] > 0.6 * cap and spent[1] > 0.6 * cap
    assert any("nearly spent" in each.reason or "do not pay for" in each.reason for each in ours.rounds)


def test_empty_shelves_are_waited_out_or_gone_round() -> None:
    """With no spot machine for the first hour, on-demand ones do the work; without those the work waits, no longer."""

    def none_till_three(now: float) -> int:
        return 0 if now < 15 * HOUR_S else 100

    empty = replace(SPOT, stock=none_till_three)
    beside = scaled("stampede", world=world_of("stampede", {"spot": empty, "on-demand": DEAR}))
    alone = scaled("stampede", world=world_of("stampede", {"spot": empty}))
    assert beside.wait(0.95) < 2400
    assert HOUR_S < alone.wait(1.0) < HOUR_S + 3600
    assert alone.world is not None and len(alone.world.boxes) < 40


def test_lost_spot_machines_are_replaced() -> None:
    """When machines live half an hour on average, the night's jobs are done all the same."""
    frail = replace(SPOT, lost_after_h=0.5)
    ours = scaled("night-batch", world=world_of("night-batch", {"spot": frail}))
    assert ours.world is not None and all(job.done is not None for job in ours.world.jobs)
    assert peak(ours.world) <= POLICY.most


BURSTS = some.lists(
    some.tuples(some.integers(0, 4 * 3600), some.integers(1, 150), some.sampled_from(["sdxl", "flux", "video"])),
    min_size=1,
    max_size=12,
)
POLICIES = some.builds(
    Policy,
    least=some.integers(0, 1),
    most=some.integers(1, 12),
    target_wait_s=some.sampled_from([60.0, 300.0, 900.0]),
    idle_s=some.sampled_from([60.0, 300.0, 900.0]),
    day_dollars=some.sampled_from([None, 0.2, 1.0, 5.0]),
    boot_s=some.sampled_from([60.0, 180.0]),
)
NATURES = some.builds(
    Nature,
    price=some.sampled_from([0.2, 0.5, 3.0]),
    boot_s=some.sampled_from([(40.0, 0.1), (150.0, 0.3), (400.0, 0.6)]),
    dud_share=some.sampled_from([0.0, 0.1]),
    lost_after_h=some.sampled_from([float("inf"), 0.5]),
    stock=some.sampled_from([0, 2, 100]).map(lambda most: lambda _now: most),
    end_s=some.sampled_from([5.0, 60.0]),
)


def played(
    bursts: list[tuple[int, int, str]], policy: Policy, nature: Nature, lost_answers: set[int]
) -> tuple[World, list[Round]]:
    world = World(bursts, {"spot": nature}, seed="any", until_s=10 * HOUR_S)
    world.pools["spot"].lost_answers = lost_answers
    scale, rounds = scale_of(world, policy), []
    world.play(lambda: rounds.append(scale.round()))
    return world, rounds


@settings(max_examples=examples(40), deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(BURSTS, POLICIES, NATURES, some.sets(some.integers(1, 8), max_size=4))
def test_whatever_comes_the_bounds_hold(
    bursts: list[tuple[int, int, str]], policy: Policy, nature: Nature, lost_answers: set[int]
) -> None:
    """Never more machines than the most, never more dollars than the cap, and busy machines go for the cap alone."""
    world, rounds = played(bursts, policy, nature, lost_answers)
    assert peak(world) <= policy.most
    cap = policy.day_dollars
    if cap is not None:
        assert max(dollars_by_day(world)) <= cap
    if world.busy_stops:
        assert cap is not None and any("nearly spent" in each.reason for each in rounds)
    if cap is None and nature.stock(0) and policy.least == 0 and nature.lost_after_h == float("inf"):
        assert all(job.done is not None for job in world.jobs) or world.renting()


@settings(max_examples=examples(40), deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(BURSTS, POLICIES)
def test_nothing_is_ordered_after_a_stop_without_new_load(bursts: list[tuple[int, int, str]], policy: Policy) -> None:
    """No flapping: with machines that never fail, an order within ten minutes of a stop has jobs that came since."""
    steady = Nature(dud_share=0.0)
    world, _ = played(bursts, replace(policy, day_dollars=None, least=0), steady, set())
    for at, _ in world.orders:
        stops = [stop for stop, _ in world.stops if stop < at <= stop + 600]
        if stops:
            assert any(max(stops) - 120 < job.came <= at for job in world.jobs)


def test_the_last_call_covers_a_missed_round() -> None:
    """Between two rounds with one missed, and while a machine takes a minute to end, the cap still holds."""
    world = world_of("night-batch", {"spot": replace(SPOT, end_s=60.0)})
    scale, strikes = scale_of(world, replace(POLICY, day_dollars=2.0)), iter(range(10_000))
    world.play(lambda: scale.round() if next(strikes) % 2 else None)
    assert LAST_CALL_S >= 2 * 60 + 60
    assert max(dollars_by_day(world)) <= 2.0
