"""
Play the made loads with the autoscaler and with what one would do without it: `python -m bench --only scale`.

The oracle knows every arrival. Its figure is a lower bound that no scheduler can beat which begins each job within the
target: every job's own seconds, and one start for each stretch of work that is further from the next than a start
takes (to keep a machine through such a gap would cost more).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from rich.table import Table

from bench.scale_loads import LOADS, read
from bench.scale_world import DAY_S, MemoryBook, Nature, World
from chalicelib.contract.counts import NOWHERE
from chalicelib.scale import Lender, Round, Scale
from chalicelib.scale_memory import Terms
from chalicelib.scaling import Policy

POLICY: Final = Policy(most=8, target_wait_s=300.0, idle_s=300.0, day_dollars=40.0, job_s=30.0)
ROOM_S: Final = 6 * 3600.0
"""Played beyond the day, so that what began late can end."""
SPOT: Final = Nature(price=0.50, lost_after_h=6.0)
DEAR: Final = Nature(price=1.00)


@dataclass(frozen=True)
class Outcome:
    """Hold what came of a load under a policy. Seconds, and US dollars."""

    load: str
    policy: str
    waits: tuple[float, ...]
    gpu_hours: float
    dollars: float
    world: World | None = None
    rounds: tuple[Round, ...] = ()

    def wait(self, share: float) -> float:
        """Give the wait that *share* of the jobs do not exceed."""
        ordered = sorted(self.waits) or [0.0]
        return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def world_of(load: str, natures: dict[str, Nature] | None = None, seed: str = "") -> World:
    """Make the world that a load is played in."""
    return World(read(load), natures or {"spot": SPOT, "on-demand": DEAR}, seed=load + seed, until_s=DAY_S + ROOM_S)


def scale_of(world: World, policy: Policy) -> Scale:
    """Join the real use case to a world."""
    lenders = [Lender(name, pool, Terms(pool.nature.price)) for name, pool in world.pools.items()]
    return Scale(lenders, policy, MemoryBook(), world.work, world.cards, NOWHERE, lambda _alerts: None, world.now_ms)


def scaled(load: str, policy: Policy = POLICY, name: str = "autoscaler", world: World | None = None) -> Outcome:
    """Play a load with the real decision."""
    world = world or world_of(load)
    scale, rounds = scale_of(world, policy), []
    world.play(lambda: rounds.append(scale.round()))
    return outcome(load, name, world, rounds)


def fixed(load: str, policy: Policy = POLICY) -> Outcome:
    """Play a load with the most machines, all day."""
    nature = replace(DEAR, boot_s=(1e-9, 0.0), dud_share=0.0)
    world = world_of(load, {"fixed": nature})
    for _ in range(policy.most):
        world.at(0.0, lambda: world.rent("fixed", nature))
    world.play(lambda: None)
    return outcome(load, f"{policy.most} machines, always", world)


def tracked(load: str, policy: Policy = POLICY) -> Outcome:
    """
    Play a load with plain target tracking on backlog per worker, as an Auto Scaling group does it.

    Out when three minutes say so, in when fifteen do; idle machines go first, but busy ones go too.
    """
    world = world_of(load, {"spot": SPOT})
    pool = world.pools["spot"]
    per_worker = policy.target_wait_s / policy.job_s
    wishes: list[int] = []

    def track() -> None:
        open_jobs = len(world.waiting) + sum(box.job is not None for box in world.boxes)
        wishes.append(min(policy.most, math.ceil(open_jobs / per_worker)))
        have = len([box for box in world.boxes if box.gone is None and box.stopping is None])
        if len(wishes) >= 3 and min(wishes[-3:]) > have:
            pool.start(min(wishes[-3:]) - have)
        elif len(wishes) >= 15 and max(wishes[-15:]) < have:
            there = [box for box in world.boxes if box.gone is None and box.stopping is None]
            there.sort(key=lambda box: box.job is not None)
            pool.stop([box.id for box in there[: have - max(wishes[-15:])]])

    world.play(track)
    return outcome(load, "backlog per worker", world)


def bound(load: str, world: World, policy: Policy = POLICY) -> Outcome:
    """Say what an oracle must pay at least, for the jobs that were played in *world*."""
    boot_s = SPOT.boot_s[0]
    jobs = sorted(world.jobs, key=lambda job: job.came)
    starts, reach = 0, -math.inf
    for job in jobs:
        starts += job.came > reach + boot_s
        reach = max(reach, job.came + policy.target_wait_s + job.seconds)
    hours = (sum(job.seconds for job in jobs) + starts * boot_s) / 3600
    return Outcome(load, "oracle (bound)", tuple([policy.target_wait_s] * len(jobs)), hours, hours * SPOT.price)


def outcome(load: str, policy: str, world: World, rounds: Sequence[Round] = ()) -> Outcome:
    """Read a played world's figures."""
    return Outcome(load, policy, tuple(world.waits()), world.machine_hours(), world.dollars(), world, tuple(rounds))


def compare(load: str, policy: Policy = POLICY) -> list[Outcome]:
    """Play one load in all ways."""
    ours = scaled(load, policy)
    assert ours.world is not None
    return [bound(load, ours.world, policy), ours, tracked(load, policy), fixed(load, policy)]


def table(outcomes: Iterable[Outcome]) -> Table:
    """Lay outcomes out for a terminal."""
    shown = Table()
    for title in ("load", "policy", "jobs", "p50 s", "p95 s", "max s", "GPU h", "$"):
        shown.add_column(title, justify="left" if title in ("load", "policy") else "right", no_wrap=True)
    for each in outcomes:
        waits = [f"{each.wait(share):,.0f}" for share in (0.5, 0.95, 1.0)]
        figures = (f"{len(each.waits):,}", *waits, f"{each.gpu_hours:.1f}", f"{each.dollars:.2f}")
        shown.add_row(each.load, each.policy, *figures)
    return shown


def measure(note: Callable[[str, float, str], None]) -> Table:
    """Play everything; note our own figures and give the table."""
    # Each emulated minute would be a line.
    logging.getLogger("chalicelib").setLevel(logging.CRITICAL)
    every: list[Outcome] = []
    for load in LOADS:
        outcomes = compare(load)
        every += outcomes
        oracle, ours = outcomes[:2]
        note(f"scale_{load}_wait_p95_s", ours.wait(0.95), "s")
        note(f"scale_{load}_gpu_hours", ours.gpu_hours, "h")
        note(f"scale_{load}_cost_to_oracle", ours.dollars / oracle.dollars, "x")
    return table(every)
