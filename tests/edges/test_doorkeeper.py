"""The operator's side of keys: what is ended is ended, also what goes on without asking for the key."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import boto3
import pytest

from chalicelib.contract.errors import Rejected
from infra.keys import Doorkeeper
from tests.conftest import make_table


@pytest.fixture
def keeper(aws: boto3.Session, resources: dict[str, Any]) -> Doorkeeper:
    client = aws.client("dynamodb")
    names = ("KeysTable", "SheetsTable", "RatesTable")
    tables = {name: make_table(client, resources[name]["Properties"]) for name in names}
    return Doorkeeper(aws, {**tables, "SecretsPrefix": f"/test/{uuid4().hex[:8]}"})


def test_a_revoked_key_starts_no_more_rows(keeper: Doorkeeper) -> None:
    """Auto mode needs no key: revoking one ends it; a program's key has none."""
    key_id = keeper.new_sheet("studio-a", "s").split("_")[1]
    keeper.registry.set_auto("s", 0, on=True)
    assert keeper.revoke(key_id) and keeper.registry.autos() == []
    assert keeper.registry.get("s").client_id == "studio-a" and keeper.maker.records() == []
    program = keeper.maker.new_api("studio-a").split("_")[1]
    assert keeper.revoke(program) and not keeper.revoke(program) and not keeper.revoke("nobody")


def test_a_new_key_ends_the_former_one_only_where_it_belongs(keeper: Doorkeeper) -> None:
    """One key for one spreadsheet; another client is refused and leaves no key behind."""
    first = keeper.new_sheet("studio-a", "s").split("_")[1]
    second = keeper.new_sheet("studio-a", "s").split("_")[1]
    with pytest.raises(Rejected, match="belongs to studio-a"):
        keeper.new_sheet("studio-b", "s")
    assert [record["key_id"] for record in keeper.maker.records()] == [second] and first != second
    assert keeper.release("s") and keeper.maker.records() == []
