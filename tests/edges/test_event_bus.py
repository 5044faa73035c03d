"""How jobs ended comes to a rule of somebody else's; a bus that is away costs a line in the log."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import boto3
import pytest

from chalicelib.bus import EventBus
from chalicelib.contract.deliveries import Lane
from chalicelib.contract.job import Job, JobError, prompt_id_of
from chalicelib.contract.states import State
from tests.jobs import NOW, new_job, output


class Rule:
    """Be a rule on a bus, with a queue as its target."""

    def __init__(self, aws: boto3.Session) -> None:
        name = f"bus-{uuid4().hex[:8]}"
        self.bus = name
        events: Any = aws.client("events")
        self._sqs: Any = aws.client("sqs")
        events.create_event_bus(Name=name)
        self._url = self._sqs.create_queue(QueueName=name)["QueueUrl"]
        arn = self._sqs.get_queue_attributes(QueueUrl=self._url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        pattern = json.dumps({"source": ["comfyui.monitor"], "detail-type": [{"prefix": "Job "}, "Webhook Disabled"]})
        events.put_rule(Name=name, EventBusName=name, EventPattern=pattern)
        events.put_targets(Rule=name, EventBusName=name, Targets=[{"Id": "1", "Arn": arn}])

    def heard(self, count: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for _ in range(20):
            answer = self._sqs.receive_message(QueueUrl=self._url, WaitTimeSeconds=1, MaxNumberOfMessages=10)
            for message in answer.get("Messages", []):
                found.append(json.loads(message["Body"]))
                self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])
            if len(found) >= count:
                break
        return found


def ended(state: State, **fields: Any) -> Job:
    return new_job(state=state, version=5, attempt=2, finished_at=NOW, tags=("a", "b"), batch_id="batch", **fields)


def test_every_end_is_told_with_what_a_consumer_needs(aws: boto3.Session) -> None:
    """More than one call takes; without a prompt, a link or a key."""
    rule = Rule(aws)
    error = JobError(code="missing_model", text="canary")
    jobs = [ended(State.SUCCEEDED, outputs=(output(),)), ended(State.FAILED, error=error), ended(State.CANCELED)]
    jobs += [ended(State.SUCCEEDED) for _ in range(10)]
    bus = EventBus(aws.client("events"), rule.bus)
    bus.tell_ended([*jobs, new_job()])
    bus.tell_webhook_off(Lane(client_id="client-1", name="wh_0123456789abcdef"), "gone")
    heard = rule.heard(14)
    by_id = {event["detail"].get("job_id", ""): event for event in heard}
    assert len(heard) == len(by_id) == 14
    done, failed, cancelled = (by_id[job.job_id] for job in jobs[:3])
    assert [each["detail-type"] for each in (done, failed, cancelled)] == [
        "Job Completed",
        "Job Failed",
        "Job Cancelled",
    ]
    assert done["detail"] == {
        "timestamp": "2027-01-15T08:00:00.000+00:00",
        "job_id": jobs[0].job_id,
        "queue_id": jobs[0].job_id,
        "prompt_id": prompt_id_of(jobs[0].job_id, 2),
        "attempt": 2,
        "version": 5,
        "client_id": "client-1",
        "workflow_id": "empty-color",
        "tags": ["a", "b"],
        "batch_id": "batch",
        "files": 1,
    }
    assert failed["detail"]["code"] == "missing_model" and done["source"] == "comfyui.monitor"
    assert "canary" not in json.dumps(heard) and "fox" not in json.dumps(heard)
    assert by_id[""]["detail"] == {"client_id": "client-1", "webhook_id": "wh_0123456789abcdef", "reason": "gone"}


class Refusing:
    """Be a bus that takes some, or none."""

    def __init__(self, failed: int) -> None:
        self.failed = failed

    def put_events(self, Entries: list[dict[str, str]]) -> dict[str, Any]:
        lost = [{"ErrorCode": "ThrottlingException"}] * self.failed
        return {"FailedEntryCount": self.failed, "Entries": lost + [{"EventId": "1"}] * (len(Entries) - self.failed)}


def test_what_the_bus_refuses_is_logged_and_nothing_more(caplog: pytest.LogCaptureFixture, aws: boto3.Session) -> None:
    """A 200 may carry failures; a bus that cannot be reached raises nothing either."""
    told: Any = Refusing(1)
    with caplog.at_level("WARNING", logger="chalicelib"):
        log = __import__("logging").getLogger("chalicelib")
        log.propagate, before = True, log.propagate
        try:
            EventBus(told, "bus").tell_ended([ended(State.SUCCEEDED), ended(State.FAILED)])
            gone = aws.client("events", endpoint_url="http://127.0.0.1:1")
            EventBus(gone, "bus").tell_ended([ended(State.SUCCEEDED)])
        finally:
            log.propagate = before
    # By their place in the code: a handler may have been hung twice by the tests before.
    told_from = {(record.message, record.lineno) for record in caplog.records}
    assert len(told_from) == 2 and {message for message, _ in told_from} == {"events not told"}
