"""The verb `workflows`: check the folder, push it to a stage's bucket, list and show what is there."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from chalicelib.blobs import Blobs
from chalicelib.catalog import Catalog, push
from chalicelib.contract.manifest import ManifestError, to_document
from infra import stack
from infra.release import add_stage_options, session
from infra.workflow_files import FOLDER, read_folder
from infra.workflow_infer import register_infer

if TYPE_CHECKING:
    Verbs = argparse._SubParsersAction[Any]


def register(verbs: Verbs) -> None:
    """Add the verb."""
    top = verbs.add_parser("workflows", help="the workflow catalog: check, push, list, show")
    actions = top.add_subparsers(dest="action", required=True, metavar="<action>")
    register_infer(actions)
    for name, text in (
        ("check", "judge the folder's manifests and graphs; touches no cloud"),
        ("push", "publish the folder to a stage: new rows use it within seconds"),
        ("list", "say which workflows a stage has"),
        ("show", "print one workflow of a stage as JSON"),
    ):
        action = actions.add_parser(name, help=text)
        if name in ("check", "push"):
            action.add_argument("--folder", type=Path, default=FOLDER, help="default: workflows/")
        if name == "show":
            action.add_argument("id", help="the workflow's id")
        if name != "check":
            add_stage_options(action)
        action.set_defaults(run={"check": _check, "push": _push, "list": _list, "show": _show}[name])


def open_blobs(made: boto3.Session, bucket: str) -> Blobs:
    """Reach a stage's bucket."""
    return Blobs(made.client("s3", config=Config(signature_version="s3v4")), bucket)


def _stage_blobs(arguments: argparse.Namespace) -> Blobs:
    made = session(arguments)
    return open_blobs(made, stack.read_outputs(made, arguments.stage)["Bucket"])


def _check(arguments: argparse.Namespace) -> int:
    try:
        workflows = read_folder(arguments.folder)
    except ManifestError as error:
        print(error)
        return 1
    for workflow in workflows:
        print(f"{workflow.id:20} {len(workflow.parameters):2} parameters  {workflow.hash[:12]}  {workflow.name}")
    return 0


def _push(arguments: argparse.Namespace) -> int:
    try:
        changed = push(_stage_blobs(arguments), read_folder(arguments.folder))
    except ManifestError as error:
        print(error)
        return 1
    print(f"pushed: {', '.join(changed)}" if changed else "nothing has changed")
    return 0


def _list(arguments: argparse.Namespace) -> int:
    for workflow in Catalog(_stage_blobs(arguments), clock_s=lambda: 0.0).list():
        print(f"{workflow.id:20} {workflow.hash[:12]}  {workflow.name}")
    return 0


def _show(arguments: argparse.Namespace) -> int:
    workflow = Catalog(_stage_blobs(arguments), clock_s=lambda: 0.0).find(arguments.id)
    print(json.dumps(to_document(workflow), indent=2, ensure_ascii=False))
    return 0
