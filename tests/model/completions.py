"""Say what a completion may do next: read, write the row, note it, or die."""

from __future__ import annotations

from collections.abc import Iterator

from tests.model.part import Part
from tests.model.world import NONE, RESTS, Completion, Step, World


class Completions(Part):
    """Be the two completions that may run at a time."""

    def steps(self, world: World, number: int) -> Iterator[Step]:
        me, name = world.completions[number], f"completion {number + 1}"
        if me.does == "idle":
            yield from self._completion_takes(world, number, name)
            return
        if world.crashes:
            after = self._returned(self._does(world, number, RESTS), me)._replace(crashes=world.crashes - 1)
            yield Step(f"{name} dies", after, is_fault=True)
        if me.owns and world.expiries and not me.is_check:
            late = self._returned(self._does(world, number, me._replace(owns=False)), me)
            yield Step(f"{name} is taken for dead", late._replace(expiries=world.expiries - 1), is_fault=True)
        if me.does == "read":
            row, note = self.desk.show(me.seen, world.row, check=me.is_check)
            after = self._does(world, number, me._replace(does="wrote", note=note) if note else RESTS)
            yield Step(f"{name} writes {dict(self.desk.rows[row])['Status']!r}", after._replace(row=row))
        elif me.note is not None:
            look_at, gone = me.note
            if not self.rules.looks_twice:
                look_at = None
            _, job, wrong = self.desk.note_shown(world.job, me.seen, look_at, gone)
            yield Step(f"{name} notes it as shown", self._does(world, number, RESTS)._replace(job=job), False, wrong)

    def _completion_takes(self, world: World, number: int, name: str) -> Iterator[Step]:
        other = world.completions[1 - number]
        if self.rules.one_writer and other.owns:
            return
        if world.completions == (RESTS, RESTS) and number == 1:
            return  # the two are alike: the first begins
        if world.hints:
            payload, left = world.hints[0], world.hints[1:]
            me = Completion(world.job if payload == NONE else payload, "read", owns=True)
            yield Step(f"{name} takes a hint and reads", self._does(world, number, me)._replace(hints=left))
        if world.checks:
            me = Completion(world.job, "read", is_check=True, owns=True)
            yield Step(f"{name} looks a second time", self._does(world, number, me)._replace(checks=world.checks - 1))
