"""
`python -m infra ec2` on the local cloud, as far as MiniStack 1.5.33 goes.

It makes role, profile, security group, launch template and groups, and pretends that machines run. It has no alarms on
metric math (so Scaling is `hand` here), no TerminateInstanceInAutoScalingGroup and no SetInstanceProtection (so a
client of our own notes these), sets an updated group's size back to its least, and starts no machine.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import boto3
import pytest

from chalicelib.contract.card import ServerCard
from infra.__main__ import main, parser
from infra.ec2 import fleet, verbs
from infra.stack import VARIABLES
from tests.conftest import make_table
from worker.fleet import DynamoFleet
from worker.kit import Card, Post, kit_of

if TYPE_CHECKING:
    from sandbox.cloud import LocalCloud

IMAGE = "/images/gpu"
"""Where AWS keeps its image the local cloud has none, and lets nobody put one."""


class Stage:
    """Be a stage that is deployed, in outputs alone."""

    def __init__(
        self, aws: boto3.Session, resources: dict[str, Any], out: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.name = f"s{uuid4().hex[:8]}"
        self.aws = aws
        self._capsys = capsys
        self._out = out
        self.workers = make_table(aws.client("dynamodb"), resources["WorkersTable"]["Properties"])
        values = {output: f"the-{output}" for output in VARIABLES.values()} | {"WorkersTable": self.workers}
        values["WorkerPolicyArn"] = aws.client("iam").create_policy(
            PolicyName=self.name,
            PolicyDocument=json.dumps(
                {
                    "Version": "2012-10-17",
                    "Statement": [{"Effect": "Allow", "Action": "sqs:ReceiveMessage", "Resource": "arn:aws:sqs:::x"}],
                }
            ),
        )["Policy"]["Arn"]
        aws.client("ssm").put_parameter(Name=IMAGE, Value="ami-0123456789abcdef0", Type="String", Overwrite=True)
        template = {
            "Resources": {"Topic": {"Type": "AWS::SNS::Topic"}},
            "Outputs": {name: {"Value": value} for name, value in values.items()},
        }
        client: Any = aws.client("cloudformation")
        client.create_stack(StackName=f"comfysheet-{self.name}", TemplateBody=json.dumps(template))
        client.get_waiter("stack_create_complete").wait(
            StackName=f"comfysheet-{self.name}", WaiterConfig={"Delay": 0.1, "MaxAttempts": 100}
        )

    def ec2(self, *arguments: str, code: int = 0) -> str:
        """Run the verb as the command line does; what it said."""
        part, *rest = arguments
        more = ["--out", str(self._out), "--image-parameter", IMAGE] if part == "up" else []
        try:
            ended = main(["ec2", part, "--stage", self.name, *rest, *more])
        except SystemExit as wrong:
            ended = int(wrong.code or 0)
        said = self._capsys.readouterr()
        assert ended == code, said.out + said.err
        return said.out + said.err

    def groups(self) -> dict[str, fleet.Group]:
        return {group.kind: group for group in fleet.groups(self.aws, self.name)}


@pytest.fixture
def stage(
    cloud: LocalCloud,
    aws: boto3.Session,
    resources: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Stage:
    for name, value in cloud.env().items():
        monkeypatch.setenv(name, value)
    return Stage(aws, resources, tmp_path / "out", capsys)


def test_up_makes_two_groups_of_none_twice_changes_nothing_and_what_is_not_said_stays(stage: Stage) -> None:
    """Spot and on demand, at zero; the plan says what would be, the second run that all is up to date."""
    first = ["up", "--types", "g6.xlarge,g5.xlarge", "--max", "3", "--scaling", "hand", "--idle-end", "300"]
    assert "would be made" in stage.ec2(*first, "--plan")
    with pytest.raises(Exception, match="has no workers on EC2"):
        stage.groups()
    stage.ec2(*first)
    found = stage.groups()
    assert {kind: (group.ordered, group.most) for kind, group in found.items()} == {"spot": (0, 3), "on-demand": (0, 1)}
    assert "is up to date" in stage.ec2("up")
    stage.ec2("up", "--settings", "SLOTS=3")
    kept = fleet.present(stage.aws, stage.name) or {}
    assert [kept[name] for name in ("InstanceTypes", "IdleEndSeconds", "Scaling", "WorkerSettings")] == [
        "g6.xlarge,g5.xlarge",
        "300",
        "hand",
        "SLOTS=3",
    ]


def test_machines_are_shown_with_what_they_do_and_down_leaves_nothing(stage: Stage) -> None:
    """A machine is called as its worker is. Without an answer `down` does nothing; afterwards there is no stack."""
    stage.ec2("up", "--scaling", "hand", "--count", "2")
    first, second = stage.groups()["spot"].instances
    client: Any = stage.aws.client("dynamodb")
    post = Post(ServerCard(name="http://a", version="0.28.0", running=1), kit_of({"A": {}}))
    DynamoFleet(client, stage.workers).announce(Card.of(first.id, time.time_ns() // 1_000_000, [post], jobs_done=7))
    told = stage.ec2("status")
    [line] = [line for line in told.splitlines() if first.id in line]
    assert "renders 1, 7 done" in line
    [line] = [line for line in told.splitlines() if second.id in line]
    assert "no sign of its worker yet" in line
    read = json.loads(stage.ec2("status", "--json"))
    assert [(each["kind"], each["ordered"], each["working"]) for each in read] == [
        ("spot", 2, {first.id: 1}),
        ("on-demand", 0, {}),
    ]
    assert "Nobody can be asked here" in stage.ec2("down", code=1)
    stage.aws.client("autoscaling").update_auto_scaling_group(
        AutoScalingGroupName=fleet.group_name(stage.name, "spot"), MinSize=0, DesiredCapacity=0
    )
    assert "nothing of it costs any more" in stage.ec2("down", "--yes")
    assert fleet.present(stage.aws, stage.name) is None
    assert "there is no" in stage.ec2("down", "--yes")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["status"], 1, "`python -m infra ec2 up --stage"),
        (["scale"], 2, "Say what to change"),
        (["scale", "--count", "many"], 2, "it must be a number like 3"),
        (["up", "--models", "bucket/models"], 1, "--models must look like s3://bucket/models"),
        (["up", "--spot", "--on-demand"], 2, "not allowed with argument"),
    ],
)
def test_what_is_wrong_is_said(stage: Stage, arguments: list[str], code: int, says: str) -> None:
    """A sentence, and the exit code of its kind."""
    assert says in stage.ec2(*arguments, code=code)


class Scaling:
    """Note what an Auto Scaling client and its session are asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []

    def client(self, _name: str) -> Scaling:
        return self

    def terminate_instance_in_auto_scaling_group(self, **asked: Any) -> None:
        assert asked["ShouldDecrementDesiredCapacity"] is True
        self.asked.append(("end", asked["InstanceId"]))

    def set_desired_capacity(self, **asked: Any) -> None:
        self.asked.append(("order", asked["DesiredCapacity"]))


def group(ordered: int, *machines: tuple[str, str]) -> fleet.Group:
    made = tuple(fleet.Instance(name, "spot", "g6.xlarge", "a", state, "Healthy") for name, state in machines)
    return fleet.Group("workers", "spot", ordered, 5, made)


@pytest.mark.parametrize(
    ("count", "busy", "asked"),
    [
        (4, set(), [("order", 4)]),
        (3, set(), [("order", 3)]),
        (2, {"a"}, [("end", "new")]),
        (1, {"a"}, [("end", "new"), ("end", "b")]),
        (0, {"a", "b"}, [("end", "new"), ("end", "a"), ("end", "b")]),
    ],
)
def test_those_that_do_nothing_go_first(count: int, busy: set[str], asked: list[tuple[str, Any]]) -> None:
    """Machines that still start, then idle ones, then busy ones; those that go already count no more."""
    scaling: Any = Scaling()
    present = group(3, ("a", "InService"), ("b", "InService"), ("new", "Pending"), ("old", "Terminating:Wait"))
    fleet.order(scaling, present, count, frozenset(busy))
    assert scaling.asked == asked


def test_orders_that_were_not_filled_are_taken_back() -> None:
    """Three ordered, one came, one is wanted: it stays."""
    scaling: Any = Scaling()
    assert fleet.order(scaling, group(3, ("a", "InService")), 1) == []
    assert scaling.asked == [("order", 1)]


def test_more_than_allowed_is_refused_with_what_to_type() -> None:
    """The group's own bound is the last word."""
    with pytest.raises(Exception, match="`ec2 scale --max 6` allows more"):
        fleet.order(Scaling(), group(0), 6)  # type: ignore[arg-type]


def test_the_autoscaler_is_the_first_to_give_a_machine_back() -> None:
    """With it machines wait an hour before they go by themselves, unless something else is said."""
    told = parser().parse_args(["ec2", "up", "--scaling", "autoscaler"])
    assert verbs.parameters(told)["IdleEndSeconds"] == "3600"
    told = parser().parse_args(["ec2", "up", "--scaling", "autoscaler", "--idle-end", "900", "--no-session-manager"])
    given = verbs.parameters(told)
    assert (given["IdleEndSeconds"], given["SessionManager"]) == ("900", "false")
    assert set(given) <= set(fleet.template(1)["Parameters"])
