"""
What the ledger asks of DynamoDB where the engine's answer cannot tell: how it reads, and what trouble is called.

A small table answers late reads, lost items and refused requests at will; it keeps what it was asked.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, cast

import pytest
from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError

from chalicelib.contract.errors import Unavailable
from chalicelib.contract.job import Job
from chalicelib.contract.ports import Lease
from chalicelib.ledger import DynamoLedger
from chalicelib.ledger.item import item_of
from tests.jobs import NOW, new_job

DAY_S = 24 * 3600


def refusal(code: str, status: int = 400, **more: Any) -> ClientError:
    answer: Any = {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}, **more}
    return ClientError(answer, "UpdateItem")


class Table:
    """Be a DynamoDB client that raises *trouble* or answers *answer*, whatever it is asked."""

    def __init__(self, answer: dict[str, Any] | None = None, trouble: Exception | None = None) -> None:
        self.answer = answer or {}
        self.trouble = trouble
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def __getattr__(self, operation: str) -> Callable[..., dict[str, Any]]:
        def asked(**call: Any) -> dict[str, Any]:
            self.calls.append((operation, call))
            if self.trouble is not None and operation != "get_item":
                raise self.trouble
            return self.answer

        return asked


def ledger_of(table: Table) -> DynamoLedger:
    return DynamoLedger(table, "jobs")  # type: ignore[arg-type]


def test_a_job_is_read_as_it_is_now() -> None:
    """Strongly consistent, one or many: whoever acts on a job acts on its newest state."""
    job = new_job()
    key = {"job_id": {"S": job.job_id}}
    one = Table({"Item": item_of(job)})
    assert ledger_of(one).get(job.job_id) == job
    assert one.calls == [("get_item", {"TableName": "jobs", "Key": key, "ConsistentRead": True})]
    many = Table({"Responses": {"jobs": [item_of(job)]}})
    assert ledger_of(many).get_many([job.job_id]) == [job]
    assert many.calls == [("batch_get_item", {"RequestItems": {"jobs": {"Keys": [key], "ConsistentRead": True}}})]


def test_no_jobs_are_read_without_a_request() -> None:
    """DynamoDB refuses an empty list of keys."""
    table = Table()
    assert ledger_of(table).get_many([]) == [] == table.calls


def test_a_read_of_many_may_find_none() -> None:
    """An answer may leave out the table's name, where nothing of it was found."""
    assert ledger_of(Table({"Responses": {}})).get_many([new_job().job_id]) == []


def test_a_job_goes_ninety_days_after_it_was_made() -> None:
    """DynamoDB takes items away by `ttl`, in whole seconds."""
    table = Table()
    assert ledger_of(table).submit(new_job(now=NOW + 999)).created
    [(operation, call)] = table.calls
    assert operation == "put_item" and call["TableName"] == "jobs"
    assert call["Item"]["ttl"] == {"N": str(NOW // 1000 + 90 * DAY_S)}


def refused_table(there: Job | None) -> Table:
    """Make a table whose condition fails without saying on what; a read finds *there*."""
    return Table({} if there is None else {"Item": item_of(there)}, refusal("ConditionalCheckFailedException"))


def test_a_submit_that_is_refused_without_the_item_reads_it() -> None:
    """Whose it is, is told by its token."""
    job = new_job()
    other = job.model_copy(update={"submit_token": "another"})
    answer = ledger_of(refused_table(other)).submit(job)
    assert answer.job == other and not answer.created
    assert ledger_of(refused_table(job)).submit(job).created


def test_a_submit_that_is_refused_by_nothing_is_tried_again_later() -> None:
    """The item is there and is not there: perhaps it just went."""
    job = new_job()
    with pytest.raises(Unavailable, match=r"^The job table answered in contradiction\. Try again\.$"):
        ledger_of(refused_table(None)).submit(job)


MOVES: list[Callable[[DynamoLedger, Job], object]] = [
    lambda ledger, job: ledger.get(job.job_id),
    lambda ledger, job: ledger.get_many([job.job_id]),
    lambda ledger, job: ledger.submit(job),
    lambda ledger, job: ledger.cancel(job.job_id, now=NOW),
    lambda ledger, job: ledger.resend(job, now=NOW),
    lambda ledger, job: ledger.look_later(job, due_at=NOW),
    lambda ledger, job: ledger.put_off(job.job_id, due_at=NOW),
    lambda ledger, job: ledger.mark_synced(job),
    lambda ledger, job: ledger.show_again(job.job_id, now=NOW),
    lambda ledger, job: ledger.line(job.client_id, 10),
    lambda ledger, job: ledger.open_jobs(job.client_id),
    lambda ledger, job: ledger.census(),
]


class Down(Table):
    """Be a table that raises *trouble* for reads too."""

    def __getattr__(self, operation: str) -> Callable[..., dict[str, Any]]:
        def asked(**call: Any) -> dict[str, Any]:
            assert self.trouble is not None
            raise self.trouble

        return asked


@pytest.mark.parametrize(
    "trouble",
    [
        refusal("ProvisionedThroughputExceededException"),
        refusal("ThrottlingException"),
        refusal("RequestLimitExceeded"),
        refusal("TransactionInProgress"),
        refusal("InternalServerError", 500),
        refusal("ServiceUnavailable", 503),
    ],
)
def test_a_busy_table_is_tried_again_later(trouble: ClientError) -> None:
    """Whatever was asked: throttled, or DynamoDB's own fault; the sentence is for whoever waits."""
    for move in MOVES:
        with pytest.raises(Unavailable, match=r"^The job table is busy\. Try again in a moment\.$") as raised:
            move(ledger_of(Down(trouble=trouble)), new_job())
        assert raised.value.__cause__ is trouble


def test_a_table_out_of_reach_is_tried_again_later() -> None:
    """No answer at all: the sentence names the kind of fault and no address."""
    trouble: BotoCoreError = EndpointConnectionError(endpoint_url="https://secret.example")
    for move in MOVES:
        with pytest.raises(Unavailable) as raised:
            move(ledger_of(Down(trouble=trouble)), new_job())
        told = "The job table cannot be reached (EndpointConnectionError). Try again in a moment."
        assert str(raised.value) == told and raised.value.__cause__ is trouble


@pytest.mark.parametrize("trouble", [refusal("ValidationException", 499), refusal("AccessDeniedException")])
def test_what_no_waiting_mends_rises(trouble: ClientError) -> None:
    """A request that DynamoDB does not understand or allow is a fault of ours."""
    for move in MOVES:
        with pytest.raises(ClientError) as raised:
            move(ledger_of(Down(trouble=trouble)), new_job())
        assert raised.value is trouble


def test_a_refusal_without_a_status_is_judged_by_its_code() -> None:
    """Not every answer has come over HTTP."""
    bare = ClientError({"Error": {"Code": "ValidationException", "Message": "no"}}, "GetItem")
    with pytest.raises(ClientError):
        ledger_of(Down(trouble=bare)).get(new_job().job_id)


def test_every_write_asks_what_stood_in_its_way() -> None:
    """And goes under a condition: without the old item a repeated write could not know its own work."""
    job = new_job()
    writes: list[Callable[[DynamoLedger], object]] = [
        lambda ledger: ledger.submit(job),
        lambda ledger: ledger.cancel(job.job_id, now=NOW),
        lambda ledger: ledger.resend(job, now=NOW),
        lambda ledger: ledger.look_later(job, due_at=NOW),
        lambda ledger: ledger.mark_synced(job),
        lambda ledger: ledger.show_again(job.job_id, now=NOW),
    ]
    for write in writes:
        table = Table({"Attributes": item_of(job)})
        write(ledger_of(table))
        [(_, call)] = table.calls
        assert call["ConditionExpression"] and call["ReturnValuesOnConditionCheckFailure"] == "ALL_OLD"


def test_a_job_that_cannot_be_read_is_put_off_all_the_same() -> None:
    """The sweeper's round goes on, also when that job has left its index meanwhile."""
    broken = {**item_of(new_job()), "state": {"S": "no state of ours"}}
    gone = Table(trouble=refusal("ConditionalCheckFailedException", Item=broken))
    ledger_of(gone).put_off(new_job().job_id, due_at=NOW)
    assert [operation for operation, _ in gone.calls] == ["update_item"]


def test_a_move_without_a_value_says_which() -> None:
    """A mistake of ours is found before anything is written."""
    table = Table()
    ledger, nothing = ledger_of(table), cast("str", None)
    with pytest.raises(TypeError, match=r"^phase: "):
        ledger.heartbeat(Lease("x", 1, "t"), until=NOW, phase=nothing, progress=None)
    with pytest.raises(TypeError, match=r"^token: "):
        ledger.heartbeat(Lease("x", 1, nothing), until=NOW, phase="x", progress=None)
    assert table.calls == []


def test_what_cannot_be_read_is_told_by_the_names_of_its_fields(caplog: pytest.LogCaptureFixture) -> None:
    """One line for each: which job, what kind of fault, which fields; what stands in them may be somebody's prompt."""
    job = new_job()
    odd = {
        **item_of(job),
        "state": {"S": "paused"},
        "last_error": {"S": '{"code": "x", "text": "a secret", "new": 1, "newer": 2}'},
    }
    lost = {**item_of(job), "version": {"S": "1"}}
    with caplog.at_level(logging.ERROR):
        assert ledger_of(Table({"Responses": {"jobs": [odd, lost]}})).get_many([job.job_id]) == []
    names = ("action", "job_id", "reason", "fields")
    told = [tuple(vars(record)[name] for name in names) for record in caplog.records]
    assert told == [
        ("unreadable", job.job_id, "ValidationError", ["last_error", "state"]),
        ("unreadable", job.job_id, "KeyError", []),
    ]
