"""The workers table and the event bus, on the local cloud's real protocol."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import boto3
import pytest

from chalicelib.contract.errors import Unavailable
from tests.conftest import make_table
from worker.bus import EventBus
from worker.fleet import LIVE_MS, DynamoFleet
from worker.kit import Card, Kit, Post
from worker.ports import Event

NOW = 1_800_000_000_000


@pytest.fixture
def fleet(aws: boto3.Session, resources: dict[str, Any]) -> DynamoFleet:
    client: Any = aws.client("dynamodb")
    return DynamoFleet(client, make_table(client, resources["WorkersTable"]["Properties"]))


def card(worker: str, seen_at: int = NOW) -> Card:
    return Card.of(worker, seen_at, [Post("http://a", "0.28.0", "gpu", 1, Kit.of({worker: {}}))])


def test_live_cards_are_seen_and_old_ones_are_not(fleet: DynamoFleet) -> None:
    """A worker's newer card takes the place of its older one."""
    fleet.announce(card("worker-1", NOW - LIVE_MS - 1))
    fleet.announce(card("worker-2", NOW - 1))
    assert [each.worker for each in fleet.others(NOW)] == ["worker-2"]
    fleet.announce(card("worker-1"))
    found = {each.worker: each for each in fleet.others(NOW)}
    assert set(found) == {"worker-1", "worker-2"}
    assert found["worker-1"] == card("worker-1")


def test_a_card_that_was_taken_away_is_gone(fleet: DynamoFleet) -> None:
    """Also when it was not there."""
    fleet.announce(card("worker-1"))
    fleet.withdraw("worker-1")
    fleet.withdraw("worker-1")
    assert fleet.others(NOW) == []


def test_a_table_that_is_not_there_is_unavailable(aws: boto3.Session) -> None:
    """The worker goes on without."""
    client: Any = aws.client("dynamodb")
    with pytest.raises(Unavailable):
        DynamoFleet(client, "nothing").others(NOW)


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
