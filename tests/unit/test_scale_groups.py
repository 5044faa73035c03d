"""Judge whole rounds over EC2's groups on paper: what is rented, charged and said when a group does not do as told."""

from __future__ import annotations

from collections.abc import Sequence

from bench.scale_world import MIDNIGHT, MemoryBook
from chalicelib.contract.card import Seen, ServerCard
from chalicelib.contract.counts import Uncounted
from chalicelib.ec2_pool import Ec2Pool
from chalicelib.scale import Lender, Round, Scale
from chalicelib.scale_memory import Terms, Work
from chalicelib.scaling import Load, Policy
from tests.scale_fakes import MemoryGroups, PaperGroup

MINUTE = 60_000
NOON = MIDNIGHT + 12 * 60 * MINUTE


class Shop:
    """Hold groups with the autoscaler before them; *mosts* are their own. A machine costs $1 an hour."""

    def __init__(self, policy: Policy, **mosts: int) -> None:
        self.now = NOON
        self.load = Load()
        self.cards: list[Seen] = []
        self.alerts: list[str] = []
        self.groups = {name: PaperGroup(name, lambda: self.now, most) for name, most in mosts.items()}
        book = MemoryGroups()
        pools = {
            name: Ec2Pool(group, book, name, lambda: self.cards, lambda: self.now)
            for name, group in self.groups.items()
        }
        for name, group in self.groups.items():
            group.listen = pools[name].note_event
        self.scale = Scale(
            [Lender(name, pool, Terms(1.0, 60)) for name, pool in pools.items()],
            policy,
            MemoryBook(),
            self.work,
            lambda: self.cards,
            Uncounted(),
            self.alerts.extend,
            lambda: self.now,
        )

    def work(self, _now: int) -> Work:
        return Work(self.load, {card.worker: 1 for card in self.cards})

    def rented(self) -> list[int]:
        return [len(group.instances) for group in self.groups.values()]

    def render(self, names: Sequence[str]) -> None:
        """Have these machines be at work."""
        self.cards = [Seen(name, self.now, (ServerCard(name=name, running=1),)) for name in names]

    def minute(self) -> Round:
        made = self.scale.round()
        self.now += MINUTE
        return made


POLICY = Policy(most=4, target_wait_s=300, idle_s=300, day_dollars=20)


def test_groups_that_allow_less_than_the_most_give_what_they_have() -> None:
    """Two and one of four: three machines are rented, and no more are counted or paid for."""
    shop = Shop(POLICY, spot=2, dear=1)
    shop.load = Load(400, 24_000.0)
    for _ in range(10):
        made = shop.minute()
    assert shop.rented() == [2, 1]
    assert made.after == 3 and 0.3 < made.day_spent <= 0.5


def test_a_lost_spot_machine_is_paid_for_once_and_its_replacement_awaited() -> None:
    """The group launches another by itself: it is on its way since the loss, not since the order hours ago."""
    shop = Shop(POLICY, spot=4)
    spot = shop.groups["spot"]
    shop.load = Load(1, 60.0, 1, 30.0)
    shop.minute()
    for _ in range(240):
        shop.render(spot.instances)
        before = shop.minute()
    launch = spot.settle
    spot.settle = lambda: None  # type: ignore[method-assign]
    spot.lose(spot.instances[0])
    for _ in range(3):
        shop.render(spot.instances)
        made = shop.minute()
    assert made.day_spent - before.day_spent < 0.1 and spot.desired == 1 and shop.alerts == []
    launch()
    shop.render(spot.instances)
    assert shop.minute().after == 1 and len(spot.instances) == 1
