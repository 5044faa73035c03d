"""Judge what the autoscaler keeps and reads (twins in memory and DynamoDB's protocol, by one suite)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import boto3
import pytest

from bench.scale_world import MemoryBook
from chalicelib.backlog import Backlog
from chalicelib.contract.errors import Unavailable
from chalicelib.contract.job import Job
from chalicelib.contract.states import State
from chalicelib.group_book import DynamoGroups, Group, Groups, Known
from chalicelib.ledger import DynamoLedger
from chalicelib.rates import Counters, UsageBook
from chalicelib.scale_book import DynamoBook
from chalicelib.scale_memory import Book, Memory, Note, Order
from chalicelib.scaling import Load
from tests.conftest import make_table
from tests.jobs import NOW, new_job
from tests.scale_fakes import MemoryGroups


@pytest.fixture(scope="module")
def rates(aws: boto3.Session, resources: dict[str, Any]) -> tuple[Any, str]:
    client = aws.client("dynamodb")
    return client, make_table(client, resources["RatesTable"]["Properties"])


@pytest.fixture(params=["memory", "dynamo"])
def book(request: pytest.FixtureRequest) -> Book:
    if request.param == "memory":
        return MemoryBook()
    client = request.getfixturevalue("aws").client("dynamodb")
    return DynamoBook(client, make_table(client, request.getfixturevalue("resources")["RatesTable"]["Properties"]))


@pytest.fixture(params=["memory", "dynamo"])
def groups(request: pytest.FixtureRequest) -> Groups:
    return MemoryGroups() if request.param == "memory" else DynamoGroups(*request.getfixturevalue("rates"))


def test_what_is_written_is_read(book: Book) -> None:
    """Each word of it, at the next version; before the first there is an empty memory."""
    first = book.read()
    assert (first.memory, first.version) == (Memory(), 0)
    memory = Memory(
        day="2026-11-21",
        day_spent=1.25,
        notes={"i-1": Note(pool="g", hour_price=0.5, paid_until=NOW, served_at=NOW)},
        orders=(Order(pool="g", at=NOW, count=2, known=("i-1",)),),
        peaks=((NOW, 3, 12),),
    )
    assert book.write(memory, 0)
    assert book.read().memory == memory and book.read().version == 1


def test_of_two_who_read_the_same_version_one_writes(book: Book) -> None:
    """The other is told; what the first wrote stands."""
    assert book.write(Memory(round_at=1), 0)
    assert not book.write(Memory(round_at=2), 0)
    assert book.write(Memory(round_at=3), 1)
    assert not book.write(Memory(round_at=4), 1)
    assert book.read().memory.round_at == 3


def test_a_write_whose_answer_got_lost_counts_when_it_is_repeated(rates: tuple[Any, str]) -> None:
    """boto repeats it by itself, and the repeat fails its own condition."""
    book = DynamoBook(*rates)
    assert book.write(Memory(round_at=77), 0)
    assert book.write(Memory(round_at=77), 0)
    rates[0].delete_item(TableName=rates[1], Key={"slot": {"S": "scale"}})


def test_a_memory_that_is_not_understood_orders_nothing(rates: tuple[Any, str]) -> None:
    """What was spent is not known then: somebody must look."""
    client, table = rates
    client.put_item(TableName=table, Item={"slot": {"S": "scale"}, "memory": {"S": "{"}, "version": {"N": "1"}})
    with pytest.raises(Unavailable, match="delete the item"):
        DynamoBook(client, table).read()
    client.delete_item(TableName=table, Key={"slot": {"S": "scale"}})


def test_a_group_keeps_what_its_events_tell_in_any_order(groups: Groups) -> None:
    """Launches, ends, what is wanted; word of the end may come first."""
    groups.want("g", 2, NOW)
    groups.note("g", "i-a", "gone_at", NOW + 2)
    groups.note("g", "i-a", "started_at", NOW + 1)
    groups.note("g", "i-b", "started_at", NOW + 3)
    groups.note_refused("g", NOW + 4)
    groups.end("g", "i-b", NOW + 5)
    known = {"i-a": Known(NOW + 1, 0, NOW + 2), "i-b": Known(NOW + 3, NOW + 5, 0)}
    assert groups.read("g") == Group(1, NOW, NOW + 4, known)
    groups.forget("g", "i-a")
    assert set(groups.read("g").instances) == {"i-b"}
    assert groups.read("other") == Group()


@pytest.fixture
def jobs(aws: boto3.Session, resources: dict[str, Any]) -> tuple[Any, str]:
    client = aws.client("dynamodb")
    return client, make_table(client, resources["JobsTable"]["Properties"])


@pytest.fixture
def desk(jobs: tuple[Any, str], rates: tuple[Any, str]) -> tuple[DynamoLedger, Backlog, UsageBook]:
    ledger, usage = DynamoLedger(*jobs), UsageBook(Counters(*rates))
    return ledger, Backlog(*jobs, ledger.get_many, usage.pace_ms, job_s=30), usage


def submit(ledger: DynamoLedger, **fields: Any) -> Job:
    return ledger.submit(new_job(**fields)).job


def test_the_work_of_all_clients_counts_held_jobs_too(desk: tuple[DynamoLedger, Backlog, UsageBook]) -> None:
    """A measured workflow counts what it takes, another one the default; ended jobs and far retries count nothing."""
    ledger, backlog, usage = desk
    measured = "a" * 64
    done = new_job(state=State.SUCCEEDED, workflow_hash=measured, timings={"execution_ms": 8000})
    usage.note(done, NOW)
    submit(ledger, client_id="one", workflow_hash=measured)
    for number in range(5):
        submit(ledger, client_id="two", seq=0, created_at=NOW + number)
    rendered = submit(ledger, client_id="three", workflow_hash=measured)
    ledger.claim(rendered.job_id, 1, owner="i-7", token="t", now=NOW, lease_ms=60_000)
    submit(ledger, client_id="three", not_before=NOW + 3_600_000)
    ledger.cancel(submit(ledger, client_id="one").job_id, now=NOW)
    work = backlog.read(NOW + 2000)
    assert work.load == Load(waiting=6, waiting_s=8 + 5 * 30, running=1, running_left_s=6)
    assert work.in_hand == {"i-7": 1}


def test_a_job_whose_worker_died_waits_again(desk: tuple[DynamoLedger, Backlog, UsageBook]) -> None:
    """Its lease is over: nobody renders it."""
    ledger, backlog, _ = desk
    job = submit(ledger)
    ledger.claim(job.job_id, 1, owner="i-7", token="t", now=NOW, lease_ms=60_000)
    work = backlog.read(NOW + 60_001)
    assert (work.load.waiting, work.load.running, work.in_hand) == (1, 0, {})


def test_of_many_held_jobs_some_stand_for_all(jobs: tuple[Any, str]) -> None:
    """Their number is counted, their seconds are guessed from an even choice."""
    ledger = DynamoLedger(*jobs)
    for number in range(25):
        submit(ledger, seq=0, created_at=NOW + number)
    looks: list[int] = []

    def get_many(ids: Sequence[str]) -> list[Job]:
        looks.append(len(ids))
        return ledger.get_many(ids)

    backlog = Backlog(*jobs, get_many, lambda _: None, job_s=30, held_looked_at=10)
    assert backlog.read(NOW).load == Load(waiting=25, waiting_s=pytest.approx(25 * 30))
    assert looks == [0, 10]
