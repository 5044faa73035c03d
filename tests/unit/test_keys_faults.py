"""When the tables of keys do not answer, whoever asks is told to come again: no wrong key, and no fault of ours."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from chalicelib.contract.errors import Unavailable
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
