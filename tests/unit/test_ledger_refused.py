"""What the ledger does when DynamoDB holds what it cannot read, or refuses what only counts."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import pytest
from botocore.exceptions import ClientError

from chalicelib.contract.job import Job, JobError, Timings
from chalicelib.contract.ports import Lease
from chalicelib.ledger import DynamoLedger
from chalicelib.ledger.item import item_of
from tests.jobs import NOW, new_job


class Table:
    """Be a DynamoDB client with some items, whose policy names not every attribute."""

    def __init__(
        self, *items: Mapping[str, Any], refused: frozenset[str] = frozenset(), code: str = "AccessDeniedException"
    ) -> None:
        self.items = items
        self.code = code
        self.refused = refused
        self.written: list[dict[str, Any]] = []
        self.asked = 0

    def batch_get_item(self, **_: Any) -> dict[str, Any]:
        return {"Responses": {"jobs": list(self.items)}}

    def update_item(self, **call: Any) -> dict[str, Any]:
        self.asked += 1
        if self.refused & set(call["ExpressionAttributeNames"].values()):
            raise ClientError({"Error": {"Code": self.code, "Message": "no"}}, "UpdateItem")
        self.written.append(call)
        return {"Attributes": dict(self.items[0])}


def ledger_of(table: Table) -> DynamoLedger:
    return DynamoLedger(table, "jobs")  # type: ignore[arg-type]


def odd(job: Job, **changes: Any) -> dict[str, Any]:
    return {**item_of(job), **changes}


@pytest.mark.parametrize(
    "changes",
    [
        {"state": {"S": "paused"}},
        {"version": {"S": "1"}},
        {"outputs": {"S": "[{"}},
        {"last_error": {"S": '{"code": "x", "text": "a secret prompt", "new": 1}'}},
        {"lease_until": {"N": "1e99"}},
    ],
)
def test_one_item_that_cannot_be_read_is_left_out_and_told(
    changes: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """A later release may have written it; the others of the list are read all the same, and no content is logged."""
    first, strange, last = new_job(), new_job(), new_job()
    table = Table(item_of(first), odd(strange, **changes), item_of(last))
    with caplog.at_level(logging.ERROR):
        found = ledger_of(table).get_many([first.job_id, strange.job_id, last.job_id])
    assert found == [first, last]
    [told] = caplog.records
    assert vars(told)["job_id"] == strange.job_id and "secret" not in str(vars(told))


ERROR = JobError(code="x", text="x")


COUNTS = frozenset({"spent_ms", "given_back"})


@pytest.mark.parametrize("move", ["heartbeat", "retry", "commit", "fail", "release"])
def test_what_only_counts_costs_no_job(move: str) -> None:
    """While releases are mixed the worker's policy may not name it: what is written is as if it were not told."""
    job = new_job()
    lease = Lease(job.job_id, 1, "t")

    def write(ledger: DynamoLedger, told: int | None) -> bool:
        match move:
            case "heartbeat":
                return ledger.heartbeat(lease, until=NOW, phase="x", progress=None, spent_ms=told)
            case "retry":
                return ledger.retry(lease, now=NOW, not_before=NOW, error=ERROR, spent_ms=told)
            case "commit":
                return ledger.commit(lease, now=NOW, outputs=[], timings=Timings(), spent_ms=told)
            case "fail":
                return ledger.fail(lease, now=NOW, error=ERROR, spent_ms=told)
        return ledger.release(lease, now=NOW, given_back=told)

    closed, silent = Table(item_of(job), refused=COUNTS), Table(item_of(job))
    assert write(ledger_of(closed), 1) and write(ledger_of(silent), None)
    assert closed.written == silent.written and len(silent.written) == 1 and closed.asked == 2


def test_only_a_policy_is_gone_round() -> None:
    """A write that DynamoDB refuses for another reason is not tried once more with less in it."""
    job = new_job()
    table = Table(item_of(job), refused=COUNTS, code="ValidationException")
    with pytest.raises(ClientError):
        ledger_of(table).fail(Lease(job.job_id, 1, "t"), now=NOW, error=ERROR, spent_ms=1)
    assert table.asked == 1


def test_a_worker_that_is_shut_out_is_told_so() -> None:
    """A policy that lacks more than what counts is a wrong setting, and rises."""
    job = new_job()
    table = Table(item_of(job), refused=frozenset({"phase"}))
    with pytest.raises(ClientError):
        ledger_of(table).heartbeat(Lease(job.job_id, 1, "t"), until=NOW, phase="x", progress=None, spent_ms=1)
    assert table.written == []
