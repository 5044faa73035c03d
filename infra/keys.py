"""The verb `keys`: make, list and revoke the keys of programs and sheets."""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import boto3

from chalicelib.contract.errors import Rejected
from chalicelib.keymaker import KeyMaker
from chalicelib.registry import Registry
from infra import stack
from infra.release import add_stage_options, session

if TYPE_CHECKING:
    Verbs = argparse._SubParsersAction[Any]


def register(verbs: Verbs) -> None:
    """Add the verb."""
    top = verbs.add_parser("keys", help="keys of programs and sheets, and codes that connect")
    actions = top.add_subparsers(dest="action", required=True, metavar="<action>")
    api = actions.add_parser("new-api", help="make a program's key; it is shown once")
    api.add_argument("--client", required=True, help="whose jobs these are, e.g. studio-a")
    api.set_defaults(run=_new_api)
    code = actions.add_parser("new-code", help="make a one-time code that connects a spreadsheet; it is shown once")
    code.add_argument("--client", required=True, help="whose jobs these are, e.g. studio-a")
    code.add_argument("--hours", type=int, default=24, help="how long it may be used (default: 24)")
    code.set_defaults(run=_new_code)
    sheet = actions.add_parser("new-sheet", help="make a sheet's key, bound to one spreadsheet; it is shown once")
    sheet.add_argument("--client", required=True, help="whose jobs these are, e.g. studio-a")
    sheet.add_argument("--spreadsheet", required=True, help="the spreadsheet's id or its whole address")
    sheet.set_defaults(run=_new_sheet)
    listing = actions.add_parser("list", help="list the keys (never their secrets)")
    listing.set_defaults(run=_list)
    revoke = actions.add_parser("revoke", help="end a key; it is dead within a minute")
    revoke.add_argument("key_id", help="the 12 digits after ck_")
    revoke.set_defaults(run=_revoke)
    release = actions.add_parser("release", help="let somebody else connect a spreadsheet; its key ends")
    release.add_argument("spreadsheet", help="the spreadsheet's id or its whole address")
    release.set_defaults(run=_release)
    for action in (code, api, sheet, listing, revoke, release):
        add_stage_options(action)


def spreadsheet_id_of(text: str) -> str:
    """Take the id out of a spreadsheet's address; an id is answered as it is."""
    match = re.search(r"/spreadsheets/d/([A-Za-z0-9_-]+)", text)
    return match[1] if match else text.strip()


class Doorkeeper:
    """Make keys in a stage, and say whose spreadsheets are."""

    def __init__(self, made: boto3.Session, outputs: Mapping[str, str]) -> None:
        dynamodb = made.client("dynamodb")
        self.maker = KeyMaker(dynamodb, made.client("ssm"), outputs["KeysTable"], outputs["SecretsPrefix"])
        self.registry = Registry(dynamodb, outputs["SheetsTable"])

    def new_sheet(self, client_id: str, spreadsheet_id: str) -> str:
        """Make a sheet's key in place of its former one; raise `Rejected` when the spreadsheet is somebody else's."""
        there = self.registry.get(spreadsheet_id)
        if there.client_id not in (None, client_id):
            raise Rejected("bound", f"Spreadsheet {spreadsheet_id} belongs to {there.client_id} already.")
        key = self.maker.new_sheet(client_id, spreadsheet_id)
        key_id = key.split("_")[1]
        bound = self.registry.bind(spreadsheet_id, client_id, key_id, there.title)
        if bound is None:
            self.maker.revoke(key_id)
            raise Rejected("bound", f"Spreadsheet {spreadsheet_id} was connected by somebody else just now.")
        for former in {there.key_id, bound.former} - {None, key_id}:
            self.maker.revoke(str(former))
        return key

    def revoke(self, key_id: str) -> bool:
        """End a key, and what goes on without asking for it (auto mode); False when there is none of this id."""
        if spreadsheet_id := self.maker.spreadsheet_of(key_id):
            self.registry.disconnect(spreadsheet_id, key_id)
        return self.maker.revoke(key_id)

    def release(self, spreadsheet_id: str) -> bool:
        """Forget whose a spreadsheet is, and end its key; False when it was nobody's."""
        key_id = self.registry.get(spreadsheet_id).key_id
        if key_id:
            self.maker.revoke(key_id)
        return self.registry.release(spreadsheet_id)


def _keeper(arguments: argparse.Namespace) -> Doorkeeper:
    made = session(arguments)
    return Doorkeeper(made, stack.read_outputs(made, arguments.stage))


def _client(arguments: argparse.Namespace) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,39}", arguments.client):
        raise Rejected("bad_client", "A client's name has 1 to 40 lower-case letters, digits and hyphens.")
    return str(arguments.client)


def _new_code(arguments: argparse.Namespace) -> int:
    if not 1 <= arguments.hours <= 24 * 30:
        raise Rejected("bad_hours", "A code may be used for 1 to 720 hours.")
    print(_keeper(arguments).maker.new_code(_client(arguments), arguments.hours * 3600))
    print(f"Paste it within {arguments.hours} h in the spreadsheet: ComfySheet > Settings. It is not shown again.")
    return 0


def _new_api(arguments: argparse.Namespace) -> int:
    print(_keeper(arguments).maker.new_api(_client(arguments)))
    return 0


def _new_sheet(arguments: argparse.Namespace) -> int:
    key = _keeper(arguments).new_sheet(_client(arguments), spreadsheet_id_of(arguments.spreadsheet))
    print(f"{key}\nPaste it in the sheet: ComfySheet > Settings. It is not shown again.")
    return 0


def _list(arguments: argparse.Namespace) -> int:
    for record in sorted(_keeper(arguments).maker.records(), key=lambda record: record["created_at"]):
        made = time.strftime("%Y-%m-%d", time.gmtime(int(record["created_at"])))
        bound = record.get("spreadsheet_id", "")
        print(f"{record['key_id']}  {record['kind']:5}  {made}  {record['client_id']:20} {bound}")
    return 0


def _revoke(arguments: argparse.Namespace) -> int:
    if _keeper(arguments).revoke(arguments.key_id):
        print(f"Key {arguments.key_id} is revoked; it is dead within a minute.")
        return 0
    print(f"There is no key {arguments.key_id}.")
    return 1


def _release(arguments: argparse.Namespace) -> int:
    spreadsheet_id = spreadsheet_id_of(arguments.spreadsheet)
    if _keeper(arguments).release(spreadsheet_id):
        print(f"Spreadsheet {spreadsheet_id} is released; its key is dead within a minute.")
        return 0
    print(f"Spreadsheet {spreadsheet_id} is not connected.")
    return 1
