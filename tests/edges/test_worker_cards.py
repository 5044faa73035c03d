"""The workers table and the event bus, on the local cloud's real protocol."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import boto3
import pytest
from botocore.config import Config

from chalicelib.contract.card import ServerCard
from chalicelib.contract.errors import Unavailable
from chalicelib.contract.kit import LIVE_MS
from tests.conftest import make_table
from worker.bus import EventBus
from worker.fleet import DynamoFleet
from worker.kit import Card, Post, kit_of
from worker.ports import Event

NOW = 1_800_000_000_000


@pytest.fixture
def fleet(aws: boto3.Session, resources: dict[str, Any]) -> DynamoFleet:
    client: Any = aws.client("dynamodb")
    return DynamoFleet(client, make_table(client, resources["WorkersTable"]["Properties"]))


def card(worker: str, seen_at: int = NOW) -> Card:
    return Card.of(
        worker,
        seen_at,
        [Post(ServerCard(name="http://a", version="0.28.0", device="gpu", queue=1), kit_of({worker: {}}))],
    )


def test_live_cards_are_seen_and_old_ones_are_not(fleet: DynamoFleet) -> None:
    """A worker's newer card takes the place of its older one."""
    fleet.announce(card("worker-1", NOW - LIVE_MS - 1))
    fleet.announce(card("worker-2", NOW - 1))
    assert [each.worker for each in fleet.others(NOW)] == ["worker-2"]
    fleet.announce(card("worker-1"))
    found = {each.worker: each for each in fleet.others(NOW)}
    assert set(found) == {"worker-1", "worker-2"}
    assert found["worker-1"] == card("worker-1")


def test_a_card_travels_whole_and_an_older_one_is_read(aws: boto3.Session, resources: dict[str, Any]) -> None:
    """Every word of it; what an older worker did not say is as if unknown, what a newer one adds is left out."""
    client: Any = aws.client("dynamodb")
    table = make_table(client, resources["WorkersTable"]["Properties"])
    fleet = DynamoFleet(client, table)
    server = ServerCard(
        name="http://a", vram_total_bytes=2**35, running=1, idle_p50_ms=1.5, idle_p90_ms=2.5, closed="The disk is full."
    )
    full = Card.of("w", NOW, [Post(server, kit_of({"A": {}}))], started_at=NOW - 5, jobs_done=3)
    fleet.announce(full)
    assert fleet.others(NOW) == [full]
    item = client.get_item(TableName=table, Key={"worker": {"S": "w"}})["Item"]
    old = {name: value for name, value in item.items() if name not in ("started_at", "jobs_done")}
    servers = [{"name": "http://a", "version": "0.28.0", "device": "gpu", "queue": 1, "mood": "new"}]
    client.put_item(TableName=table, Item=old | {"servers": {"S": json.dumps(servers)}})
    [read] = fleet.others(NOW)
    assert (read.started_at, read.jobs_done, read.servers[0].slots) == (0, 0, 1)


def test_a_card_that_was_taken_away_is_gone(fleet: DynamoFleet) -> None:
    """Also when it was not there."""
    fleet.announce(card("worker-1"))
    fleet.withdraw("worker-1")
    fleet.withdraw("worker-1")
    assert fleet.others(NOW) == []


def test_what_another_wrote_wrongly_is_left_out(aws: boto3.Session, resources: dict[str, Any]) -> None:
    """A card that cannot be read, or has no time, hides no other and stops no worker."""
    client: Any = aws.client("dynamodb")
    table = make_table(client, resources["WorkersTable"]["Properties"])
    fleet = DynamoFleet(client, table)
    fleet.announce(card("worker-1"))
    good = client.get_item(TableName=table, Key={"worker": {"S": "worker-1"}})["Item"]
    wrong = [{"kits": {"S": "damaged"}}, {"servers": {"S": "["}}, {"kits": {"N": "1"}}, {"seen_at": {"S": "z"}}]
    for number, part in enumerate(wrong):
        client.put_item(TableName=table, Item=good | part | {"worker": {"S": f"wrong-{number}"}})
    client.put_item(TableName=table, Item={"worker": {"S": "empty"}})
    assert fleet.others(NOW) == [card("worker-1")]


class TwoPages:
    """Answer a scan in two pages, as DynamoDB does from 1 MB on: three large cards."""

    def __init__(self, client: Any, table: str) -> None:
        self._client = client
        self.table = table

    def scan(self, **call: Any) -> Any:
        return self._client.scan(**call, Limit=1)


def test_all_pages_of_the_table_are_read(aws: boto3.Session, resources: dict[str, Any]) -> None:
    """The filter works after the page is cut: a page may be empty and not the last."""
    client: Any = aws.client("dynamodb")
    table = make_table(client, resources["WorkersTable"]["Properties"])
    for number in range(6):
        DynamoFleet(client, table).announce(card(f"worker-{number}", NOW if number % 2 else NOW - LIVE_MS - 1))
    pages: Any = TwoPages(client, table)
    found = {each.worker for each in DynamoFleet(pages, table).others(NOW)}
    assert found == {"worker-1", "worker-3", "worker-5"}


def test_a_table_that_is_not_there_is_unavailable(aws: boto3.Session) -> None:
    """The worker goes on without."""
    client: Any = aws.client("dynamodb")
    with pytest.raises(Unavailable):
        DynamoFleet(client, "nothing").others(NOW)


def test_a_bus_that_cannot_be_reached_is_unavailable(aws: boto3.Session) -> None:
    """Nothing else rises from it: the thread that tells events must live."""
    closed = aws.client("events", endpoint_url="http://127.0.0.1:9", config=Config(retries={"max_attempts": 0}))
    with pytest.raises(Unavailable, match="event bus"):
        EventBus(closed, "bus").send([Event("Job Started", {"job_id": "j"})])
    stranger = boto3.Session("AKIAUNKNOWN", "x", region_name="us-east-1")
    refused = stranger.client("events", endpoint_url=aws.client("events").meta.endpoint_url)
    with pytest.raises(Unavailable, match="refused"):
        EventBus(refused, "bus").send([Event("Job Started", {"job_id": "j"})])


class HalfTaken:
    """Answer as EventBridge does when it took some: 200, with the others' faults in their places."""

    def put_events(self, **call: Any) -> Any:
        faults = [{"ErrorCode": "ThrottlingException"} if number % 2 else {} for number in range(len(call["Entries"]))]
        return {"FailedEntryCount": sum(map(bool, faults)), "Entries": faults}


def test_events_that_were_not_taken_are_counted() -> None:
    """A 200 is no promise for each of them."""
    client: Any = HalfTaken()
    assert EventBus(client, "bus").send([Event("Job Started", {})] * 9) == 4


def test_events_reach_a_rules_target(aws: boto3.Session) -> None:
    """With source, kind and detail, as a rule of somebody else's sees them."""
    name = f"bus-{uuid4().hex[:8]}"
    events: Any = aws.client("events")
    sqs: Any = aws.client("sqs")
    events.create_event_bus(Name=name)
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    pattern = json.dumps({"source": ["comfyui.monitor"]})
    events.put_rule(Name="all", EventBusName=name, EventPattern=pattern)
    events.put_targets(Rule="all", EventBusName=name, Targets=[{"Id": "1", "Arn": arn}])
    sent = EventBus(events, name).send([Event("Job Started", {"job_id": "j", "version": 2})])
    assert sent == 0
    told = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=10)["Messages"][0]["Body"]
    event = json.loads(told)
    assert (event["source"], event["detail-type"]) == ("comfyui.monitor", "Job Started")
    assert event["detail"] == {"job_id": "j", "version": 2}
