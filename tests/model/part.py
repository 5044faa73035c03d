"""What every part of the model does to a world: a message comes and goes, a hand takes and leaves."""

from __future__ import annotations

from chalicelib.contract.job import Job
from chalicelib.contract.ports import Lease
from tests.model.desk import Desk
from tests.model.world import IDLE, NOBODY, NONE, RESTS, Budgets, Completion, Rules, Worker, World


class Part:
    """Know the rules, the budgets, and the desk at which the product's own code is asked."""

    def __init__(self, rules: Rules, budgets: Budgets, desk: Desk) -> None:
        self.rules, self.budgets, self.desk = rules, budgets, desk

    def _at(self, world: World) -> Job:
        return self.desk.jobs[world.job]

    def _lease(self, me: Worker) -> Lease:
        return Lease(self.desk.jobs[0].job_id, me.number, me.token)

    def _now(self, world: World, number: int, me: Worker) -> World:
        first, second = world.workers
        return world._replace(workers=(me, second) if number == 0 else (first, me))

    def _does(self, world: World, number: int, me: Completion) -> World:
        first, second = world.completions
        pair = (me, second) if number == 0 else (first, me)
        return world._replace(completions=pair if pair != (RESTS, pair[1]) or pair[1] == RESTS else (pair[1], RESTS))

    def _returned(self, world: World, me: Completion) -> World:
        """Have the message of a completion visible again, if it is its own."""
        if not me.owns:
            return world
        if me.is_check:
            return world._replace(checks=1)
        return self._hinted(world, me.seen)

    def _hinted(self, world: World, seen: int | None = None) -> World:
        payload = NONE if self.rules.reads_anew else (world.job if seen is None else seen)
        if self.rules.reads_anew:
            return world._replace(hints=(payload,))
        return world if payload in world.hints else world._replace(hints=(*world.hints, payload)[:3])

    def _sent(self, world: World, numbers: tuple[int, ...]) -> World:
        queue = world.queue
        for seq in numbers:
            used = {slot for slot, _, _ in queue}
            slot = next(place for place in range(99) if place not in used)
            queue = tuple(sorted((*queue, (slot, seq, NOBODY))))
        return world._replace(queue=queue)

    def _held_by(self, world: World, slot: int, holder: int) -> World:
        return world._replace(queue=tuple((at, seq, holder if at == slot else who) for at, seq, who in world.queue))

    def _let_go(self, world: World, number: int, holder: int) -> World:
        """Have a worker idle, and its message hidden or visible; not if it has become another's."""
        me = world.workers[number]
        queue = tuple((at, seq, holder if at == me.slot and who == number + 1 else who) for at, seq, who in world.queue)
        return self._now(world._replace(queue=queue), number, IDLE)

    def _left(self, world: World, number: int) -> World:
        return self._now(world, number, IDLE)

    def _dropped(self, world: World, number: int) -> World:
        """Delete the message in a worker's hand, though another may have received it since: SQS may do so."""
        slot = world.workers[number].slot
        workers = tuple(me._replace(slot=NONE) if me.slot == slot else me for me in world.workers)
        queue = tuple(message for message in world.queue if message[0] != slot)
        return world._replace(queue=queue, workers=(workers[0], workers[1]))
