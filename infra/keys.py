"""The verb `keys`: make, list, change, rotate and revoke the keys of programs and sheets."""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import boto3

from chalicelib.accounts import Accounts
from chalicelib.contract.errors import Rejected
from chalicelib.keymaker import KeyMaker
from chalicelib.registry import Registry
from infra import stack
from infra.key_terms import COLUMNS, add_terms, document, shown, spreadsheet_id_of, terms_of
from infra.paper import show, show_json, table
from infra.release import add_stage_options, session

if TYPE_CHECKING:
    Verbs = argparse._SubParsersAction[Any]


def register(verbs: Verbs) -> None:
    """Add the verb."""
    top = verbs.add_parser("keys", help="keys of programs and sheets, and codes that connect")
    actions = top.add_subparsers(dest="action", required=True, metavar="<action>")
    create = actions.add_parser("create", help="make a program's key; it is shown once")
    create.add_argument("--client", required=True, help="whose jobs these are, e.g. studio-a")
    create.add_argument("--scopes", help="what it may do: read, submit, raw, admin (default: read,submit)")
    create.add_argument("--sheet", help="the spreadsheet whose rows its jobs may fill: its id or its whole address")
    create.set_defaults(run=_create)
    change = actions.add_parser("set", help="change what a key may do and use; an empty value: as usual")
    change.add_argument("key_id", help="the 12 digits after ck_")
    change.add_argument("--scopes", help="as for create; of a program's key only")
    change.set_defaults(run=_change, sheet=None)
    for action in (create, change):
        add_terms(action)
    rotate = actions.add_parser("rotate", help="give a key a new secret; the present one lives on for a while")
    rotate.add_argument("key_id", help="the 12 digits after ck_")
    rotate.add_argument("--hours", type=int, default=24, help="how long the present secret lives (default: 24)")
    rotate.set_defaults(run=_rotate)
    code = actions.add_parser("new-code", help="make a one-time code that connects a spreadsheet; it is shown once")
    code.add_argument("--client", required=True, help="whose jobs these are, e.g. studio-a")
    code.add_argument("--hours", type=int, default=24, help="how long it may be used (default: 24)")
    code.set_defaults(run=_new_code)
    sheet = actions.add_parser("new-sheet", help="make a sheet's key, bound to one spreadsheet; it is shown once")
    sheet.add_argument("--client", required=True, help="whose jobs these are, e.g. studio-a")
    sheet.add_argument("--spreadsheet", required=True, help="the spreadsheet's id or its whole address")
    sheet.set_defaults(run=_new_sheet)
    listing = actions.add_parser("list", help="list the keys (never their secrets)")
    listing.add_argument("--json", action="store_true", help="as JSON, for scripts")
    listing.set_defaults(run=_list)
    revoke = actions.add_parser("revoke", help="end a key; it is dead within a minute")
    revoke.add_argument("key_id", help="the 12 digits after ck_")
    revoke.set_defaults(run=_revoke)
    release = actions.add_parser("release", help="let somebody else connect a spreadsheet; its key ends")
    release.add_argument("spreadsheet", help="the spreadsheet's id or its whole address")
    release.set_defaults(run=_release)
    for action in (create, change, rotate, code, sheet, listing, revoke, release):
        add_stage_options(action)


class Doorkeeper:
    """Make keys in a stage, and say whose spreadsheets are."""

    def __init__(self, made: boto3.Session, outputs: Mapping[str, str]) -> None:
        dynamodb = made.client("dynamodb")
        self.maker = KeyMaker(dynamodb, made.client("ssm"), outputs["KeysTable"], outputs["SecretsPrefix"])
        self.registry = Registry(dynamodb, outputs["SheetsTable"])
        self._accounts = Accounts(dynamodb, outputs["RatesTable"])

    def used_at(self, key_id: str, now_s: float) -> int | None:
        """Say when a key was last used (ms since the epoch); None: not within what the counters remember."""
        return self._accounts.account(key_id, int(now_s * 1000)).used_at

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


def _create(arguments: argparse.Namespace) -> int:
    terms = {name: value for name, value in terms_of(arguments, time.time()).items() if value}
    print(_keeper(arguments).maker.new_api(_client(arguments), terms))
    return 0


def _change(arguments: argparse.Namespace) -> int:
    terms = terms_of(arguments, time.time())
    if not terms:
        raise Rejected("bad_terms", "Say what is to change, e.g. --queued-max 5000.")
    if not _keeper(arguments).maker.change(arguments.key_id, terms):
        raise Rejected("no_key", f"There is no key {arguments.key_id}.")
    print(f"Key {arguments.key_id} is changed; it is known everywhere within a minute.")
    return 0


def _rotate(arguments: argparse.Namespace) -> int:
    if not 0 <= arguments.hours <= 24 * 30:
        raise Rejected("bad_hours", "The present secret may live on for 0 to 720 hours.")
    print(_keeper(arguments).maker.rotate(arguments.key_id, arguments.hours * 3600))
    print(f"Use it instead of the present one, which ends in {arguments.hours} h.")
    print("It opens at once, and is not shown again.")
    return 0


def _new_sheet(arguments: argparse.Namespace) -> int:
    key = _keeper(arguments).new_sheet(_client(arguments), spreadsheet_id_of(arguments.spreadsheet))
    print(f"{key}\nPaste it in the sheet: ComfySheet > Settings. It is not shown again.")
    return 0


def _list(arguments: argparse.Namespace) -> int:
    keeper, now_s = _keeper(arguments), time.time()
    records = sorted(keeper.maker.records(), key=lambda record: record["created_at"])
    known = [(record, keeper.used_at(record["key_id"], now_s)) for record in records]
    if arguments.json:
        show_json({"keys": [document(record, used_at, now_s) for record, used_at in known]})
    elif known:
        show(table(COLUMNS, [shown(record, used_at, now_s) for record, used_at in known]))
    else:
        show("There are no keys. Make one: keys create --client NAME, or keys new-code for a spreadsheet.")
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
