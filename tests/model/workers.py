"""Say what a worker may do next: take, claim, render, write, tell, delete, or die."""

from __future__ import annotations

from collections.abc import Iterator

from chalicelib.contract.ports import Claimed, Refusal
from chalicelib.contract.states import TERMINAL, Verb
from tests.model.part import Part
from tests.model.world import HIDDEN, NOBODY, Step, Worker, World


class Workers(Part):
    """Be the two workers."""

    def steps(self, world: World, number: int) -> Iterator[Step]:
        me = world.workers[number]
        name = f"the worker of {me.token}" if me.does == "holds" else "a worker"
        if me.does == "idle":
            for slot, seq, holder in world.queue:
                if holder == NOBODY:
                    yield Step(f"{name} takes message {seq}", self._taken(world, number, slot, seq))
            return
        if world.crashes:
            after = self._let_go(world, number, HIDDEN)._replace(crashes=world.crashes - 1)
            yield Step(f"{name} dies", after, is_fault=True)
        if me.does.startswith("doubts "):
            yield from self._written(world, number, me, name, Verb(me.does.removeprefix("doubts ")))
            return
        turns = {
            "claims": self._claims,
            "refused": self._refused,
            "holds": self._holds,
            "lost": self._lost,
            "frees": self._frees,
            "tells": self._tells,
            "drops": self._drops,
            "drops first": self._drops_first,
            "tells last": self._tells_last,
        }
        yield from turns[me.does](world, number, me, name)

    def _taken(self, world: World, number: int, slot: int, seq: int) -> World:
        after = self._now(world, number, Worker("claims", slot, seq))
        if not self.rules.acks_last:
            return self._dropped(after, number)
        return self._held_by(after, slot, number + 1)

    def _claims(self, world: World, number: int, me: Worker, name: str) -> Iterator[Step]:
        # A number of its own for each claim, as a token is: by the attempt it would begin.
        token = me.token or f"t{self._at(world).attempt + 1}"
        answer, after, wrong = self.desk.claim(world.job, me.number, token)
        claimed = world._replace(job=after)
        if isinstance(answer, Claimed):
            holds = Worker("holds", me.slot, answer.lease.attempt, token)
            yield Step(f"{name} claims", self._hinted(self._now(claimed, number, holds)), False, wrong)
            if world.lost and not me.token:
                in_doubt = self._now(claimed, number, me._replace(token=token))._replace(lost=world.lost - 1)
                yield Step(f"{name} claims; the answer is lost", in_doubt, True, wrong)
            return
        refused = self._now(claimed, number, Worker("refused", me.slot, after, answer.why))
        yield Step(f"{name} is refused: {answer.why}", refused, False, wrong)

    def _refused(self, world: World, number: int, me: Worker, name: str) -> Iterator[Step]:
        if me.token == Refusal.ENDED:
            does = "tells" if self.rules.tells_again else "drops"
            yield Step(f"{name} finds it ended", self._now(world, number, Worker(does, me.slot)))
        elif me.token == Refusal.STALE:
            yield Step(f"{name} drops the stale message", self._left(self._dropped(world, number), number))
        elif me.token == Refusal.SPENT:
            _, after, wrong = self.desk.give_up(world.job, me.number)
            given = world._replace(job=after)
            if self.desk.jobs[after].state in TERMINAL:
                given = self._now(given, number, Worker("tells", me.slot))
            else:
                given = self._let_go(given, number, HIDDEN)
            yield Step(f"{name} gives the job up", given, False, wrong)
        elif self.rules.gives_back:
            yield Step(f"{name} leaves the message for later", self._let_go(world, number, HIDDEN))
        else:
            yield Step(f"{name} drops the message of another's job", self._left(self._dropped(world, number), number))

    def _holds(self, world: World, number: int, me: Worker, name: str) -> Iterator[Step]:
        yield from self._beats(world, me, number, name)
        for verb in (
            (Verb.COMMIT, Verb.FAIL, Verb.RETRY, Verb.RELEASE)
            if self.budgets.fails
            else (Verb.COMMIT, Verb.RETRY, Verb.RELEASE)
        ):
            yield from self._writes(world, number, me, name, verb)

    def _beats(self, world: World, me: Worker, number: int, name: str) -> Iterator[Step]:
        kept, after, wrong = self.desk.worker_asks(world.job, Verb.HEARTBEAT, self._lease(me))
        if not kept:
            yield Step(f"{name} learns that its lease is lost", self._now(world, number, me._replace(does="lost")))
        elif after != world.job or wrong:
            yield Step(f"{name} renews its lease", world._replace(job=after), False, wrong)

    def _writes(self, world: World, number: int, me: Worker, name: str, verb: Verb) -> Iterator[Step]:
        if verb is Verb.RELEASE:
            if not world.releases:
                return
            world = world._replace(releases=world.releases - 1)
        if verb is Verb.RETRY and self._at(world).budget_left <= 0:
            return  # the worker fails it instead
        yield from self._written(world, number, me, name, verb)
        if world.lost:
            _, after, wrong = self.desk.worker_asks(world.job, verb, self._lease(me))
            in_doubt = self._now(
                world._replace(job=after, lost=world.lost - 1), number, me._replace(does=f"doubts {verb}")
            )
            yield Step(f"{name} writes {verb}; the answer is lost", in_doubt, True, wrong)

    def _written(self, world: World, number: int, me: Worker, name: str, verb: Verb) -> Iterator[Step]:
        kept, after, wrong = self.desk.worker_asks(world.job, verb, self._lease(me))
        written = world._replace(job=after)
        if not kept:
            yield Step(f"{name} may not {verb}", self._now(written, number, me._replace(does="lost")), False, wrong)
        elif verb in (Verb.COMMIT, Verb.FAIL):
            does = "tells" if self.rules.tells_before_ack else "drops first"
            yield Step(f"{name}: {verb}", self._now(written, number, Worker(does, me.slot)), False, wrong)
        else:
            yield Step(f"{name}: {verb}", self._now(written, number, Worker("frees", me.slot)), False, wrong)

    def _lost(self, world: World, number: int, me: Worker, name: str) -> Iterator[Step]:
        if self._at(world).state in TERMINAL:
            yield Step(f"{name} finds that it ended", self._now(world, number, Worker("tells", me.slot)))
        else:
            yield Step(f"{name} gives way", self._let_go(world, number, HIDDEN))

    def _frees(self, world: World, number: int, me: Worker, name: str) -> Iterator[Step]:
        yield Step(f"{name} gives the message back", self._hinted(self._let_go(world, number, NOBODY)))

    def _tells(self, world: World, number: int, me: Worker, name: str) -> Iterator[Step]:
        yield Step(f"{name} hints", self._hinted(self._now(world, number, Worker("drops", me.slot))))

    def _drops(self, world: World, number: int, me: Worker, name: str) -> Iterator[Step]:
        yield Step(f"{name} deletes the message", self._left(self._dropped(world, number), number))

    def _drops_first(self, world: World, number: int, me: Worker, name: str) -> Iterator[Step]:
        after = self._now(self._dropped(world, number), number, Worker("tells last"))
        yield Step(f"{name} deletes the message", after)

    def _tells_last(self, world: World, number: int, me: Worker, name: str) -> Iterator[Step]:
        yield Step(f"{name} hints", self._hinted(self._left(world, number)))
