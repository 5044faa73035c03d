"""
Make keys and one-time codes: records in the keys table, the secrets of sheet keys in SSM. Shapes: `chalicelib.keys`.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from chalicelib.contract.errors import Rejected

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_ssm import SSMClient

CODE_LIFETIME_S: Final = 24 * 3600
TERMS: Final = frozenset(
    {"scopes", "spreadsheet_id", "rate_per_s", "burst", "queued_max", "gpu_s_per_day", "expires_at", "note"}
)
"""What a key's record may say besides whose it is; all are text. Absent: as usual (`chalicelib.contract.limits`)."""
NO_TERMS: Final[Mapping[str, str]] = MappingProxyType({})


class KeyMaker:
    """Make, list and end keys."""

    def __init__(self, dynamodb: DynamoDBClient, ssm: SSMClient, table: str, secrets_prefix: str) -> None:
        self._dynamodb = dynamodb
        self._ssm = ssm
        self._table = table
        self._prefix = secrets_prefix

    def new_api(self, client_id: str, terms: Mapping[str, str] = NO_TERMS) -> str:
        """Make a program's key and answer it; only its hash is kept. *terms*: those of `TERMS` that are not usual."""
        key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        self._put(key_id, "api", client_id, secret_sha256=_hash(secret), **_known(terms))
        return f"ck_{key_id}_{secret}"

    def change(self, key_id: str, terms: Mapping[str, str]) -> bool:
        """Set *terms* of a key, an empty one back to what is usual; False when there is none of this id."""
        names = {f"#{name}": name for name in _known(terms)}
        sets = [f"#{name} = :{name}" for name, value in terms.items() if value]
        removes = [f"#{name}" for name, value in terms.items() if not value]
        update = (f"SET {', '.join(sets)} " if sets else "") + (f"REMOVE {', '.join(removes)}" if removes else "")
        values = {f":{name}": value for name, value in terms.items() if value}
        return self._update(key_id, update, values, names=names)

    def rotate(self, key_id: str, old_lives_s: int) -> str:
        """
        Give a key of a program or a sheet a new secret, and answer the key; the present one lives for *old_lives_s*.

        A secret that was former already is dead from now on: a key has two at most. Raise `Rejected` (no_key).
        """
        record = self.record(key_id)
        secret = secrets.token_urlsafe(32)
        values = {":until": str(int(time.time()) + old_lives_s), ":kind": record.get("kind", "")}
        if record.get("kind") == "api":
            values |= {":new": _hash(secret), ":old": record["secret_sha256"]}
            update = "SET secret_sha256 = :new, old_sha256 = :old, old_until = :until"
            # Two who rotate at once would each hold a key; the later one is told.
            if not self._update(key_id, update, values, condition="kind = :kind AND secret_sha256 = :old"):
                raise Rejected("rotated", f"Key {key_id} was rotated by somebody else just now.")
        elif record.get("kind") == "sheet":
            present = self._ssm.get_parameter(Name=self._name(key_id), WithDecryption=True)["Parameter"]["Value"]
            both = f"{secret} {present.split()[0]}"
            # First the time, then the secrets: at no moment is the present one dead.
            if not self._update(key_id, "SET old_until = :until", values, condition="kind = :kind"):
                raise Rejected("no_key", f"There is no key {key_id}.")
            self._ssm.put_parameter(Name=self._name(key_id), Value=both, Type="SecureString", Overwrite=True)
        else:
            raise Rejected("no_key", f"There is no key {key_id} of a program or a sheet.")
        return f"ck_{key_id}_{secret}"

    def new_code(self, client_id: str, lifetime_s: int = CODE_LIFETIME_S) -> str:
        """Make a code that connects one spreadsheet, and answer it; only its hash is kept."""
        key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        expires_at = str(int(time.time()) + lifetime_s)
        self._put(key_id, "code", client_id, secret_sha256=_hash(secret), expires_at=expires_at)
        return f"cc_{key_id}_{secret}"

    def new_sheet(self, client_id: str, spreadsheet_id: str) -> str:
        """Make a sheet's key and answer it. Whose the spreadsheet is, is the caller's to see to."""
        key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        self._ssm.put_parameter(Name=self._name(key_id), Value=secret, Type="SecureString", Overwrite=False)
        self._put(key_id, "sheet", client_id, spreadsheet_id=spreadsheet_id)
        return f"ck_{key_id}_{secret}"

    def use_code(self, code_id: str, spreadsheet_id: str) -> bool:
        """Note which spreadsheet a code connects; False when it has connected another one."""
        return self._update(
            code_id,
            "SET used_by = :sheet",
            {":sheet": spreadsheet_id, ":code": "code"},
            condition="kind = :code AND (attribute_not_exists(used_by) OR used_by = :sheet)",
        )

    def records(self) -> list[dict[str, str]]:
        """List what the table knows of each key."""
        pages = self._dynamodb.get_paginator("scan").paginate(TableName=self._table)
        return [
            {name: str(next(iter(value.values()))) for name, value in item.items()}
            for page in pages
            for item in page["Items"]
        ]

    def record(self, key_id: str) -> dict[str, str]:
        """Read what the table knows of a key; empty: there is none."""
        answer = self._dynamodb.get_item(TableName=self._table, Key={"key_id": {"S": key_id}}, ConsistentRead=True)
        return {name: str(next(iter(value.values()))) for name, value in answer.get("Item", {}).items()}

    def spreadsheet_of(self, key_id: str) -> str:
        """Say whose key it is; empty: no sheet's."""
        record = self.record(key_id)
        return record.get("spreadsheet_id", "") if record.get("kind") == "sheet" else ""

    def revoke(self, key_id: str) -> bool:
        """End a key or a code; False when there is none of this id."""
        answer = self._dynamodb.delete_item(
            TableName=self._table, Key={"key_id": {"S": key_id}}, ReturnValues="ALL_OLD"
        )
        record = answer.get("Attributes", {})
        if record.get("kind", {}).get("S") == "sheet":
            with contextlib.suppress(self._ssm.exceptions.ParameterNotFound):
                self._ssm.delete_parameter(Name=self._name(key_id))
        return bool(record)

    def _name(self, key_id: str) -> str:
        return f"{self._prefix}/sheet-keys/{key_id}"

    def _update(
        self,
        key_id: str,
        update: str,
        values: Mapping[str, str],
        *,
        names: Mapping[str, str] = NO_TERMS,
        condition: str = "attribute_exists(key_id)",
    ) -> bool:
        """Change a record; False when *condition* does not hold."""
        call: dict[str, Any] = {"ExpressionAttributeNames": dict(names)} if names else {}
        if values:
            call["ExpressionAttributeValues"] = {name: {"S": value} for name, value in values.items()}
        try:
            self._dynamodb.update_item(
                TableName=self._table,
                Key={"key_id": {"S": key_id}},
                UpdateExpression=update,
                ConditionExpression=condition,
                **call,
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            return False
        return True

    def _put(self, key_id: str, kind: str, client_id: str, **fields: str) -> None:
        record = {"key_id": key_id, "kind": kind, "client_id": client_id, "created_at": str(int(time.time())), **fields}
        self._dynamodb.put_item(
            TableName=self._table,
            Item={name: {"S": value} for name, value in record.items()},
            ConditionExpression="attribute_not_exists(key_id)",
        )


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _known(terms: Mapping[str, str]) -> Mapping[str, str]:
    if unknown := set(terms) - TERMS:
        raise ValueError(f"no terms of a key: {sorted(unknown)}")
    return terms
