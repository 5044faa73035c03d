"""The verbs `python -m infra ec2 up|down|status|scale`."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from chalicelib.crew import Crew
from infra import stack
from infra.asking import agreed
from infra.ec2 import fleet, release
from infra.package import ROOT
from infra.release import add_stage_options, session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from boto3.session import Session

    from chalicelib.contract.card import Seen

AUTOSCALER_IDLE_S: Final = "3600"
OPTIONS: Final = {
    "types": ("InstanceTypes", "TYPES", "instance types that will do, parted by commas"),
    "max": ("MaxSize", "N", "spot machines at most"),
    "fallback": ("FallbackMax", "N", "on-demand machines that may stand in when no spot ones are to be had (0: none)"),
    "scaling": ("Scaling", "WHO", "who orders machines: backlog, autoscaler or hand"),
    "idle-end": ("IdleEndSeconds", "SECONDS", "a machine without a job for so long goes (0: never)"),
    "drain": ("DrainSeconds", "SECONDS", "how long a machine that is told to go may finish its jobs"),
    "image": ("OwnImageId", "AMI", "an image of your own, with ComfyUI and models in it"),
    "image-parameter": ("ImageId", "NAME", "SSM parameter that names the image (default: AWS's Deep Learning base)"),
    "snapshot": ("SnapshotId", "SNAP", 'a snapshot of a disk labelled "comfysheet" with ComfyUI and models'),
    "comfy-dir": ("ComfyDir", "DIR", "ComfyUI's folder on the machine"),
    "comfy-version": ("ComfyVersion", "TAG", "what is installed where no ComfyUI is"),
    "volume-gb": ("VolumeGb", "GB", "size of the machine's disk"),
    "settings": ("WorkerSettings", "LINE", 'more settings of docs/worker.md, like "SLOTS=3 LOG_LEVEL=debug"'),
}
"""Option -> parameter of workers.yaml, what stands for its value, what it is. Not given: as it is, or the default."""

_GROUPS = ("WorkerGroup", "WorkerGroupFallback")
"""The stage's parameters that name the groups."""


def register(verbs: Any) -> None:
    """Add `ec2`."""
    ec2 = verbs.add_parser("ec2", help="workers on EC2: up, down, status, scale")
    parts = ec2.add_subparsers(dest="part", required=True, metavar="up|down|status|scale")

    up = parts.add_parser("up", help="make or change the stack of the workers' machines")
    add_stage_options(up)
    for option, (_, placeholder, what) in OPTIONS.items():
        up.add_argument(f"--{option}", metavar=placeholder, help=what)
    up.add_argument(
        "--subnets", default="", metavar="IDS", help="subnets, parted by commas (default: the default VPC's)"
    )
    up.add_argument("--models", metavar="s3://BUCKET/PREFIX", help="model files, laid out as in ComfyUI's models/")
    kinds = up.add_mutually_exclusive_group()
    kinds.add_argument("--spot", action="store_true", help="spot machines (default)")
    kinds.add_argument("--on-demand", action="store_true", help="on-demand machines instead of spot ones")
    up.add_argument(
        "--session-manager",
        action=argparse.BooleanOptionalAction,
        help="let people open a shell by Session Manager, or no more",
    )
    up.add_argument("--count", type=_whole, metavar="N", help="have so many machines when it is done")
    up.add_argument("--plan", action="store_true", help="only show what would be deployed")
    up.add_argument(
        "--out", type=Path, default=ROOT / ".build/ec2", help="folder for the release (default: .build/ec2)"
    )
    up.set_defaults(run=_up)

    down = parts.add_parser("down", help="end all machines and remove their stack")
    add_stage_options(down)
    down.add_argument("--yes", action="store_true", help="do not ask")
    down.set_defaults(run=_down)

    status = parts.add_parser("status", help="show the machines and what they do")
    add_stage_options(status)
    status.add_argument("--json", action="store_true", help="for programs")
    status.set_defaults(run=_status)

    scale = parts.add_parser("scale", help="have so many machines now, or allow more")
    add_stage_options(scale)
    scale.add_argument("--count", type=_whole, metavar="N", help="have so many; idle ones go first")
    scale.add_argument("--max", type=_whole, metavar="N", help="allow so many at most")
    scale.add_argument("--on-demand", action="store_true", help="of the on-demand group (default: of the spot group)")
    scale.set_defaults(run=_scale)


def _whole(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f'it must be a number like 3, not "{text}"')
    return int(text)


def parameters(arguments: argparse.Namespace) -> dict[str, str]:
    """Read the options of `up` as parameters of workers.yaml. Raises StackFailed for a wrong one."""
    told = {name: getattr(arguments, option.replace("-", "_")) for option, (name, _, _) in OPTIONS.items()}
    given = {name: value for name, value in told.items() if value is not None}
    if arguments.on_demand or arguments.spot:
        given["OnDemandPercent"] = "100" if arguments.on_demand else "0"
    if arguments.session_manager is not None:
        given["SessionManager"] = str(arguments.session_manager).lower()
    if given.get("Scaling") == "autoscaler":
        # It gives idle machines back itself, and sooner; this is for the day on which it does not.
        given.setdefault("IdleEndSeconds", AUTOSCALER_IDLE_S)
    if arguments.models is not None:
        place = urlsplit(arguments.models)
        if arguments.models and (place.scheme != "s3" or not place.netloc or not place.path.strip("/")):
            raise stack.StackFailed(f'--models must look like s3://bucket/models, not "{arguments.models}".')
        given["ModelsBucket"] = place.netloc
        if place.netloc:
            given["ModelsPrefix"] = place.path.strip("/")
    return given


def _up(arguments: argparse.Namespace) -> int:
    given = parameters(arguments)
    aws = session(arguments)
    outputs = stack.read_outputs(aws, arguments.stage)
    settings = release.settings(ROOT, stack.environment(outputs), aws.region_name)
    made = release.build(ROOT, arguments.out, settings)
    before = fleet.present(aws, arguments.stage)
    given["WorkerPolicyArn"] = outputs["WorkerPolicyArn"]
    if before is None or arguments.subnets:
        given |= fleet.default_network(aws, [each for each in arguments.subnets.split(",") if each])
    if arguments.plan:
        return _plan(arguments.stage, aws, made, given, before)
    fleet.up(aws, arguments.stage, made, given, print)
    if arguments.count is not None:
        _order(aws, arguments.stage, "spot", arguments.count)
    if given.get("Scaling") == "autoscaler":
        print(recipe(arguments.stage, fleet.groups(aws, arguments.stage)))
    print(f"python -m infra ec2 status --stage {arguments.stage} shows the machines.")
    return 0


def recipe(stage: str, groups: Sequence[fleet.Group]) -> str:
    """Say how the autoscaler is told of *groups*, the spot one first: their names, and what they allow together."""
    named = " ".join(f"--set {name}={group.name}" for name, group in zip(_GROUPS, groups, strict=False))
    most = sum(group.most for group in groups)
    return (
        f"Tell the autoscaler (docs/scaling.md): python -m infra deploy --stage {stage} "
        f"--set ScalePool=ec2 {named} --set ScaleMax={most} --set ScaleBootS=900 …"
    )


def _plan(stage: str, aws: Session, made: Path, given: dict[str, str], before: dict[str, str] | None) -> int:
    """Show what would change; nothing is asked of CloudFormation but what is there."""
    bucket, key = stack.artefact(aws, made, "zip")
    wanted = {**given, "ReleaseBucket": bucket, "ReleaseKey": key}
    name = fleet.stack_name(stage)
    print(f"{name}: would be {'made' if before is None else 'changed'}")
    for each, value in sorted(wanted.items()):
        old = (before or {}).get(each)
        if old != value:
            print(f"  {each:18} {value}" + (f"   (is {old})" if old else ""))
    if before is not None and all(before.get(each) == value for each, value in wanted.items()):
        print("  no parameter changes")
    return 0


def _down(arguments: argparse.Namespace) -> int:
    question = f"This ends all EC2 workers of stage {arguments.stage}. Jobs in hand go back to the queue."
    if not agreed(question, yes=arguments.yes, word=arguments.stage):
        print("Nothing was done.", file=sys.stderr)
        return 1
    fleet.down(session(arguments), arguments.stage, print)
    return 0


def _status(arguments: argparse.Namespace) -> int:
    aws = session(arguments)
    cards = _cards(aws, arguments.stage)
    found = fleet.groups(aws, arguments.stage)
    if arguments.json:
        print(json.dumps([{**fleet.shown(group), "working": _working(group, cards)} for group in found], indent=2))
        return 0
    for group in found:
        print(f"{group.kind:10} {len(group.instances)} machines, {group.ordered} ordered, {group.most} at most")
        for each in group.instances:
            print(f"  {each.id:20} {each.type:12} {each.zone:12} {each.state:18} {_words(cards.get(each.id))}")
    return 0


def _scale(arguments: argparse.Namespace) -> int:
    if arguments.count is None and arguments.max is None:
        print("Say what to change: --count N, --max N.", file=sys.stderr)
        return 2
    aws = session(arguments)
    kind = "on-demand" if arguments.on_demand else "spot"
    if arguments.max is not None:
        fleet.limit(aws, _group(aws, arguments.stage, kind), arguments.max)
        print(
            f"{fleet.group_name(arguments.stage, kind)}: {arguments.max} at most, until `ec2 up --max` says otherwise"
        )
    if arguments.count is not None:
        _order(aws, arguments.stage, kind, arguments.count)
    return 0


def _order(aws: Session, stage: str, kind: str, count: int) -> None:
    busy = frozenset(name for name, card in _cards(aws, stage).items() if any(each.running for each in card.servers))
    going = fleet.order(aws, _group(aws, stage, kind), count, busy)
    for each in going:
        print(f"{each} goes; {'it finishes its jobs or hands them back' if each in busy else 'it is idle'}")
    if not going:
        print(f"{fleet.group_name(stage, kind)}: {count} ordered")


def _group(aws: Session, stage: str, kind: str) -> fleet.Group:
    for group in fleet.groups(aws, stage):
        if group.kind == kind:
            return group
    raise stack.StackFailed(f"Stage {stage} has no {kind} group; `ec2 up --fallback 1` makes the on-demand one.")


def _cards(aws: Session, stage: str) -> dict[str, Seen]:
    """Read the workers' cards by name: a machine's worker is called by its id."""
    table = stack.read_outputs(aws, stage)["WorkersTable"]
    crew = Crew(aws.client("dynamodb"), table, lambda: time.time_ns() // 1_000_000)
    return {card.worker: card for card in crew.seen()}


def _working(group: fleet.Group, cards: dict[str, Seen]) -> dict[str, int]:
    return {each.id: sum(s.running for s in cards[each.id].servers) for each in group.instances if each.id in cards}


def _words(card: Seen | None) -> str:
    if card is None:
        return "no sign of its worker yet"
    running = sum(each.running for each in card.servers)
    closed = next((each.closed for each in card.servers if each.closed), "")
    return closed or (f"renders {running}" if running else "idle") + f", {card.jobs_done} done"
