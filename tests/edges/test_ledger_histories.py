"""
Whatever is asked of the ledger, in whatever order, late, repeated, by whoever: P6 to P8 hold, and the twin is equal.

`PROMISES_SIZE=all` makes ten times as many histories, twice as long.
"""

from __future__ import annotations

import os
from typing import Any

import boto3
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from chalicelib.ledger import DynamoLedger
from tests.conftest import make_table
from tests.fakes import MemoryLedger
from tests.histories import Histories

IS_ALL = os.environ.get("PROMISES_SIZE") == "all"


def size(examples: int, steps: int) -> settings:
    """Bound the search; what is found is found again at the next run."""
    more = (10, 2) if IS_ALL else (1, 1)
    return settings(
        max_examples=examples * more[0],
        stateful_step_count=steps * more[1],
        deadline=None,
        derandomize=not IS_ALL,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def test_no_history_breaks_a_promise_in_memory() -> None:
    """Two hundred histories of fifty moves on the twin."""
    run_state_machine_as_test(lambda: Histories([MemoryLedger()]), settings=size(200, 50))


def test_no_history_tells_the_twin_from_the_table(aws: boto3.Session, resources: dict[str, Any]) -> None:
    """The same moves on DynamoDB's protocol and on the twin: every answer, every item and every index is equal."""
    client = aws.client("dynamodb")
    shape = resources["JobsTable"]["Properties"]

    def both() -> Histories:
        return Histories([MemoryLedger(), DynamoLedger(client, make_table(client, shape))])

    run_state_machine_as_test(both, settings=size(15, 40))
