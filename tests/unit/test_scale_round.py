"""Judge the autoscaler's round: what it reads, in which order it writes and acts, and what a lost answer costs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

import pytest

from bench.scale_world import MIDNIGHT, MemoryBook
from chalicelib.contract.card import Seen, ServerCard
from chalicelib.contract.counts import Metric
from chalicelib.contract.errors import Rejected, Unavailable
from chalicelib.contract.pool import Machine, MachineState
from chalicelib.scale import Lender, Scale, Turns
from chalicelib.scale_memory import Terms, Work
from chalicelib.scale_trust import UNMEASURED_S
from chalicelib.scaling import Load, Policy

MINUTE = 60_000
POLICY = Policy(most=5, target_wait_s=300, idle_s=300, job_s=60, day_dollars=10)


@dataclass
class PaperPool:
    """Rent machines on paper. *stock* bounds how many there are; *fault* is raised after the order was carried out."""

    name: str = "p"
    stock: int = 100
    fault: Exception | None = None
    silent: Exception | None = None
    """Raised instead of any answer, nothing being done."""
    late: bool = False
    """Machines are listed only when this is set to False again."""
    rented: list[Machine] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)
    given_back: list[str] = field(default_factory=list)
    clock: Callable[[], int] = lambda: MIDNIGHT
    made: int = 0

    def machines(self) -> list[Machine]:
        if self.silent is not None:
            raise self.silent
        return [] if self.late else list(self.rented)

    def start(self, count: int) -> int:
        self.asked.append(count)
        granted = min(count, self.stock - len(self.rented))
        for _ in range(granted):
            name = f"{self.name}{self.made}"
            self.made += 1
            self.rented.append(Machine(name, MachineState.STARTING, self.clock(), hour_price=0.5))
        if self.fault is not None:
            raise self.fault
        return granted

    def stop(self, ids: Collection[str]) -> None:
        if self.silent is not None:
            raise self.silent
        self.given_back += sorted(ids)
        self.rented = [each for each in self.rented if each.id not in ids]


class Shop:
    """Hold what a round reads, and a clock that is moved by hand."""

    def __init__(self, *pools: PaperPool, policy: Policy = POLICY) -> None:
        self.pools = pools or (PaperPool(),)
        for pool in self.pools:
            pool.clock = lambda: self.now
        self.book = MemoryBook()
        self.load = Load()
        self.in_hand: dict[str, int] = {}
        self.cards: list[Seen] | None = []
        self.alerts: list[str] = []
        self.gauges: dict[str, float] = {}
        self.now = MIDNIGHT
        lenders = [Lender(pool.name, pool, Terms(0.5)) for pool in self.pools]
        self.scale = Scale(lenders, policy, self.book, self.work, self.seen, self, self.alerts.extend, lambda: self.now)

    def work(self, _now: int) -> Work:
        return Work(self.load, self.in_hand)

    def seen(self) -> Sequence[Seen]:
        if self.cards is None:
            raise Unavailable("The workers' cards cannot be read.")
        return self.cards

    def add(self, metric: Metric, value: float = 1) -> None:
        self.gauges[metric] = value

    def minutes(self, count: int = 1) -> str:
        """Make a round a minute; the last one's reason."""
        reason = ""
        for _ in range(count):
            reason = self.scale.round().reason
            self.now += MINUTE
        return reason

    def show(self, *names: str, running: int = 0, done: int = 0) -> None:
        """Put fresh cards on the table, and no others."""
        self.cards = [Seen(name, self.now, (ServerCard(name=name, running=running),), jobs_done=done) for name in names]


def waiting(count: int) -> Load:
    return Load(count, count * 60.0)


def test_an_order_whose_answer_got_lost_is_not_repeated() -> None:
    """It was carried out: the machines are listed a moment later, and until then count as ordered."""
    pool = PaperPool(fault=Unavailable("no answer"), late=True)
    shop = Shop(pool)
    shop.load = waiting(6)
    shop.minutes(2)
    assert pool.asked == [2]
    pool.late = False
    shop.minutes(5)
    assert pool.asked == [2] and len(pool.rented) == 2


def test_an_order_that_came_to_nothing_lapses() -> None:
    """When nothing was carried out either, it is made anew after two and a half minutes."""
    pool = PaperPool(stock=0, fault=Unavailable("no answer"))
    shop = Shop(pool)
    shop.load = waiting(6)
    shop.minutes(3)
    assert pool.asked == [2]
    pool.stock, pool.fault = 9, None
    shop.minutes(2)
    assert pool.asked == [2, 2] and len(pool.rented) == 2


def test_of_two_rounds_at_once_one_acts() -> None:
    """Both read the same page; the one that writes second does nothing."""
    pool = PaperPool()
    shop, other = Shop(pool), Shop(pool)
    other.book = shop.book
    other.scale = Scale(
        [Lender("p", pool, Terms(0.5))], POLICY, shop.book, other.work, other.seen, other, list.clear, lambda: shop.now
    )
    shop.load = other.load = waiting(6)

    def meanwhile(_now: int) -> Work:
        """Let the other round go by between this one's reading and writing."""
        other.scale.round()
        return Work(shop.load)

    first = Scale(
        [Lender("p", pool, Terms(0.5))], POLICY, shop.book, meanwhile, shop.seen, shop, list.clear, lambda: shop.now
    )
    assert first.round().action == "scale twice"
    assert pool.asked == [2]


def test_a_second_round_in_the_same_minute_does_nothing() -> None:
    """A schedule may strike twice."""
    shop = Shop()
    shop.load = waiting(6)
    shop.scale.round()
    shop.now += 5_000
    assert shop.scale.round().action == "scale twice"
    assert shop.pools[0].asked == [2]


def test_what_one_pool_does_not_have_is_asked_of_the_next() -> None:
    """In the same round; and the first is left alone for a while."""
    spot, dear = PaperPool("s", stock=1), PaperPool("d")
    shop = Shop(spot, dear)
    shop.load = waiting(12)
    shop.minutes()
    assert (spot.asked, dear.asked) == ([4], [3])
    assert shop.book.read().memory.closed["s"].until > shop.now


def test_a_pool_without_stock_is_asked_less_and_less_often() -> None:
    """After two minutes, five, ten, fifteen."""
    pool = PaperPool(stock=0)
    shop = Shop(pool)
    shop.load = waiting(6)
    asked_at = []
    for minute in range(40):
        before = len(pool.asked)
        shop.minutes()
        asked_at += [minute] * (len(pool.asked) - before)
    assert asked_at == [0, 2, 7, 17, 32]


def test_a_wrong_order_is_told_and_leaves_no_trace() -> None:
    """Nothing is awaited, and the pool is left alone for a while."""
    pool = PaperPool(stock=0, fault=Rejected("no", "Your key is wrong."))
    shop = Shop(pool)
    shop.load = waiting(1)
    reason = shop.minutes()
    assert "Only 0 of 1 were granted" in reason
    assert shop.book.read().memory.orders == () and shop.book.read().memory.closed["p"].times == 1


def test_nothing_is_done_when_the_cards_cannot_be_read() -> None:
    """No card read is not no worker there: else a fault of the table would give back every machine as dead."""
    shop = Shop()
    shop.load = waiting(1)
    shop.minutes()
    shop.show("p0")
    shop.minutes()
    shop.cards = None
    assert shop.minutes(30) == "The workers' cards cannot be read."
    assert shop.pools[0].given_back == []


@pytest.mark.parametrize("fault", [Unavailable("RunPod cannot be reached."), Rejected("bad_key", "The key is wrong.")])
def test_a_pool_that_does_not_answer_does_not_stop_the_others(fault: Exception) -> None:
    """Its machines cost on and count; the other's are given back and ordered. The round does not count as finished."""
    far, near = PaperPool("far", stock=1), PaperPool("near")
    shop = Shop(far, near)
    shop.load = waiting(6)
    shop.minutes()
    assert (len(far.rented), len(near.rented)) == (1, 1) and shop.gauges["Scales"] == 1
    far.silent, shop.load = fault, Load()
    for _ in range(9):
        shop.show("far0", "near0")
        reason = shop.minutes()
    assert near.given_back == ["near0"] and shop.gauges["Machines"] <= 1 and shop.gauges["Scales"] == 0
    assert "far is not looked after" in reason
    spent = shop.book.read().memory.day_spent
    shop.load = waiting(12)
    for _ in range(3):
        shop.show("far0")
        shop.minutes()
    assert len(near.rented) == 3 and far.asked == [2]
    assert shop.book.read().memory.day_spent > spent
    far.silent, shop.load = None, Load()
    for _ in range(9):
        shop.show(*[each.id for each in (*far.rented, *near.rented)])
        shop.minutes()
    assert far.rented == near.rented == [] and shop.gauges["Scales"] == 1


def test_the_cap_is_kept_while_a_pool_does_not_answer() -> None:
    """What can be given back is, though what a silent pool has goes on costing."""
    far, near = PaperPool("far", stock=1), PaperPool("near")
    shop = Shop(far, near, policy=Policy(most=3, target_wait_s=300, idle_s=300, job_s=60, day_dollars=1))
    shop.load = waiting(60)
    shop.minutes()
    far.silent = Unavailable("no answer")
    for _ in range(4 * 60):
        shop.show(*[each.id for each in (*far.rented, *near.rented)], running=1)
        shop.minutes()
    assert near.rented == [] and shop.pools[0].given_back == []


def test_a_start_is_measured() -> None:
    """From the order to the worker's first card; later ones count by a third."""
    shop = Shop()
    shop.load = waiting(1)
    shop.minutes(2)
    shop.show("p0")
    shop.minutes()
    assert shop.book.read().memory.boot_s == 120


def test_a_machine_without_a_sign_is_given_back_as_dead() -> None:
    """After half an hour while no start was measured; it is told, counted, and another one is ordered."""
    shop = Shop()
    shop.load = waiting(1)
    shop.minutes(int(UNMEASURED_S // 60) + 2)
    assert shop.pools[0].given_back == ["p0"] and [each.id for each in shop.pools[0].rented] == ["p1"]
    assert "p0 costs $0.50 an hour" in shop.alerts[0]
    assert shop.book.read().memory.dead == 1 and shop.gauges["MachinesDead"] == 1


@pytest.mark.parametrize("boot_minutes", [11, 20, 50])
def test_a_start_that_takes_long_comes_up_and_is_measured(boot_minutes: int) -> None:
    """A first installation takes a quarter of an hour and more; nobody gives such machines back one after the other."""
    shop = Shop(policy=Policy(most=4, idle_s=300, day_dollars=100))
    (pool,) = shop.pools
    shop.load = waiting(40)
    for _ in range(6 * 60):
        up = [each.id for each in pool.rented if shop.now - each.started_at >= boot_minutes * MINUTE]
        shop.show(*up, running=1)
        shop.in_hand = dict.fromkeys(up, 1)
        shop.minutes()
    assert len(up) == 4 and pool.made <= 12
    assert shop.book.read().memory.boot_s == pytest.approx(boot_minutes * 60, rel=0.4)


def test_machines_that_leave_by_themselves_before_they_work_are_not_ordered_without_end() -> None:
    """After three in a row the pool is left alone, longer each time, and then tried with one; it is told."""
    shop = Shop(policy=Policy(most=4, idle_s=300, day_dollars=100))
    (pool,) = shop.pools
    shop.load = waiting(40)
    for _ in range(10 * 60):
        pool.rented = [each for each in pool.rented if shop.now - each.started_at < 3 * MINUTE]
        shop.minutes()
    assert pool.made < 45 and set(pool.asked[3:]) == {1}
    assert "4 machines of p in a row" in shop.alerts[0] and "tried with one" in shop.alerts[0]
    for _ in range(30):
        shop.show(*[each.id for each in pool.rented], running=1)
        shop.minutes()
    assert len(pool.rented) == 4 and shop.book.read().memory.failures == {}


def test_machines_that_never_show_themselves_are_tried_one_by_one() -> None:
    """Four at first; when they were dead, one an hour."""
    shop = Shop(policy=Policy(most=4, idle_s=300, day_dollars=100))
    shop.load = waiting(40)
    shop.minutes(10 * 60)
    assert shop.pools[0].made <= 4 + 10
    assert any("in a row" in alert for alert in shop.alerts)


def test_the_next_pool_is_asked_for_what_a_distrusted_one_may_not_have() -> None:
    """One machine on trial here, the rest there."""
    bad, good = PaperPool("bad"), PaperPool("good")
    shop = Shop(bad, good, policy=Policy(most=4, idle_s=300, day_dollars=100))
    shop.load = waiting(40)
    for _ in range(60):
        bad.rented = [each for each in bad.rented if shop.now - each.started_at < 3 * MINUTE]
        shop.show(*[each.id for each in good.rented], running=1)
        shop.minutes()
    assert len(good.rented) == 4 and good.given_back == []


def test_a_worker_that_fell_silent_with_a_job_in_hand_is_left() -> None:
    """Its lease still runs: the ledger says that it works. Ten minutes after the last job it is given back."""
    shop = Shop()
    shop.load = waiting(1)
    shop.minutes(2)
    shop.show("p0")
    shop.minutes()
    shop.cards, shop.in_hand, shop.load = [], {"p0-1": 1}, Load(running=1, running_left_s=900)
    shop.minutes(20)
    assert shop.pools[0].given_back == []
    shop.in_hand = {}
    shop.minutes(12)
    assert shop.pools[0].given_back == ["p0"]


def test_a_worker_whose_card_cannot_be_read_is_not_given_back_between_two_jobs() -> None:
    """It had one in hand a minute ago; after ten minutes without card and job it is dead."""
    shop = Shop(policy=Policy(most=1, idle_s=300, day_dollars=10))
    (pool,) = shop.pools
    shop.load = waiting(100)
    shop.minutes(3)
    for minute in range(60):
        shop.in_hand = {"p0": 1} if minute % 8 != 7 else {}
        shop.load = Load(100, 2000.0, 1, 10.0)
        shop.minutes()
    assert pool.given_back == []
    shop.in_hand = {}
    shop.minutes(12)
    assert pool.given_back == ["p0"]


def test_idle_machines_go_and_zero_is_reached() -> None:
    """Ordered, used, idle for five minutes, gone; and what was spent is known."""
    shop = Shop()
    shop.load = waiting(1)
    shop.minutes(2)
    shop.load = Load()
    for _ in range(8):
        shop.show("p0")
        shop.minutes()
    assert shop.pools[0].rented == [] and shop.gauges["Machines"] == 0
    assert 0.05 < shop.book.read().memory.day_spent < 0.1


def test_jobs_done_between_two_looks_count_as_work() -> None:
    """A machine that did short jobs is not idle though no card ever showed one running."""
    shop = Shop()
    shop.load = waiting(1)
    shop.minutes(2)
    shop.load = Load()
    for done in range(12):
        shop.show("p0", done=done)
        shop.minutes()
    assert shop.book.read().memory.notes["p0"].idle_since == 0


def test_a_new_day_has_a_new_budget() -> None:
    """The month's is not new; what runs over midnight is paid by both days, each its part."""
    shop = Shop(policy=Policy(most=1, day_dollars=10, month_dollars=10, least=1))
    shop.now = MIDNIGHT + 86_400_000 - 2 * MINUTE
    shop.minutes()
    shop.pools[0].rented = [Machine("p0", MachineState.RUNNING, shop.now - MINUTE, hour_price=6.0)]
    for _ in range(4):
        shop.show("p0", running=1)
        shop.minutes()
    memory = shop.book.read().memory
    assert memory.day == "2026-11-22"
    assert memory.day_spent == pytest.approx(0.2, abs=0.01)
    assert memory.month_spent == pytest.approx(0.4, abs=0.01)


def test_a_spent_budget_is_counted_although_machines_went_before_it() -> None:
    """The alarm rings when nothing more can be rented; what is left then is not nothing."""
    shop = Shop(policy=Policy(most=1, day_dollars=0.05))
    shop.load = waiting(1)
    shop.minutes()
    assert shop.gauges["DollarsSpent"] == 1 and shop.pools[0].asked == []
    rich = Shop()
    rich.minutes()
    assert rich.gauges["DollarsSpent"] == 0


def test_jobs_that_no_machine_can_do_keep_none() -> None:
    """A job that waits while a machine idles is told; the machine goes, and no other comes for that job."""
    shop = Shop()
    shop.load = waiting(1)
    shop.minutes(2)
    for _ in range(20):
        if shop.pools[0].rented:
            shop.show("p0")
        shop.minutes()
    assert shop.pools[0].asked == [1] and shop.pools[0].given_back == ["p0"]
    assert any("1 jobs wait while machines idle" in alert for alert in shop.alerts)
    shop.load = waiting(2)
    shop.minutes()
    assert shop.pools[0].asked == [1, 1]


def test_jobs_that_no_machine_could_do_are_tried_again_with_one() -> None:
    """After half an hour: the image was mended, or others wait in their place. Once some are taken all are served."""
    shop = Shop(policy=Policy(most=4, idle_s=300, day_dollars=100))
    (pool,) = shop.pools
    shop.load = waiting(40)
    for _ in range(30):
        shop.show(*[each.id for each in pool.rented])
        shop.minutes()
    assert pool.rented == [] and pool.made == 4
    shop.cards = []
    shop.minutes(25)
    assert len(pool.rented) == 1
    shop.load = Load(38, 38 * 60.0, 1, 60.0)
    for _ in range(3):
        shop.show(*[each.id for each in pool.rented], running=1)
        shop.minutes()
    assert len(pool.rented) == 4


@pytest.mark.parametrize("idle_s", [0, 30, 60])
def test_a_burst_is_not_stuck_because_a_machine_idled_before_it(idle_s: float) -> None:
    """However short the idle time: what came a minute ago was not refused by anybody."""
    shop = Shop(policy=Policy(least=1, most=8, idle_s=idle_s, day_dollars=100))
    (pool,) = shop.pools
    for _ in range(12):
        shop.show("p0")
        shop.minutes()
    shop.load = waiting(300)
    shop.show("p0")
    shop.minutes()
    assert len(pool.rented) == 8
    for done in range(8):
        shop.load = Load(300 - done, (300 - done) * 60.0, 1, 30.0)
        shop.show("p0", running=1, done=done)
        shop.minutes()
    assert len(pool.rented) == 8 and shop.book.read().memory.stuck == 0


def test_a_machine_that_never_ends_is_asked_again_and_costs_no_more() -> None:
    """A pod whose container exited is on its way out for ever: after a quarter of an hour it is given back again."""
    shop = Shop()
    shop.pools[0].rented = [Machine("old", MachineState.STOPPING, MIDNIGHT, hour_price=6.0)]
    shop.minutes(16)
    assert shop.pools[0].given_back == []
    shop.minutes(3)
    assert shop.pools[0].given_back == ["old"]
    assert shop.book.read().memory.day_spent == pytest.approx(1.5, abs=0.11)


@dataclass
class PaperListener:
    """Hear events."""

    heard: list[str] = field(default_factory=list)

    def note_event(self, kind: str, _detail: object) -> None:
        self.heard.append(kind)


def test_an_event_of_a_group_is_noted_and_makes_no_round() -> None:
    """Only the schedule's minute makes one."""
    shop, listener = Shop(), PaperListener()
    shop.load = waiting(1)
    turns = Turns(shop.scale, [listener])
    turns.take("EC2 Instance Launch Successful", {})
    assert listener.heard == ["EC2 Instance Launch Successful"] and shop.pools[0].asked == []
    turns.take("Scheduled Event", {})
    assert shop.pools[0].asked == [1]
