"""The verb `workflows`: check the folder, push it to a stage's bucket, and see to what is there."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from chalicelib import catalog_index
from chalicelib.blobs import Blobs
from chalicelib.catalog import Catalog
from chalicelib.catalog_index import INDEX_KEY, Entry, Version, split_place
from chalicelib.contract.errors import Rejected
from chalicelib.contract.manifest import ManifestError, to_document
from chalicelib.publish import Publisher
from infra import stack, wildcards
from infra.paper import Column, moment, show, show_json, table
from infra.release import add_stage_options, session
from infra.workflow_files import FOLDER, read_base, read_files, read_folder
from infra.workflow_infer import register_infer

if TYPE_CHECKING:
    Verbs = argparse._SubParsersAction[Any]

Run = Callable[[argparse.Namespace], int]


def register(verbs: Verbs) -> None:
    """Add the verb."""
    top = verbs.add_parser("workflows", help="the workflow catalog: infer, check, push, list, show, remove, restore")
    actions = top.add_subparsers(dest="action", required=True, metavar="<action>")
    register_infer(actions)
    check = _action(actions, "check", "judge the folder's manifests and graphs; touches no cloud", _check)
    push = _action(actions, "push", "publish the folder, or some of it, to a stage: new jobs use it at once", _push)
    listing = _action(actions, "list", "say which workflows a stage has, who pushed them and when", _list)
    show = _action(actions, "show", "print one workflow of a stage as JSON", _show)
    remove = _action(actions, "remove", "take a workflow out of a stage; jobs that exist keep it", _remove)
    restore = _action(actions, "restore", "bring back a removed workflow, or a former version of one", _restore)
    push.add_argument("files", nargs="*", type=Path, help="workflows by their .yaml; none: the whole folder")
    listing.add_argument("--json", action="store_true", help="as JSON, for scripts")
    listing.add_argument("--all", action="store_true", help="former versions and removed workflows, too")
    for action in (check, push):
        action.add_argument("--folder", type=Path, default=FOLDER, help="default: workflows/")
    for action in (show, remove, restore):
        action.add_argument("id", help="the workflow's id")
    restore.add_argument("hash", nargs="?", default="", help="the beginning of a version's hash (see list --all)")
    for action in (push, show, remove, restore):
        action.add_argument("--client", default="", help="a client's own workflow; without it: everybody's")
    for action in (push, listing, show, remove, restore):
        add_stage_options(action)
    wildcards.register_below(actions, lambda arguments: _Stage(arguments).store)


def _action(actions: Verbs, name: str, text: str, run: Run) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=text)
    parser.set_defaults(run=run)
    return parser


def open_blobs(made: boto3.Session, bucket: str) -> Blobs:
    """Reach a stage's bucket."""
    return Blobs(made.client("s3", config=Config(signature_version="s3v4")), bucket)


class _Stage:
    """Reach a stage's catalog as the person who calls."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        made = session(arguments)
        self.store = open_blobs(made, stack.read_outputs(made, arguments.stage)["Bucket"])
        self.publisher = Publisher(self.store, lambda: time.time_ns() // 1_000_000)
        # arn:aws:sts::123456789012:assumed-role/Admin/alice
        self.who = str(made.client("sts").get_caller_identity()["Arn"]).rpartition(":")[2]

    def index(self) -> dict[str, Entry]:
        return catalog_index.read(self.store.get(INDEX_KEY))


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
        base = read_base(arguments.folder)
        workflows = read_files(arguments.files, base) if arguments.files else read_folder(arguments.folder)
    except ManifestError as error:
        print(error)
        return 1
    there = _Stage(arguments)
    # Single files may come from anywhere; what everybody shares comes with the whole folder.
    is_base_new = not arguments.files and there.publisher.keep_base(base)
    changed = there.publisher.push(workflows, by=there.who, owner=arguments.client)
    changed += ["base.yaml"] if is_base_new else []
    print(f"pushed: {', '.join(changed)}" if changed else "nothing has changed")
    return 0


def _list(arguments: argparse.Namespace) -> int:
    places = [
        (*split_place(place), entry)
        for place, entry in sorted(_Stage(arguments).index().items())
        if arguments.all or entry.removed_at is None
    ]
    if arguments.json:
        show_json({"workflows": [_document(*place, with_former=arguments.all) for place in places]})
        return 0
    rows: list[tuple[str, ...]] = []
    for owner, workflow_id, entry in places:
        name = f"{owner}'s own: {entry.name}" if owner else entry.name
        if entry.removed_at is None:
            rows.append((workflow_id, *_version(entry), name))
        else:
            rows.append((workflow_id, "removed", _minute(entry.removed_at), entry.removed_by, name))
        if arguments.all:
            former = entry.versions if entry.removed_at is not None else entry.former
            rows += [("", *_version(version), "") for version in former]
    columns = [Column("Workflow"), Column("Version"), Column("Pushed"), Column("By", may_fold=True)]
    empty = "There are no workflows. Push the folder: workflows push."
    show(table([*columns, Column("Name", may_fold=True)], rows) if rows else empty)
    return 0


def _document(owner: str, workflow_id: str, entry: Entry, *, with_former: bool) -> dict[str, Any]:
    told: dict[str, Any] = {
        "workflow_id": workflow_id,
        "owner": owner or None,
        "name": entry.name,
        "hash": entry.hash,
        "pushed_at": moment(entry.pushed_at or None),
        "pushed_by": entry.pushed_by or None,
        "removed_at": moment(entry.removed_at),
        "removed_by": entry.removed_by or None,
    }
    if with_former:
        told["former"] = [
            {"hash": each.hash, "pushed_at": moment(each.pushed_at or None), "pushed_by": each.pushed_by or None}
            for each in entry.former
        ]
    return told


def _version(version: Version) -> tuple[str, str, str]:
    return (version.hash[:12], _minute(version.pushed_at), version.pushed_by or "–")


def _minute(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%MZ") if at_ms else "–"


def _show(arguments: argparse.Namespace) -> int:
    workflow = Catalog(_Stage(arguments).store, clock_s=lambda: 0.0).find(arguments.id, arguments.client)
    print(json.dumps(to_document(workflow), indent=2, ensure_ascii=False))
    return 0


def _remove(arguments: argparse.Namespace) -> int:
    there = _Stage(arguments)
    if not there.publisher.remove(arguments.id, by=there.who, owner=arguments.client):
        raise Rejected("not_found", f"There is no workflow {arguments.id} to remove.")
    print(f"{arguments.id} is removed; jobs that exist keep it. To bring it back: restore {arguments.id}")
    return 0


def _restore(arguments: argparse.Namespace) -> int:
    there = _Stage(arguments)
    version = there.publisher.restore(arguments.id, arguments.hash, by=there.who, owner=arguments.client)
    print(f"{arguments.id} is version {version.hash[:12]} again.")
    return 0
