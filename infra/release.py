"""The verbs `package` and `outputs`, and the options that name a stage. `deploy` is infra/deploy/."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from boto3.session import Session
from botocore.exceptions import ClientError, NoCredentialsError

from infra import package, stack
from infra.aws_words import note_service

if TYPE_CHECKING:
    Verbs = argparse._SubParsersAction[Any]


def register(verbs: Verbs) -> None:
    """Add the verbs of this module."""
    build = verbs.add_parser("package", help="build dist/: one CloudFormation template and the functions' zip")
    build.add_argument("--out", type=Path, default=package.ROOT / "dist", help="folder to write (default: dist)")
    build.add_argument(
        "--host-deps",
        action="store_true",
        help="this machine's dependencies instead of Lambda's (local stage on macOS)",
    )
    build.set_defaults(run=_package)

    outputs = verbs.add_parser("outputs", help="print what a deployed stage is called: API, queues, tables, bucket")
    add_stage_options(outputs)
    outputs.add_argument("--env", action="store_true", help="what a worker needs of it, as lines of its .env")
    outputs.add_argument("--json", action="store_true", help="as JSON, for scripts")
    outputs.set_defaults(run=_outputs)


def add_stage_options(verb: argparse.ArgumentParser) -> None:
    """Add the options that say which deployment is meant; read them with `session`."""
    verb.add_argument("--stage", default="prod", help="the deployment's name (default: prod)")
    verb.add_argument("--region", help="AWS region (default: your AWS configuration's)")
    verb.add_argument("--profile", help="AWS profile (default: your AWS configuration's)")


def keep_what_was_said(action: argparse.ArgumentParser, *names: str) -> None:
    """Have what was said before an action count (`jobs --stage two show ID`): its own defaults must not undo it."""
    for option in action._actions:
        if option.dest in names:
            option.default = argparse.SUPPRESS


def session(arguments: argparse.Namespace) -> Session:
    """Return the boto3 session that the stage options ask for. Raises StackFailed when it cannot speak to AWS."""
    made = Session(profile_name=arguments.profile, region_name=arguments.region or os.environ.get("AWS_REGION"))
    note_service(made)
    if not made.region_name:
        raise stack.StackFailed("Which AWS region? Give --region, or set AWS_REGION.")
    try:
        made.client("sts").get_caller_identity()
    except (NoCredentialsError, ClientError) as error:
        raise stack.StackFailed(f"AWS does not know who you are: {error}") from error
    return made


def _package(arguments: argparse.Namespace) -> int:
    made = package.build(arguments.out, host_deps=arguments.host_deps, say=print)
    news = f"built in {made.seconds:.1f} s" if made.rebuilt else "up to date"
    print(f"{made.folder}: {news}, deployment.zip {made.zip_bytes / 1e6:.1f} MB, {made.digest[:12]}")
    return 0


def _outputs(arguments: argparse.Namespace) -> int:
    made = session(arguments)
    outputs = stack.read_outputs(made, arguments.stage)
    shown = stack.worker_environment(outputs, str(made.region_name)) if arguments.env else outputs
    if arguments.json:
        print(json.dumps(shown, indent=2, sort_keys=True))
        return 0
    for name in sorted(shown):
        print(f"{name}={shown[name]}" if arguments.env else f"{name:26} {shown[name]}")
    return 0
