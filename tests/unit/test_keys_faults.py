"""When the tables of keys do not answer, whoever asks is told to come again: no wrong key, and no fault of ours."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from chalicelib.contract.errors import Rejected, Unavailable
from chalicelib.keys import Keys, Nonces


def client_error(code: str, status: int) -> ClientError:
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "GetItem")  # type: ignore[typeddict-item]


class Table:
    """Be a client whose calls fail."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __getattr__(self, _name: str) -> Any:
        def call(**_: Any) -> None:
            raise self.error

        return call


BUSY = [
    client_error("ThrottlingException", 400),
    client_error("InternalServerError", 500),
    ReadTimeoutError(endpoint_url="x"),
]


@pytest.mark.parametrize("error", BUSY, ids=repr)
def test_a_busy_table_is_later(error: Exception) -> None:
    """The API makes a 503 with Retry-After of it."""
    table: Any = Table(error)
    with pytest.raises(Unavailable):
        Keys(table, table, "t", "/p", lambda: 0.0).sheet_key("0" * 12)
    with pytest.raises(Unavailable):
        Nonces(table, "t", lambda: 0.0).is_new("n", 900)


def test_a_refusal_is_a_fault_and_a_known_nonce_is_known() -> None:
    """Access denied is for the log."""
    table: Any = Table(client_error("AccessDeniedException", 400))
    with pytest.raises(ClientError):
        Keys(table, table, "t", "/p", lambda: 0.0).sheet_key("0" * 12)
    table = Table(client_error("ConditionalCheckFailedException", 400))
    assert not Nonces(table, "t", lambda: 0.0).is_new("n", 900)


class Revoked:
    """Be the table and the parameters of a sheet's key that is revoked while its secret is read."""

    def __init__(self) -> None:
        self.is_there = True

    def get_item(self, **_: Any) -> dict[str, Any]:
        record = {"kind": "sheet", "client_id": "studio", "spreadsheet_id": "s"}
        return {"Item": {name: {"S": value} for name, value in record.items()}} if self.is_there else {}

    def get_parameter(self, **_: Any) -> dict[str, Any]:
        self.is_there = False
        return {"Parameter": {"Value": "A" * 43}}


def test_a_sheets_key_that_is_revoked_meanwhile_is_refused() -> None:
    """The record is read again behind the secret: one that is gone by then opens nothing."""
    table: Any = Revoked()
    with pytest.raises(Rejected, match="not known here"):
        Keys(table, table, "t", "/p", lambda: 0.0).sheet_key("0" * 12)
