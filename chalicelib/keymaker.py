"""
Make keys and one-time codes: records in the keys table, the secrets of sheet keys in SSM. Shapes: `chalicelib.keys`.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import time
from typing import TYPE_CHECKING, Final

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_ssm import SSMClient

CODE_LIFETIME_S: Final = 24 * 3600


class KeyMaker:
    """Make, list and end keys."""

    def __init__(self, dynamodb: DynamoDBClient, ssm: SSMClient, table: str, secrets_prefix: str) -> None:
        self._dynamodb = dynamodb
        self._ssm = ssm
        self._table = table
        self._prefix = secrets_prefix

    def new_api(self, client_id: str) -> str:
        """Make a program's key and answer it; only its hash is kept."""
        key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        self._put(key_id, "api", client_id, secret_sha256=_hash(secret))
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
        try:
            self._dynamodb.update_item(
                TableName=self._table,
                Key={"key_id": {"S": code_id}},
                UpdateExpression="SET used_by = :sheet",
                ConditionExpression="kind = :code AND (attribute_not_exists(used_by) OR used_by = :sheet)",
                ExpressionAttributeValues={":sheet": {"S": spreadsheet_id}, ":code": {"S": "code"}},
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            return False
        return True

    def records(self) -> list[dict[str, str]]:
        """List what the table knows of each key."""
        pages = self._dynamodb.get_paginator("scan").paginate(TableName=self._table)
        return [
            {name: str(next(iter(value.values()))) for name, value in item.items()}
            for page in pages
            for item in page["Items"]
        ]

    def spreadsheet_of(self, key_id: str) -> str:
        """Say whose key it is; empty: no sheet's."""
        answer = self._dynamodb.get_item(TableName=self._table, Key={"key_id": {"S": key_id}}, ConsistentRead=True)
        return str(answer.get("Item", {}).get("spreadsheet_id", {}).get("S", ""))

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

    def _put(self, key_id: str, kind: str, client_id: str, **fields: str) -> None:
        record = {"key_id": key_id, "kind": kind, "client_id": client_id, "created_at": str(int(time.time())), **fields}
        self._dynamodb.put_item(
            TableName=self._table,
            Item={name: {"S": value} for name, value in record.items()},
            ConditionExpression="attribute_not_exists(key_id)",
        )


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
