"""The verb `keys`: make, list and revoke the keys of programs and sheets."""

from __future__ import annotations

import argparse
import hashlib
import re
import secrets
import time
from typing import TYPE_CHECKING, Any

import boto3

from chalicelib.contract.errors import Rejected
from infra import stack
from infra.release import add_stage_options, session

if TYPE_CHECKING:
    Verbs = argparse._SubParsersAction[Any]


def register(verbs: Verbs) -> None:
    """Add the verb."""
    top = verbs.add_parser("keys", help="the keys of programs and sheets: new-api, new-sheet, list, revoke")
    actions = top.add_subparsers(dest="action", required=True, metavar="<action>")
    api = actions.add_parser("new-api", help="make a program's key; it is shown once")
    api.add_argument("--client", required=True, help="whose jobs these are, e.g. studio-a")
    api.set_defaults(run=_new_api)
    sheet = actions.add_parser("new-sheet", help="make a sheet's key, bound to one spreadsheet; it is shown once")
    sheet.add_argument("--client", required=True, help="whose jobs these are, e.g. studio-a")
    sheet.add_argument("--spreadsheet", required=True, help="the spreadsheet's id or its whole address")
    sheet.set_defaults(run=_new_sheet)
    listing = actions.add_parser("list", help="list the keys (never their secrets)")
    listing.set_defaults(run=_list)
    revoke = actions.add_parser("revoke", help="end a key; it is dead within a minute")
    revoke.add_argument("key_id", help="the 12 digits after ck_")
    revoke.set_defaults(run=_revoke)
    for action in (api, sheet, listing, revoke):
        add_stage_options(action)


class KeyMaker:
    """Make keys in a stage: records in the keys table, sheet secrets in SSM. Shapes: chalicelib/keys.py."""

    def __init__(self, made: boto3.Session, table: str, secrets_prefix: str) -> None:
        self._dynamodb = made.client("dynamodb")
        self._ssm = made.client("ssm")
        self._table = table
        self._prefix = secrets_prefix

    def new_api(self, client_id: str) -> str:
        """Make a program's key and answer it; only its hash is kept."""
        key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        self._put(key_id, "api", client_id, secret_sha256=hashlib.sha256(secret.encode()).hexdigest())
        return f"ck_{key_id}_{secret}"

    def new_sheet(self, client_id: str, spreadsheet_id: str) -> str:
        """Make a sheet's key and answer it; raise `Rejected` when another client holds the spreadsheet."""
        for record in self.records():
            if record.get("spreadsheet_id") == spreadsheet_id and record["client_id"] != client_id:
                raise Rejected("bound", f"Spreadsheet {spreadsheet_id} belongs to {record['client_id']} already.")
        key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        self._ssm.put_parameter(
            Name=f"{self._prefix}/sheet-keys/{key_id}", Value=secret, Type="SecureString", Overwrite=False
        )
        self._put(key_id, "sheet", client_id, spreadsheet_id=spreadsheet_id)
        return f"ck_{key_id}_{secret}"

    def records(self) -> list[dict[str, str]]:
        """List what the table knows of each key."""
        pages = self._dynamodb.get_paginator("scan").paginate(TableName=self._table)
        return [
            {name: str(next(iter(value.values()))) for name, value in item.items()}
            for page in pages
            for item in page["Items"]
        ]

    def revoke(self, key_id: str) -> bool:
        """End a key; False when there is none of this id."""
        answer = self._dynamodb.delete_item(
            TableName=self._table, Key={"key_id": {"S": key_id}}, ReturnValues="ALL_OLD"
        )
        record = answer.get("Attributes", {})
        if record.get("kind", {}).get("S") == "sheet":
            self._ssm.delete_parameter(Name=f"{self._prefix}/sheet-keys/{key_id}")
        return bool(record)

    def _put(self, key_id: str, kind: str, client_id: str, **fields: str) -> None:
        record = {"key_id": key_id, "kind": kind, "client_id": client_id, "created_at": str(int(time.time())), **fields}
        self._dynamodb.put_item(
            TableName=self._table,
            Item={name: {"S": value} for name, value in record.items()},
            ConditionExpression="attribute_not_exists(key_id)",
        )


def spreadsheet_id_of(text: str) -> str:
    """Take the id out of a spreadsheet's address; an id is answered as it is."""
    match = re.search(r"/spreadsheets/d/([A-Za-z0-9_-]+)", text)
    return match[1] if match else text.strip()


def _maker(arguments: argparse.Namespace) -> KeyMaker:
    made = session(arguments)
    outputs = stack.read_outputs(made, arguments.stage)
    return KeyMaker(made, outputs["KeysTable"], outputs["SecretsPrefix"])


def _client(arguments: argparse.Namespace) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,39}", arguments.client):
        raise Rejected("bad_client", "A client's name has 1 to 40 lower-case letters, digits and hyphens.")
    return str(arguments.client)


def _new_api(arguments: argparse.Namespace) -> int:
    print(_maker(arguments).new_api(_client(arguments)))
    return 0


def _new_sheet(arguments: argparse.Namespace) -> int:
    key = _maker(arguments).new_sheet(_client(arguments), spreadsheet_id_of(arguments.spreadsheet))
    print(f"{key}\nPaste it in the sheet: ComfySheet > Settings. It is not shown again.")
    return 0


def _list(arguments: argparse.Namespace) -> int:
    for record in sorted(_maker(arguments).records(), key=lambda record: record["created_at"]):
        made = time.strftime("%Y-%m-%d", time.gmtime(int(record["created_at"])))
        bound = record.get("spreadsheet_id", "")
        print(f"{record['key_id']}  {record['kind']:5}  {made}  {record['client_id']:20} {bound}")
    return 0


def _revoke(arguments: argparse.Namespace) -> int:
    if _maker(arguments).revoke(arguments.key_id):
        print(f"Key {arguments.key_id} is revoked; it is dead within a minute.")
        return 0
    print(f"There is no key {arguments.key_id}.")
    return 1
