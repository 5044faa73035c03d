"""Say what the sweeper may do next."""

from __future__ import annotations

from collections.abc import Iterator

from chalicelib.contract.states import TERMINAL, State
from tests.model.part import Part
from tests.model.world import RESTS, Step, World


class Sweeper(Part):
    """Be the sweeper, and the end of another job that lets this one go."""

    def steps(self, world: World) -> Iterator[Step]:
        if self._at(world).is_held and self._at(world).state is State.QUEUED:
            after, sent = self.desk.let_go(world.job)
            yield Step("another job's end lets it go", self._sent(world._replace(job=after), sent))
        if not self.rules.sweeps:
            return
        if world.sweeper and world.crashes:
            yield Step("the sweeper dies", world._replace(sweeper=(), crashes=world.crashes - 1), is_fault=True)
        if world.sweeper and world.sweeper[0] == "read":
            yield self._swept(world, world.sweeper[1], "the sweeper acts on what it read")
        elif world.sweeper:
            yield Step("the sweeper sends", self._sends(world._replace(sweeper=()), *world.sweeper[1:]))
        elif self._at(world).due_at is not None and self._may_look_twice(world):
            if not self._is_too_soon(world):
                yield self._swept(world, world.job, "the sweeper looks")
            elif world.duplicates:
                soon = world._replace(sweeper=("read", world.job), duplicates=world.duplicates - 1)
                yield Step("the sweeper reads the job too soon", soon, is_fault=True)

    def _swept(self, world: World, seen: int, label: str) -> Step:
        after, sent, hints, checks, wrong = self.desk.sweep(world.job, seen)
        swept = world._replace(job=after, sweeper=())
        if sent or hints or checks:
            # Only who may die in between needs a step of its own for it.
            told = (sent, hints, checks)
            swept = swept._replace(sweeper=("sends", *told)) if world.crashes else self._sends(swept, *told)
        return Step(label, swept, False, wrong)

    def _sends(self, world: World, sent: tuple[int, ...], hints: int, checks: int) -> World:
        after = self._sent(world, sent)
        if hints:
            after = self._hinted(after)
        return after._replace(checks=1) if checks else after

    def _is_too_soon(self, world: World) -> bool:
        """Say whether what the sweeper would send is still on its way: then it costs a duplicate."""
        job = self._at(world)
        if job.state in TERMINAL and job.is_shown:
            return bool(world.checks)
        if job.state in TERMINAL or (job.state is State.RUNNING and job.lease_until):
            return bool(world.hints) or any(each.does != "idle" and not each.is_check for each in world.completions)
        return not job.is_held and bool(world.queue or world.api == "sends")

    def _may_look_twice(self, world: World) -> bool:
        job = self._at(world)
        if job.state not in TERMINAL or not job.is_shown:
            return True
        return self.rules.looks_twice and world.completions == (RESTS, RESTS)
