"""
The ledger on a table that answers in small parts, as DynamoDB does beyond 1 MB or when it is busy.

The engine's own answers are small enough for one page, so the pages are made smaller here; what comes back, and from
where a next page goes on, is the engine's word.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any
from uuid import uuid4

import boto3
import pytest

from chalicelib.contract.job import Job
from chalicelib.contract.ports import Spot
from chalicelib.ledger import DynamoLedger
from chalicelib.ledger.item import due_shard
from chalicelib.ledger.reading import CENSUS_PAGES
from tests.conftest import make_table
from tests.jobs import NOW, new_job, target

PAGE = 2


class ShortPages:
    """Be a DynamoDB client that answers at most *size* items at a time."""

    def __init__(self, client: Any, size: int) -> None:
        self._client = client
        self.size = size
        self.calls: list[str] = []
        self.limits: list[int | None] = []
        self.modes: list[bool] = []

    def put_item(self, **call: Any) -> Any:
        return self._client.put_item(**call)

    def query(self, **call: Any) -> Any:
        return self._page("query", call)

    def scan(self, **call: Any) -> Any:
        return self._page("scan", call)

    def _page(self, operation: str, call: dict[str, Any]) -> Any:
        self.calls.append(operation)
        assert len(self.calls) < 200, "this goes round in circles"
        limit = call.get("Limit")
        self.limits.append(limit)
        call["Limit"] = self.size if limit is None else min(limit, self.size)
        return getattr(self._client, operation)(**call)

    def batch_get_item(self, *, RequestItems: dict[str, Any]) -> Any:
        self.calls.append("batch_get_item")
        [(table, asked)] = RequestItems.items()
        self.modes.append(asked["ConsistentRead"])
        keys = asked["Keys"]
        answer = self._client.batch_get_item(RequestItems={table: {**asked, "Keys": keys[: self.size]}})
        if keys[self.size :]:
            answer["UnprocessedKeys"] = {table: {**asked, "Keys": keys[self.size :]}}
        return answer


@pytest.fixture
def pages(aws: boto3.Session, resources: dict[str, Any]) -> ShortPages:
    return ShortPages(aws.client("dynamodb"), PAGE)


@pytest.fixture
def ledger(pages: ShortPages, aws: boto3.Session, resources: dict[str, Any]) -> DynamoLedger:
    """Give a ledger whose every list is longer than a page."""
    table = make_table(aws.client("dynamodb"), resources["JobsTable"]["Properties"])
    return DynamoLedger(pages, table)  # type: ignore[arg-type]


def put(ledger: DynamoLedger, **fields: object) -> Job:
    return ledger.submit(new_job(**fields)).job


def test_every_list_is_read_to_its_last_page(ledger: DynamoLedger) -> None:
    """A client's list, a sheet's lagging rows, what is due, a line and its length: nothing ends with the first page."""
    sheet = f"sheet-{uuid4()}"
    jobs = [put(ledger, target=target(sheet), now=NOW + number, seq=number % 2) for number in range(5)]
    ids = [job.job_id for job in jobs]
    spots = ledger.of_client("client-1", since=0, until=2**53, limit=10)
    assert spots == [Spot(job.created_at, job.job_id) for job in reversed(jobs)]
    assert sorted(ledger.unshown(sheet)) == sorted(ids)
    assert sorted(ledger.due(2**53, 10)) == sorted(ids)
    line = ledger.line("client-1", 10)
    assert (sorted(line.sent), list(line.held), line.is_whole) == (sorted(ids[1::2]), ids[::2], True)
    assert ledger.open_jobs("client-1") == 5


def test_a_limit_holds_over_pages(ledger: DynamoLedger, pages: ShortPages) -> None:
    """Three of five over pages of two: the second page is asked for no more than is missing, and there is no third."""
    jobs = [put(ledger, now=NOW + number) for number in range(5)]
    assert [spot.created_at for spot in ledger.of_client("client-1", since=0, until=2**53, limit=3)] == [
        job.created_at for job in reversed(jobs[2:])
    ]
    assert pages.limits == [3, 1]
    line = ledger.line("client-1", 4)
    assert (len(line.sent), line.is_whole) == (4, False)
    assert pages.limits == [3, 1, 4, 2], "a full list asks for no page more"


def test_the_sweeper_is_given_the_oldest_of_each_shard(ledger: DynamoLedger) -> None:
    """A limit holds for a shard: no shard's jobs wait for another's."""
    jobs = [put(ledger, due_at=NOW + number) for number in (8, 6, 7, 5, 3, 0, 9, 2, 1, 4)]
    shards: dict[str, list[int]] = defaultdict(list)
    for job in jobs:
        shards[due_shard(job.job_id)].append(job.due_at or 0)
    given = [job.due_at for job in ledger.get_many(list(ledger.due(NOW + 9, 1)))]
    assert given == [min(shards[shard]) for shard in sorted(shards)]


def test_a_list_without_a_limit_names_none(ledger: DynamoLedger, pages: ShortPages) -> None:
    """A sheet's lagging rows come as DynamoDB's own pages."""
    assert ledger.unshown("nobody's") == []
    assert pages.limits == [None]


def test_a_census_counts_over_pages_and_ends_at_a_bound(ledger: DynamoLedger, pages: ShortPages) -> None:
    """Sent and held of all pages are there, with the oldest of any; of very many pages the first ones are told."""
    made = [put(ledger, seq=0, created_at=NOW + age) for age in (5, 2, 9)]
    sent = {put(ledger, client_id="another").job_id for _ in range(2)}
    census = ledger.census()
    assert (set(census.sent), census.held, census.oldest_held_at) == (sent, 3, made[1].created_at)
    assert pages.calls == ["scan"] * 3
    pages.size = 1
    for _ in range(CENSUS_PAGES):
        put(ledger)
    cut = ledger.census()
    assert len(cut.sent) + cut.held == CENSUS_PAGES


def test_what_a_read_of_many_left_over_is_asked_for_again(ledger: DynamoLedger, pages: ShortPages) -> None:
    """A busy table answers a part and names the rest; each part is read strongly consistent."""
    jobs = [put(ledger) for _ in range(5)]
    assert ledger.get_many([job.job_id for job in jobs]) == jobs
    assert pages.calls == ["batch_get_item"] * 3 and pages.modes == [True] * 3


def test_more_than_a_hundred_are_asked_for_in_parts(ledger: DynamoLedger, pages: ShortPages) -> None:
    """What is left over of one hundred goes before the next; nothing is asked for twice."""
    pages.size = 60
    jobs = [put(ledger) for _ in range(101)]
    twice = [job.job_id for job in jobs for _ in range(2)]
    assert ledger.get_many(twice) == jobs
    assert len(pages.calls) == 2
