"""
Whatever is asked of the ledger, in whatever order, late, repeated, by whoever: P6 to P8 hold, and the twin is equal.

`PROMISES_SIZE=all` makes ten times as many histories, twice as long.
"""

from __future__ import annotations

from typing import Any

import boto3
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from chalicelib.contract.states import State
from chalicelib.ledger import DynamoLedger
from tests.conftest import make_table
from tests.fakes import MemoryLedger
from tests.histories import ERRORS, LEASE_MS, Histories
from tests.sizes import ALL


def size(examples: int, steps: int) -> settings:
    """Bound the search."""
    more = (10, 2) if ALL else (1, 1)
    return settings(
        max_examples=examples * more[0],
        stateful_step_count=steps * more[1],
        deadline=None,
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


def test_one_story_with_every_move_is_the_same_on_both(aws: boto3.Session, resources: dict[str, Any]) -> None:
    """Each move as it should be, and once too late: what is stored, field by field, and what is answered is equal."""
    client = aws.client("dynamodb")
    table = DynamoLedger(client, make_table(client, resources["JobsTable"]["Properties"]))
    story = Histories([MemoryLedger(), table])
    first = story.begin()
    read = story.look(message=first)
    story.look_later(job=read, wait_ms=999)
    held = story.submit(held=True, shown=True, priority=100, budget=1, sheet=1)
    story.cancel(job=story.look(message=held))
    lease = story.claim(message=first, lease_ms=LEASE_MS)
    story.claim(message=first, lease_ms=LEASE_MS)
    story.heartbeat(lease=lease, fraction=0.25, files=1)
    story.ask_again(asks=story.release(lease=lease))
    lease = story.claim(message=first, lease_ms=5)
    story.ask_again(asks=story.retry(lease=lease, wait_ms=5_000, error=ERRORS[0]))
    story.claim(message=first, lease_ms=5)
    read = story.look(message=first)
    story.wait(pause_ms=999)
    message = story.resend(job=read)
    story.resend(job=read)
    story.claim(message=first, lease_ms=5)
    story.wait(pause_ms=LEASE_MS)
    lease = story.claim(message=message, lease_ms=LEASE_MS)
    story.ask_again(asks=story.commit(lease=lease))
    read = story.look(message=first)
    story.show_again(job=read)
    story.mark_synced(job=read, look_ms=None, is_gone=True)
    story.show_again(job=read)
    story.mark_synced(job=read, look_ms=600_000, is_gone=False)
    story.claim(message=message, lease_ms=5)
    last = story.submit(held=False, shown=False, priority=0, budget=1, sheet=0)
    lease = story.claim(message=last, lease_ms=5)
    read = story.look(message=last)
    story.give_up(job=read, error=ERRORS[0])
    story.cancel(job=story.look(message=held))
    story.wait(pause_ms=LEASE_MS)
    story.claim(message=last, lease_ms=5)
    story.ask_again(asks=story.give_up(job=read, error=ERRORS[0]))
    story.give_up(job=read, error=ERRORS[1])
    story.fail(lease=lease, error=ERRORS[1])
    story.mark_synced(job=read, look_ms=None, is_gone=False)
    story.mark_synced(job=story.look(message=last), look_ms=None, is_gone=False)
    stopped = story.submit(held=False, shown=True, priority=0, budget=1, sheet=None)
    story.claim(message=stopped, lease_ms=LEASE_MS)
    story.ask_again(asks=story.cancel(job=story.look(message=stopped)))
    story.teardown()
    ends = [State.SUCCEEDED, State.CANCELED, State.FAILED, State.CANCELED]
    assert [job.state for job in story.jobs.values()] == ends
