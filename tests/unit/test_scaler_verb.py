"""Judge what `python -m infra scaler` shows."""

from __future__ import annotations

from chalicelib.scale_memory import Closed, Memory, Note, Order
from infra.ec2.fleet import Group
from infra.ec2.verbs import recipe
from infra.scaler import lines_of
from tests.jobs import NOW

MINUTE = 60_000


def test_everything_that_costs_is_shown() -> None:
    """Machines and what they do, orders, pools that are not asked, dollars, and the last reason."""
    notes = {
        "i-a": Note(pool="spot", hour_price=0.5, paid_until=NOW, served_at=NOW, idle_since=NOW - MINUTE),
        "i-b": Note(pool="spot", hour_price=0.5, paid_until=NOW, served_at=NOW),
        "i-c": Note(pool="dear", hour_price=1.0, paid_until=NOW),
    }
    memory = Memory(
        round_at=NOW - 5000,
        day="2027-01-15",
        day_spent=3.126,
        month="2027-01",
        month_spent=40.0,
        boot_s=171.4,
        notes=notes,
        orders=(Order(pool="dear", at=NOW - MINUTE, count=2, known=()),),
        closed={"spot": Closed(until=NOW + 90_000, times=1), "old": Closed(until=NOW - 1, times=1)},
        reason="2 more: 9 jobs wait.",
    )
    text = "\n".join(lines_of(memory, NOW))
    for part in (
        "5 s ago",
        "2 more: 9 jobs wait.",
        "$3.13 on 2027-01-15, $40.00 in 2027-01",
        "171 s",
        "idle for 60 s",
        "at work",
        "its worker has not shown itself",
        "2 of dear, 60 s ago",
        "nobody knows how many were granted",
        "spot, which had too few, for 90 s more",
    ):
        assert part in text
    assert "old" not in text and "something is wrong" not in text


def test_a_silent_autoscaler_is_told() -> None:
    """No round for minutes; or none ever: then it is probably off."""
    assert "something is wrong" in lines_of(Memory(round_at=NOW - 10 * MINUTE), NOW)[0]
    assert "off until ScalePool is given" in lines_of(Memory(), NOW)[0]


def test_the_autoscaler_is_told_what_the_groups_allow() -> None:
    """Not more than both together; and without on-demand machines no second group is named."""
    spot, dear = Group("w", "spot", 0, 3, ()), Group("w-on-demand", "on-demand", 0, 1, ())
    assert "WorkerGroup=w --set WorkerGroupFallback=w-on-demand --set ScaleMax=4" in recipe("prod", [spot, dear])
    alone = recipe("prod", [spot])
    assert "ScaleMax=3" in alone and "WorkerGroupFallback" not in alone
