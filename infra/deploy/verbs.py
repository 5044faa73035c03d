"""Read the command line of `deploy` and `destroy`, and go through their steps."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from chalicelib.contract.manifest import ManifestError
from infra import package, stack
from infra.asking import agreed
from infra.deploy import chalice_way, destroy
from infra.deploy.config_step import Config, names_section, recorded_region
from infra.deploy.first_use import FirstKeys, Workflows, handover, left_behind
from infra.deploy.kept import TakeOver
from infra.deploy.preflight import CHALICE, CLOUDFORMATION, faults, gather, region_fault, stage_fault
from infra.deploy.stack_step import Stack
from infra.deploy.stage import Stage, written_resources
from infra.deploy.steps import Step, Stopped, follow
from infra.release import add_stage_options, session
from infra.workflow_files import read_folder

if TYPE_CHECKING:
    Verbs = argparse._SubParsersAction[Any]

_DEFAULTS: Final = (
    "an earlier stack left data and no settings: all are the defaults unless --set tells them (OutputsExpireDays, too)"
)


def register(verbs: Verbs) -> None:
    """Add the verbs."""
    deploy = verbs.add_parser("deploy", help="bring a stage about: stack, functions, workflows, first key; repeatable")
    add_stage_options(deploy)
    deploy.add_argument("--plan", action="store_true", help="say what would change, and change nothing")
    deploy.add_argument("--yes", action="store_true", help="do not ask, even where something is lost")
    way = deploy.add_mutually_exclusive_group()
    way.add_argument(
        "--via-cloudformation",
        dest="way",
        action="store_const",
        const=CLOUDFORMATION,
        help="functions, API and resources as one stack (the default)",
    )
    way.add_argument(
        "--via-chalice",
        dest="way",
        action="store_const",
        const=CHALICE,
        help="a stack of the resources, and Chalice's own deployer for functions and API",
    )
    deploy.add_argument(
        "--set",
        action="append",
        default=[],
        type=setting,
        metavar="NAME=VALUE",
        help="a parameter of infra/resources.yaml; repeatable",
    )
    deploy.add_argument("--client", default="first", help="whose the first key and code are (default: first)")
    deploy.add_argument("--dist", type=Path, help="deploy what `package --out` wrote there (default: build dist/)")
    deploy.set_defaults(run=_deploy, way=CLOUDFORMATION)

    away = verbs.add_parser("destroy", help="take a stage away; its data stays, unless told otherwise")
    add_stage_options(away)
    away.add_argument("--with-data", action="store_true", help="tables, pictures, keys and secrets, too")
    away.add_argument("--yes", action="store_true", help="do not ask")
    away.set_defaults(run=_destroy)


def setting(word: str) -> tuple[str, str]:
    """Read NAME=VALUE; without the sign argparse says that it makes no sense: an empty value must be meant."""
    name, sign, value = word.partition("=")
    if not sign or not name:
        raise argparse.ArgumentTypeError(f"{word!r} is not NAME=VALUE; an empty value is {name or 'NAME'}=")
    return name, value


def _deploy(arguments: argparse.Namespace) -> int:
    given = dict(arguments.set)
    wrong = [fault for fault in (stage_fault(arguments.stage), _client_fault(arguments.client)) if fault]
    if wrong:
        raise Stopped("\n".join(wrong))
    made = session(arguments)
    recorded = "" if arguments.region else recorded_region(package.ROOT / ".chalice" / "config.json", arguments.stage)
    if fault := region_fault(arguments.stage, str(made.region_name), recorded):
        raise Stopped(f"Nothing was done: {fault}")
    stack.until_at_rest(made.client("cloudformation"), stack.stack_name(arguments.stage), print)
    template = "resources.json" if arguments.way == CHALICE else "template.json"
    declared = _declared(arguments.dist, template)
    wrong = [
        *faults(gather(made, stage=arguments.stage, declared=declared, way=arguments.way, given=given)),
        *_folder_faults(package.ROOT / "workflows"),
        *_dist_faults(arguments.dist),
    ]
    if wrong:
        raise Stopped("\n".join(["Nothing was done:", *(f"  {one}" for one in wrong)]))
    print(f"{'preflight':12} stage {arguments.stage}, region {made.region_name}, via {arguments.way}")
    stage = Stage(
        name=arguments.stage,
        session=made,
        dist=arguments.dist or _built(),
        project=package.ROOT,
        template=template,
        parameters={name: value for name, value in given.items() if name in declared},
    )
    if stage.stack() is None and left_behind(stage):
        print(f"{'settings':12} {_DEFAULTS}")
    count = follow(
        _steps(stage, arguments), plan_only=arguments.plan, ask=partial(agreed, yes=arguments.yes), say=print
    )
    if arguments.plan:
        print(f"{count} changes; nothing was done" if count else "no change")
        return 0
    print("\n".join(handover(stage)))
    return 0


def _steps(stage: Stage, arguments: argparse.Namespace) -> list[Step]:
    ours: list[Step] = [TakeOver(stage), Stack(stage)]
    if arguments.way == CHALICE:
        ours += chalice_way.steps(stage)
    else:
        ours.append(Config(stage, lambda: names_section(CLOUDFORMATION, stage)))
    return [*ours, Workflows(stage, package.ROOT / "workflows"), FirstKeys(stage, arguments.client)]


def _destroy(arguments: argparse.Namespace) -> int:
    if fault := stage_fault(arguments.stage):
        raise Stopped(fault)
    made = session(arguments)

    def ask(question: str, word: str) -> bool:
        return agreed(question, yes=arguments.yes, word=word)

    destroy.destroy(made, arguments.stage, package.ROOT, with_data=arguments.with_data, ask=ask, say=print)
    return 0


def _built() -> Path:
    built = package.build(package.ROOT / "dist", say=lambda line: print(f"{'package':12} {line}"))
    news = f"{built.zip_bytes / 1e6:.1f} MB, built in {built.seconds:.1f} s" if built.rebuilt else "unchanged"
    print(f"{'package':12} {news}")
    return built.folder


def _declared(dist: Path | None, template: str) -> Mapping[str, Mapping[str, Any]]:
    """Return the parameters that the stack will have: before a build, from what it is built of."""
    if dist is not None and (dist / template).exists():
        return dict(json.loads((dist / template).read_text())["Parameters"])
    return dict(written_resources()["Parameters"])


def _dist_faults(dist: Path | None) -> list[str]:
    if dist is None:
        return []
    if not (dist / "built.json").exists():
        return [f"{dist} holds no build: `python -m infra package --out {dist}` writes one."]
    if json.loads((dist / "built.json").read_text())["host_deps"]:
        return [f"{dist} was built for this machine (--host-deps), not for Lambda."]
    return []


def _folder_faults(folder: Path) -> list[str]:
    try:
        read_folder(folder)
    except ManifestError as error:
        return [f"workflows/{fault}" for fault in error.faults]
    return []


def _client_fault(client: str) -> str:
    if re.fullmatch(r"[a-z0-9][a-z0-9-]{0,39}", client):
        return ""
    return "A client's name has 1 to 40 lower-case letters, digits and hyphens."
