"""
Bring the number of rented machines to what the work needs, once a minute.

A round reads everything anew, writes down what it is about to do, and only then does it. The write names the version
that was read: of two rounds at once one goes on. A round that dies after it leaves an order whose outcome is unknown;
for `SETTLE_MS` it counts as if it had been granted, so nothing is ordered twice.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from chalicelib.contract.card import Seen
from chalicelib.contract.counts import Counts, Metric
from chalicelib.contract.errors import Rejected, Unavailable
from chalicelib.contract.pool import Machine, Pool
from chalicelib.scale_memory import Book, Memory, Note, Order, Sight, Terms, Work, remembered
from chalicelib.scale_purse import budget_left
from chalicelib.scale_sight import observe, past_of
from chalicelib.scale_trust import closed_for, judge, may_have
from chalicelib.scaling import LAST_CALL_S, USEFUL_S, Decision, Policy, Rented, Standing, decide

log = logging.getLogger(__name__)

GAP_MS: Final = 30_000
"""Between two rounds. The schedule's minute is about a minute."""


@dataclass(frozen=True)
class Lender:
    """Hold a pool and what its machines cost. The first lender is asked first, the next for what it does not have."""

    name: str
    pool: Pool
    terms: Terms


@dataclass(frozen=True)
class Round:
    """Say what a round did, for the log."""

    action: str
    before: int = 0
    after: int = 0
    reason: str = ""
    day_spent: float = 0.0


class Listener(Protocol):
    """Hear what a renter tells of its machines (`chalicelib.ec2_pool.Ec2Pool`)."""

    def note_event(self, kind: str, detail: Mapping[str, object]) -> None:
        """Note an event."""


@dataclass(frozen=True)
class Turns:
    """Take what wakes the function: the schedule's minute is a round, an event of EC2 Auto Scaling is noted."""

    scale: Scale
    listeners: Sequence[Listener] = ()

    def take(self, kind: str, detail: Mapping[str, object]) -> None:
        """Take one. Raises `Unavailable` for an event that could not be noted: it is delivered again."""
        if kind.startswith("EC2 Instance "):
            for listener in self.listeners:
                listener.note_event(kind, detail)
        else:
            self.scale.round()


class Scale:
    """
    Make a round. *read_work* and *read_cards* read what is; both raise `Unavailable`. *tell* hears sentences that
    somebody should read.
    """

    def __init__(
        self,
        lenders: Sequence[Lender],
        policy: Policy,
        book: Book,
        read_work: Callable[[int], Work],
        read_cards: Callable[[], Sequence[Seen]],
        counts: Counts,
        tell: Callable[[Sequence[str]], None],
        now_ms: Callable[[], int],
    ) -> None:
        self._lenders = {lender.name: lender for lender in lenders}
        self._terms = {lender.name: lender.terms for lender in lenders}
        self._policy = policy
        self._book = book
        self._read_work = read_work
        self._read_cards = read_cards
        self._counts = counts
        self._tell_others = tell
        self._now_ms = now_ms
        self._version = 0
        self._silent: dict[str, str] = {}

    def round(self) -> Round:
        """Make one round. Nothing is raised for what may work in the next one; the log says why nothing was done."""
        try:
            made = self._round()
        except Unavailable as reason:
            made = Round("scale later", reason=reason.message)
            log.warning("scale later", extra={"action": "scale later", "reason": reason.message})
        return made

    def _round(self) -> Round:
        page, now = self._book.read(), self._now_ms()
        if now - page.memory.round_at < GAP_MS:
            return Round("scale twice", reason="A round was made just now.")
        self._version = page.version
        machines = self._machines(page.memory)
        sight = Sight(now, machines, self._read_cards(), self._read_work(now))
        memory, fleet = observe(page.memory, sight, self._policy, self._terms)
        memory, untrusted = judge(page.memory.notes, memory, fleet, now)
        decision = decide(self._policy, sight.work.load, fleet, past_of(memory, self._policy, self._terms, now))
        dead = {each.id for each in fleet if each.standing is Standing.DEAD}
        decision = replace(decision, alerts=(*decision.alerts, *untrusted))
        memory = memory.model_copy(update={"reason": decision.reason, "notes": _given_back(memory, decision, now)})
        stopped = {"stopped_at": now, "dead": memory.dead + len(dead & set(decision.stop))} if decision.stop else {}
        order = self._order(decision.start, memory, machines, now)
        memory = memory.model_copy(update=stopped) if order is None else _with(memory, order, now, stopped)
        if not self._write(memory):
            return Round("scale twice", reason="Another round was faster.")
        self._stop(decision, fleet)
        granted = self._start(decision.start, memory, order, machines, now)
        return self._tell(memory, fleet, decision, granted)

    def _machines(self, memory: Memory) -> dict[str, list[Machine]]:
        """Read each pool by itself. What a silent one had counts as being there still, and nothing is ordered of it."""
        machines, self._silent = {}, {}
        for name, lender in self._lenders.items():
            try:
                machines[name] = lender.pool.machines()
            except (Unavailable, Rejected) as reason:
                log.error("pool silent", extra={"action": "pool silent", "pool": name, "reason": reason.message})
                machines[name], self._silent[name] = remembered(memory, name), reason.message
        return machines

    def _order(
        self, count: int, memory: Memory, machines: Mapping[str, Sequence[Machine]], now: int, after: str = ""
    ) -> Order | None:
        """Choose the first pool that may be asked (behind *after*); None: there is nothing to order, or nowhere."""
        names = list(self._lenders)
        for name in names[names.index(after) + 1 if after else 0 :] if count else ():
            closed, most = memory.closed.get(name), may_have(memory, name)
            if name not in self._silent and most != 0 and (closed is None or closed.until <= now):
                known = tuple(machine.id for machine in machines[name])
                return Order(pool=name, at=now, count=min(count, most or count), known=known)
        return None

    def _write(self, memory: Memory) -> bool:
        if not self._book.write(memory, self._version):
            return False
        self._version += 1
        return True

    def _stop(self, decision: Decision, fleet: Sequence[Rented]) -> None:
        for name, lender in self._lenders.items():
            ids = [each.id for each in fleet if each.pool == name and each.id in decision.stop]
            try:
                if ids:
                    lender.pool.stop(ids)
            except (Unavailable, Rejected) as reason:
                # They are still listed in the next round, which decides again.
                log.warning("machines not stopped", extra={"pool": name, "reason": reason.message})

    def _start(
        self,
        count: int,
        memory: Memory,
        order: Order | None,
        machines: Mapping[str, Sequence[Machine]],
        now: int,
    ) -> int:
        """Ask one pool after the other for what is missing; each order is in the book before it is made."""
        total = 0
        while order is not None:
            granted = self._ask(order)
            if granted is None:
                return total
            total += granted
            memory = _settled(memory, order, granted, now)
            order = self._order(count - total, memory, machines, now, after=order.pool)
            if order is not None:
                memory = _with(memory, order, now, {})
            if not self._write(memory):
                # Another round has taken over, although this one is not over: it sees what was granted here.
                return total
        return total

    def _ask(self, order: Order) -> int | None:
        """Order; answer how many were granted, None: nobody knows."""
        try:
            return self._lenders[order.pool].pool.start(order.count)
        except Unavailable as reason:
            log.warning("order in doubt", extra={"pool": order.pool, "count": order.count, "reason": reason.message})
            return None
        except Rejected as reason:
            extra = {"action": "scale refused", "pool": order.pool, "reason": reason.message}
            log.error("order refused", extra=extra)
            return 0

    def _tell(self, memory: Memory, fleet: Sequence[Rented], decision: Decision, granted: int) -> Round:
        """Write the round's line, its alerts and its figures."""
        before = sum(each.standing is not Standing.STOPPING for each in fleet)
        after = before - len(decision.stop) + granted
        reason = decision.reason
        if decision.start > granted:
            reason += f" Only {granted} of {decision.start} were granted: no pool has more now."
        for pool, why in self._silent.items():
            reason += f" {pool} is not looked after: {why}"
        for alert in decision.alerts:
            log.warning("scale alert", extra={"action": "scale alert", "reason": alert})
        if decision.alerts:
            self._tell_others(decision.alerts)
        left, _ = budget_left(memory, self._policy)
        told = {"before": before, "after": after, "needed": decision.needed, "reason": reason}
        spent = {"day_dollars": round(memory.day_spent, 2), "month_dollars": round(memory.month_spent, 2)}
        log.info("scale", extra={"action": "scale", **told, **spent})
        self._counts.add(Metric.SCALES, float(not self._silent))
        self._counts.add(Metric.MACHINES, float(after))
        self._counts.add(Metric.MACHINES_NEEDED, float(decision.needed))
        self._counts.add(Metric.MACHINES_DEAD, float(sum(each.standing is Standing.DEAD for each in fleet)))
        self._counts.add(Metric.DOLLARS_TODAY, memory.day_spent)
        # Machines go while there is something left (LAST_CALL_S): spent is what pays for no further one.
        dearest = max(each.hour_price for each in self._terms.values())
        self._counts.add(Metric.DOLLARS_SPENT, float(left < dearest * (USEFUL_S + LAST_CALL_S) / 3600))
        return Round("scale", before, after, reason, memory.day_spent)


def _given_back(memory: Memory, decision: Decision, now: int) -> dict[str, Note]:
    """Note who is given back: such a machine does not go by itself."""
    ending = {"ending_since": now}
    return {
        name: note.model_copy(update=ending) if name in decision.stop and not note.ending_since else note
        for name, note in memory.notes.items()
    }


def _with(memory: Memory, order: Order, now: int, changed: Mapping[str, object]) -> Memory:
    return memory.model_copy(update={**changed, "orders": (*memory.orders, order), "started_at": now})


def _settled(memory: Memory, order: Order, granted: int, now: int) -> Memory:
    """Note how an order came out: what was granted is awaited; a pool that gave less than all is left alone a while."""
    others = tuple(each for each in memory.orders if each != order)
    orders = (*others, order.model_copy(update={"granted": granted})) if granted else others
    closed = {name: each for name, each in memory.closed.items() if name != order.pool}
    if granted < order.count:
        times = memory.closed[order.pool].times + 1 if order.pool in memory.closed and not granted else 1
        closed[order.pool] = closed_for(times, now)
    return memory.model_copy(update={"orders": orders, "closed": closed})
