"""
Make, show, size and remove the workers' stack on EC2 (workers.yaml).

No function here decides how many machines there should be: the stack's own policies do, the stage's autoscaler, or you.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml
from botocore.exceptions import ClientError

from infra import stack

if TYPE_CHECKING:
    from boto3.session import Session

TEMPLATE: Final = Path(__file__).with_name("workers.yaml")
_SPOT, _ON_DEMAND = "spot", "on-demand"


@dataclass(frozen=True)
class Instance:
    """Hold one machine as its group tells of it."""

    id: str
    group: str
    """`spot` or `on-demand`."""
    type: str
    zone: str
    state: str
    """As EC2 Auto Scaling words it: Pending, InService, Terminating:Wait …"""
    health: str


@dataclass(frozen=True)
class Group:
    """Hold one group: how many machines were ordered, how many there may be, and which there are."""

    name: str
    kind: str
    ordered: int
    most: int
    instances: tuple[Instance, ...]


def stack_name(stage: str) -> str:
    return f"comfysheet-{stage}-workers"


def group_name(stage: str, kind: str) -> str:
    return f"comfysheet-{stage}-workers" + ("" if kind == _SPOT else "-on-demand")


def template(types: int) -> dict[str, Any]:
    """Give the template for so many instance types, without the YAML's aliases."""
    loaded: dict[str, Any] = json.loads(json.dumps(yaml.safe_load(TEMPLATE.read_text())))
    choice = [{"InstanceType": {"Fn::Select": [place, {"Ref": "InstanceTypes"}]}} for place in range(types)]
    for name in ("Spot", "OnDemand"):
        loaded["Resources"][name]["Properties"]["MixedInstancesPolicy"]["LaunchTemplate"]["Overrides"] = choice
    return loaded


def present(session: Session, stage: str) -> dict[str, str] | None:
    """Return the parameters of the deployed stack; None when there is none."""
    found = stack.describe(session.client("cloudformation"), stack_name(stage))
    if found is None or found["StackStatus"] in stack.HUSKS:
        return None
    return {each["ParameterKey"]: each["ParameterValue"] for each in found.get("Parameters", [])}


def default_network(session: Session, subnets: Sequence[str]) -> dict[str, str]:
    """Find the VPC of *subnets*, or the account's default one with all its subnets. Raises StackFailed."""
    ec2: Any = session.client("ec2")
    if not subnets:
        vpcs = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
        if not vpcs:
            raise stack.StackFailed(f"{session.region_name} has no default VPC: name subnets with --subnets.")
        wanted: dict[str, Any] = {"Filters": [{"Name": "vpc-id", "Values": [vpcs[0]["VpcId"]]}]}
    else:
        wanted = {"SubnetIds": list(subnets)}
    try:
        found = ec2.describe_subnets(**wanted)["Subnets"]
    except ClientError as error:
        raise stack.StackFailed(f"The subnets cannot be used: {error.response['Error']['Message']}") from error
    networks = {each["VpcId"] for each in found}
    if len(networks) != 1:
        raise stack.StackFailed("The subnets must be of one VPC, and there must be one at least.")
    return {"VpcId": networks.pop(), "SubnetIds": ",".join(sorted(each["SubnetId"] for each in found))}


def up(
    session: Session,
    stage: str,
    release: Path,
    parameters: Mapping[str, str],
    say: Callable[[str], None],
) -> dict[str, str]:
    """Create or update the stack; what *parameters* does not name stays as it is. Raises StackFailed."""
    cloudformation: Any = session.client("cloudformation")
    name = stack_name(stage)
    found = stack.without_husk(cloudformation, name, say)
    before = {each["ParameterKey"] for each in found.get("Parameters", [])} if found else set()
    bucket, key = stack.upload(session, release, "zip")
    given = {**parameters, "Stage": stage, "ReleaseBucket": bucket, "ReleaseKey": key}
    types = given.get("InstanceTypes") or (present(session, stage) or {}).get("InstanceTypes") or _default_types()
    made = template(len(types.split(",")))
    if unknown := sorted(set(given) - set(made["Parameters"])):
        raise stack.StackFailed(f"workers.yaml has no parameter {', '.join(unknown)}.")
    kept = sorted((set(made["Parameters"]) & before) - set(given))
    asked = {
        "StackName": name,
        "TemplateBody": json.dumps(made, separators=(",", ":")),
        "Capabilities": ["CAPABILITY_IAM"],
        "Parameters": [{"ParameterKey": each, "ParameterValue": value} for each, value in given.items()]
        + [{"ParameterKey": each, "UsePreviousValue": True} for each in kept],
    }
    seen = stack.event_ids(cloudformation, name) if found else set()
    try:
        cloudformation.update_stack(**asked) if found else cloudformation.create_stack(**asked)
    except ClientError as error:
        if found and "No updates are to be performed" in str(error):
            say(f"{name} is up to date")
            return stack.outputs_of(found)
        raise stack.StackFailed(f"Stack {name} was refused: {error.response['Error']['Message']}") from error
    return stack.outputs_of(stack.finished(cloudformation, name, seen, say))


def groups(session: Session, stage: str) -> list[Group]:
    """List the stage's groups with their machines. Raises StackFailed when there is none."""
    names = {group_name(stage, kind): kind for kind in (_SPOT, _ON_DEMAND)}
    told = session.client("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=list(names))
    found = []
    for each in told["AutoScalingGroups"]:
        name = each["AutoScalingGroupName"]
        if name not in names:
            continue
        machines = tuple(_instance(machine, names[name]) for machine in each.get("Instances", []))
        found.append(Group(name, names[name], each["DesiredCapacity"], each["MaxSize"], machines))
    if not found:
        raise stack.StackFailed(
            f"Stage {stage} has no workers on EC2; `python -m infra ec2 up --stage {stage}` makes them."
        )
    return sorted(found, key=lambda group: group.kind != _SPOT)


def order(session: Session, group: Group, count: int, busy: frozenset[str] = frozenset()) -> list[str]:
    """
    Bring *group* to *count* machines; return the ids of those that go, idle ones first.

    A machine that goes finishes what ends within DrainSeconds and hands the rest back. Raises StackFailed.
    """
    client: Any = session.client("autoscaling")
    if count > group.most:
        raise stack.StackFailed(f"{group.name} may have {group.most} at most: `ec2 scale --max {count}` allows more.")
    here = [each for each in group.instances if not each.state.startswith("Terminating")]
    going = sorted(here, key=lambda each: (each.state == "InService", each.id in busy))[: max(0, len(here) - count)]
    for each in going:
        client.terminate_instance_in_auto_scaling_group(InstanceId=each.id, ShouldDecrementDesiredCapacity=True)
    if not going or group.ordered - len(going) > count:
        client.set_desired_capacity(AutoScalingGroupName=group.name, DesiredCapacity=count, HonorCooldown=False)
    return [each.id for each in going]


def limit(session: Session, group: Group, most: int) -> None:
    """Say how many machines there may be at most (the next `ec2 up --max` says so again)."""
    session.client("autoscaling").update_auto_scaling_group(AutoScalingGroupName=group.name, MaxSize=most)


def down(session: Session, stage: str, say: Callable[[str], None]) -> None:
    """End all machines and remove the stack. Jobs in hand are handed back. Raises StackFailed."""
    cloudformation, scaling = session.client("cloudformation"), session.client("autoscaling")
    name = stack_name(stage)
    if stack.describe(cloudformation, name) is None:
        say(f"there is no {name}")
        return
    for group in groups(session, stage):
        scaling.update_auto_scaling_group(AutoScalingGroupName=group.name, MinSize=0, MaxSize=0, DesiredCapacity=0)
        ids = [each.id for each in group.instances]
        say(f"{group.name}: {len(ids)} machines are ended")
        # Protected machines would keep the group, and so the stack, alive.
        for start in range(0, len(ids), 50):
            scaling.set_instance_protection(
                AutoScalingGroupName=group.name, InstanceIds=ids[start : start + 50], ProtectedFromScaleIn=False
            )
    seen = stack.event_ids(cloudformation, name)
    cloudformation.delete_stack(StackName=name)
    failures = stack.wait(cloudformation, name, seen=seen, say=say)
    if stack.describe(cloudformation, name) is not None:
        raise stack.StackFailed(f"Stack {name} was not removed:\n" + "\n".join(f"  {each}" for each in failures))
    say(f"{name} is gone; nothing of it costs any more")


def shown(group: Group) -> dict[str, Any]:
    """Give *group* as plain words, for --json."""
    return asdict(group)


def _instance(told: Mapping[str, Any], kind: str) -> Instance:
    return Instance(
        id=told["InstanceId"],
        group=kind,
        type=told.get("InstanceType", ""),
        zone=told.get("AvailabilityZone", ""),
        state=told.get("LifecycleState", ""),
        health=told.get("HealthStatus", ""),
    )


def _default_types() -> str:
    return str(yaml.safe_load(TEMPLATE.read_text())["Parameters"]["InstanceTypes"]["Default"])
