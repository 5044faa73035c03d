"""What the API reads of the workers' cards and of the queue, on the local cloud's real protocol."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import boto3
import pytest

from chalicelib.contract.card import SHOWN_MS, ServerCard
from chalicelib.contract.kit import LIVE_MS
from chalicelib.crew import CACHE_MS, FRESH_MS, Crew
from chalicelib.queues import Depth, JobQueue
from tests.conftest import make_table
from tests.jobs import NOW, new_job
from worker.fleet import DynamoFleet
from worker.kit import Card, Post, kit_of


class Yard:
    """Hold a workers table, the worker's side of it and the API's, and the time."""

    def __init__(self, client: Any, table: str) -> None:
        self.client, self.table, self.now = client, table, NOW
        self.fleet = DynamoFleet(client, table)
        self.crew = Crew(client, table, lambda: self.now)

    def show(self, worker: str, age_ms: int = 0, *servers: ServerCard, classes: str = "A") -> None:
        posts = [Post(server, kit_of({classes: {}})) for server in servers or (ServerCard(),)]
        self.fleet.announce(Card.of(worker, self.now - age_ms, posts, started_at=5, jobs_done=3))


@pytest.fixture
def yard(aws: boto3.Session, resources: dict[str, Any]) -> Yard:
    client: Any = aws.client("dynamodb")
    return Yard(client, make_table(client, resources["WorkersTable"]["Properties"]))


def test_cards_are_read_as_workers_write_them(yard: Yard) -> None:
    """Each word of them."""
    server = ServerCard(name="http://a", device="gpu", vram_free_bytes=2**34, running=1, idle_p90_ms=2.5)
    yard.show("w", 0, server)
    [seen] = yard.crew.seen()
    assert (seen.worker, seen.seen_at, seen.servers, seen.started_at, seen.jobs_done) == ("w", NOW, (server,), 5, 3)
    assert seen.kits[0].classes == frozenset({"A"})


def test_silent_workers_are_shown_for_an_hour_and_count_no_more(yard: Yard) -> None:
    """Neither do those that take no jobs; what nobody alive has, nobody knows."""
    yard.show("alive")
    yard.show("silent", LIVE_MS + 1, classes="B")
    yard.show("long gone", SHOWN_MS + 1)
    yard.show("closed", 0, ServerCard(closed="The disk is full."), classes="C")
    assert {seen.worker for seen in yard.crew.seen()} == {"alive", "silent", "closed"}
    assert yard.crew.alive() == 1
    assert yard.crew.classes() == frozenset({"A", "C"})


def test_a_card_that_cannot_be_read_hides_no_other(yard: Yard) -> None:
    """Nor does it count."""
    yard.show("good")
    item = yard.client.get_item(TableName=yard.table, Key={"worker": {"S": "good"}})["Item"]
    for number, wrong in enumerate([{"servers": {"S": "{"}}, {"kits": {"S": "x"}}, {"jobs_done": {"S": "many"}}]):
        yard.client.put_item(TableName=yard.table, Item=item | wrong | {"worker": {"S": f"bad-{number}"}})
    assert [seen.worker for seen in yard.crew.seen()] == ["good"] and yard.crew.alive() == 1


def test_whoever_looks_at_workers_sees_news_sooner(yard: Yard) -> None:
    """Rows are judged by cards of half a minute; a look at the workers is five seconds old at most."""
    assert yard.crew.seen() == []
    yard.show("w")
    assert yard.crew.seen() == []
    yard.now += FRESH_MS
    assert yard.crew.alive() == 0 and len(yard.crew.seen()) == 1 == yard.crew.alive()
    yard.fleet.withdraw("w")
    yard.now += CACHE_MS - 1
    assert yard.crew.alive() == 1
    yard.now += 1
    assert yard.crew.alive() == 0


def test_a_table_out_of_reach_is_an_empty_farm(aws: boto3.Session) -> None:
    """Nothing is refused for it."""
    client: Any = aws.client("dynamodb")
    assert Crew(client, "nothing", lambda: NOW).seen() == []


def test_the_queue_is_counted(aws: boto3.Session) -> None:
    """What waits, and what workers have in hand; nothing when it cannot be told."""
    sqs: Any = aws.client("sqs")
    url = sqs.create_queue(QueueName=f"jobs-{uuid4().hex[:12]}")["QueueUrl"]
    line = JobQueue(sqs, url)
    assert line.depth() == Depth(0, 0)
    line.send([new_job() for _ in range(3)])
    assert line.depth() == Depth(3, 0) and line.waiting() == 3
    sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=1)
    assert line.depth() == Depth(2, 1)
    assert JobQueue(sqs, f"{url}-gone").depth() is None
