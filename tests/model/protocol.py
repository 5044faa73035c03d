"""Say what can happen next in a world, and what is so after it."""

from __future__ import annotations

from collections.abc import Iterator

from chalicelib.contract.states import TERMINAL, State
from tests.model.completions import Completions
from tests.model.desk import Desk
from tests.model.part import Part
from tests.model.sweeper import Sweeper
from tests.model.workers import Workers
from tests.model.world import HIDDEN, IDLE, NOBODY, NONE, RESTS, Budgets, Rules, Step, World, plain


class Protocol(Part):
    """Give the steps of a world, by *rules* and within *budgets*: those of API, user, queue and time are here."""

    def __init__(self, rules: Rules | None = None, budgets: Budgets | None = None) -> None:
        rules, budgets = rules or Rules(), budgets or Budgets()
        super().__init__(rules, budgets, Desk(rules.table, budgets.attempts))
        around = self.rules, self.budgets, self.desk
        self._workers, self._sweeper, self._completions = Workers(*around), Sweeper(*around), Completions(*around)

    def first(self) -> World:
        spent = self.budgets
        return World(
            row=self.desk.blank,
            crashes=spent.crashes,
            duplicates=spent.duplicates,
            expiries=spent.expiries,
            lost=spent.lost,
            releases=spent.releases,
        )

    def is_done(self, world: World) -> bool:
        """Say whether nothing is left to do, and all is as it should be."""
        if world.queue or world.hints or world.checks or world.sweeper or world.workers != (IDLE, IDLE):
            return False
        if world.completions != (RESTS, RESTS) or world.api not in ("done", "dead") or world.user == "told":
            return False
        if world.job == NONE:
            return True
        job = self._at(world)
        if job.due_at is not None and self.rules.sweeps:
            return False
        return job.state in TERMINAL and job.is_shown and world.row == self.desk.truth(world.job)

    def steps(self, world: World) -> Iterator[Step]:
        """Give everything that can happen next, worlds that differ only in names as one."""
        for step in self._steps(world):
            yield step._replace(world=plain(step.world))

    def _steps(self, world: World) -> Iterator[Step]:
        yield from self._api(world)
        if world.job == NONE:
            return
        yield from self._user(world)
        for number in (0, 1):
            yield from self._workers.steps(world, number)
            yield from self._completions.steps(world, number)
        yield from self._queue(world)
        yield from self._time(world)
        yield from self._sweeper.steps(world)

    # -- API and user ------------------------------------------------------------------------------------------------

    def _api(self, world: World) -> Iterator[Step]:
        if world.api == "begins":
            yield Step("API puts the job", world._replace(job=self.desk.sent, api="sends"))
            if self.budgets.held:
                yield Step("API puts the job, held back", world._replace(job=self.desk.held, api="done"))
        elif world.api == "sends":
            yield Step("API sends the message", self._sent(world, (1,))._replace(api="done"))
            if world.crashes and self.budgets.api_crashes:
                yield Step("API dies", world._replace(api="dead", crashes=world.crashes - 1), is_fault=True)
        elif world.api == "dead":
            job = self._at(world)
            if job.state is State.QUEUED and job.attempt == 0 and not job.is_held:
                again = self._sent(world, (job.seq,))._replace(api="done")
                yield Step("the client asks again, and API sends the message", again, is_fault=True)

    def _user(self, world: World) -> Iterator[Step]:
        if world.user == "waits" and self.budgets.cancels:
            answer, after, wrong = self.desk.cancel(world.job)
            told = "told" if answer.state is State.CANCELED else "done"
            yield Step("API cancels", world._replace(job=after, user=told), True, wrong)
        elif world.user == "told":
            yield Step("API hints at the cancelled job", self._hinted(world)._replace(user="done"))
            if world.crashes and self.budgets.api_crashes:
                yield Step("API dies before the hint", world._replace(user="done", crashes=world.crashes - 1), True)

    # -- the queue and time ------------------------------------------------------------------------------------------

    def _queue(self, world: World) -> Iterator[Step]:
        for slot, seq, holder in world.queue:
            if holder == HIDDEN:
                yield Step(f"message {seq} is visible again", self._held_by(world, slot, NOBODY))
            elif holder != NOBODY and world.expiries:
                after = self._held_by(world, slot, NOBODY)._replace(expiries=world.expiries - 1)
                yield Step(f"message {seq} is visible again too soon", after, is_fault=True)
            if world.duplicates:
                again = self._sent(world, (seq,))._replace(duplicates=world.duplicates - 1)
                yield Step(f"the queue repeats message {seq}", again, is_fault=True)

    def _time(self, world: World) -> Iterator[Step]:
        job = self._at(world)
        if (after := self.desk.passed(world.job, "not_before")) is not None:
            yield Step("the pause is over", world._replace(job=after))
        if job.state is State.RUNNING and (after := self.desk.passed(world.job, "lease_until")) is not None:
            # A worker that lives renews its lease: only one that is gone loses it for nothing.
            lives = any(
                me.token == job.claim_token and me.does.startswith(("holds", "claims", "doubts"))
                for me in world.workers
            )
            if not lives:
                yield Step("the dead worker's lease ends", world._replace(job=after))
            elif world.expiries:
                yield Step("a lease ends too soon", world._replace(job=after, expiries=world.expiries - 1), True)
        if self.budgets.deadline and (after := self.desk.passed(world.job, "deadline")) is not None:
            yield Step("the deadline passes", world._replace(job=after), is_fault=True)
