"""Judge the pool of EC2 instances: on a group on paper, and as far as the local cloud goes on its protocol."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import boto3
import pytest

from chalicelib.contract.card import Seen, ServerCard
from chalicelib.contract.errors import Rejected, Unavailable
from chalicelib.contract.pool import Machine, MachineState
from chalicelib.ec2_pool import ENDING_MS, REFUSED_MS, Ec2Pool
from chalicelib.group_book import FORGOTTEN_MS
from tests.jobs import NOW
from tests.scale_fakes import MemoryGroups, PaperGroup

MINUTE = 60_000


class Yard:
    """Hold a group on paper, the pool before it, and the time."""

    def __init__(self) -> None:
        self.now = NOW
        self.cards: list[Seen] = []
        self.group = PaperGroup("gpu", lambda: self.now)
        self.pool = Ec2Pool(self.group, MemoryGroups(), "gpu", lambda: self.cards, lambda: self.now)
        self.group.listen = self.pool.note_event

    def states(self) -> list[tuple[str, MachineState]]:
        return [(each.id, each.state) for each in self.pool.machines()]


@pytest.fixture
def yard() -> Yard:
    return Yard()


FIRST, SECOND = f"i-{0:017x}", f"i-{1:017x}"


def test_what_is_launched_is_listed_since_its_launch(yard: Yard) -> None:
    """By its instance's id, which is its worker's name."""
    assert yard.pool.start(2) == 2
    assert yard.pool.machines() == [
        Machine(FIRST, MachineState.RUNNING, NOW),
        Machine(SECOND, MachineState.RUNNING, NOW),
    ]


def test_what_is_ordered_and_has_not_come_is_listed_too(yard: Yard) -> None:
    """Under a name of its own, until it comes; giving that name back takes the order back."""
    yard.group.tells = False
    yard.pool.start(2)
    assert yard.states() == [("gpu#0", MachineState.ORDERED), ("gpu#1", MachineState.ORDERED)]
    yard.pool.stop(["gpu#1"])
    assert yard.states() == [("gpu#0", MachineState.ORDERED)] and yard.group.calls == [2, 1]


def test_an_instance_that_is_given_back_is_not_replaced(yard: Yard) -> None:
    """The group wants one less; a second time is no fault, and neither is one that is gone."""
    yard.pool.start(2)
    yard.pool.stop([FIRST])
    assert yard.group.instances == [SECOND] and yard.group.desired == 1
    assert yard.states() == [(SECOND, MachineState.RUNNING)]
    yard.pool.stop([FIRST, "i-0123456789abcdef0"])
    assert yard.group.desired == 1


def test_one_that_cannot_be_ended_now_does_not_keep_the_others(yard: Yard) -> None:
    """All are gone through; the fault is told at the end."""
    yard.pool.start(2)
    yard.group.held = FIRST
    with pytest.raises(Unavailable, match="busy"):
        yard.pool.stop([FIRST, SECOND])
    assert yard.group.instances == [FIRST] and yard.states() == [(FIRST, MachineState.RUNNING)]


def test_a_lost_spot_instance_is_replaced_by_the_group(yard: Yard) -> None:
    """Nobody orders; the group's own events say it."""
    yard.pool.start(1)
    yard.group.lose(FIRST)
    assert yard.states() == [(SECOND, MachineState.RUNNING)] and yard.group.calls == [1]


def test_a_worker_that_ends_its_own_machine_makes_the_group_smaller(yard: Yard) -> None:
    """Nothing is missing then, and the next order is not one too many; word of it may come twice."""
    yard.pool.start(2)
    heard: list[tuple[str, dict[str, object]]] = []
    yard.group.listen = lambda kind, detail: heard.append((kind, detail))
    yard.group.terminate_instance_in_auto_scaling_group(InstanceId=FIRST, ShouldDecrementDesiredCapacity=True)
    for told in heard * 2:
        yard.pool.note_event(*told)
    assert yard.states() == [(SECOND, MachineState.RUNNING)]
    yard.pool.start(1)
    assert yard.group.calls == [2, 2] and len(yard.group.instances) == 2


def test_without_stock_the_order_is_taken_back_and_nothing_granted_for_a_while(yard: Yard) -> None:
    """So another pool has its turn, and no machine comes that nobody wants any more."""
    yard.group.stock = 1
    yard.pool.start(3)
    yard.now += 1000
    yard.group.settle()
    assert yard.states() == [(FIRST, MachineState.RUNNING)]
    assert yard.group.desired == 1
    assert yard.pool.start(1) == 0
    yard.now += REFUSED_MS
    yard.group.stock = 9
    assert yard.pool.start(1) == 1 and len(yard.group.instances) == 2


def test_an_instance_whose_launch_nobody_told_is_known_by_its_card(yard: Yard) -> None:
    """Only as many as are missing: a machine that is not the group's stays out."""
    yard.group.tells = False
    yard.pool.start(1)
    yard.now += MINUTE
    yard.cards = [
        Seen(name, yard.now, (ServerCard(),)) for name in ("desk", "i-0000000000000000a-1", "i-0000000000000000b")
    ]
    assert yard.states() == [("i-0000000000000000a", MachineState.RUNNING)]


def test_a_machine_of_another_group_is_not_taken_in() -> None:
    """A card tells no group: what the other group's book has is not what this one misses."""
    yard, groups = Yard(), MemoryGroups()
    groups.note("dear", "i-0000000000000000a", "started_at", NOW)
    pool = Ec2Pool(yard.group, groups, "gpu", lambda: yard.cards, lambda: yard.now, ["dear"])
    yard.group.tells = False
    pool.start(1)
    yard.cards = [Seen("i-0000000000000000a", yard.now, (ServerCard(),))]
    assert [each.id for each in pool.machines()] == ["gpu#0"]


def test_an_instance_whose_end_nobody_told_is_given_up(yard: Yard) -> None:
    """Some minutes after it was given back."""
    yard.pool.start(1)
    yard.group.tells = False
    yard.pool.stop([FIRST])
    assert yard.states() == [(FIRST, MachineState.STOPPING)]
    yard.now += ENDING_MS + 1
    assert yard.states() == []


def test_ended_instances_are_forgotten_after_a_day(yard: Yard) -> None:
    """The book's item stays small."""
    groups = MemoryGroups()
    pool = Ec2Pool(yard.group, groups, "gpu", list, lambda: yard.now)
    groups.note("gpu", FIRST, "started_at", NOW)
    groups.note("gpu", FIRST, "gone_at", NOW)
    assert pool.machines() == [] and FIRST in groups.read("gpu").instances
    yard.now += FORGOTTEN_MS + 1
    assert pool.machines() == [] and groups.read("gpu").instances == {}


def test_another_groups_events_change_nothing(yard: Yard) -> None:
    """The rule names both groups of a stage."""
    yard.pool.note_event("EC2 Instance Launch Successful", {"AutoScalingGroupName": "b", "EC2InstanceId": FIRST})
    assert yard.states() == []


def test_of_an_order_above_the_groups_own_most_that_most_is_granted(yard: Yard) -> None:
    """The stack of the workers has a most of its own; what is beyond it is another pool's."""
    yard.group.most = 2
    assert yard.pool.start(3) == 2
    assert yard.states() == [(FIRST, MachineState.RUNNING), (SECOND, MachineState.RUNNING)]
    assert yard.pool.start(1) == 0 and len(yard.states()) == 2


def test_a_refused_order_leaves_no_machine_behind(yard: Yard) -> None:
    """Nothing was rented, so nothing is awaited; the sentence says what to compare."""
    yard.pool.start(1)
    yard.group.name = "renamed"
    with pytest.raises(Rejected, match="name not found") as refused:
        yard.pool.start(2)
    assert "WorkerGroup" in refused.value.message
    assert yard.states() == [(FIRST, MachineState.RUNNING)]


def test_the_local_cloud_takes_the_number(aws: boto3.Session) -> None:
    """SetDesiredCapacity in AWS's protocol. The engine lacks TerminateInstanceInAutoScalingGroup and the events."""
    client: Any = aws.client("autoscaling")
    name = f"gpu-{uuid4().hex[:8]}"
    client.create_auto_scaling_group(
        AutoScalingGroupName=name,
        MinSize=0,
        MaxSize=5,
        AvailabilityZones=["us-east-1a"],
        LaunchTemplate={"LaunchTemplateName": "gpu", "Version": "1"},
    )
    pool = Ec2Pool(client, MemoryGroups(), name, list, lambda: NOW)
    assert pool.start(2) == 2
    (told,) = client.describe_auto_scaling_groups(AutoScalingGroupNames=[name])["AutoScalingGroups"]
    assert told["DesiredCapacity"] == 2
    pool.stop([f"{name}#0", f"{name}#1"])
    (told,) = client.describe_auto_scaling_groups(AutoScalingGroupNames=[name])["AutoScalingGroups"]
    assert told["DesiredCapacity"] == 0
    with pytest.raises(Rejected, match="not found"):
        Ec2Pool(client, MemoryGroups(), "nobody", list, lambda: NOW).start(1)
    client.delete_auto_scaling_group(AutoScalingGroupName=name)
