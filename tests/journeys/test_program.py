"""What a program gets of its job beside the picture: the run record, and the events on the bus."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from chalicelib.contract.job import job_id_of
from chalicelib.ledger import DynamoLedger
from sandbox.waiting import wait_until
from sandbox.world import Wishes, World

PROMPT = "canary: a fox in the snow"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Run one world for this module."""
    with World(Wishes(home=tmp_path_factory.mktemp("world"), step_ms=300, start_worker=False)) as world:
        yield world


class Program:
    """Speak with the API under one key."""

    def __init__(self, world: World, client: str) -> None:
        self.api = world.cloud.api_url
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {world.keys.maker.new_api(client)}"

    def submit(self) -> str:
        asked = {"workflow_id": "txt2img-sdxl", "inputs": {"prompt": PROMPT, "width": 64, "height": 64, "steps": 20}}
        made = self.session.post(f"{self.api}/api/v2/jobs", json=asked, timeout=20)
        assert made.status_code == 201, made.text
        return str(made.json()["id"])

    def get(self, path: str, **options: Any) -> requests.Response:
        return self.session.get(f"{self.api}/api/v2/jobs/{path}", timeout=20, **options)

    def is_done(self, job_id: str) -> bool:
        return self.get(job_id).json()["status"] in ("succeeded", "failed", "canceled")


class Listener:
    """Be a rule of somebody else's on the bus, with a queue as its target."""

    def __init__(self, world: World) -> None:
        session, bus = world.cloud.session(), world.cloud.outputs["BusName"]
        self._sqs: Any = session.client("sqs")
        self._url = self._sqs.create_queue(QueueName="listener")["QueueUrl"]
        arn = self._sqs.get_queue_attributes(QueueUrl=self._url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        events: Any = session.client("events")
        pattern = json.dumps({"source": ["comfyui.monitor"]})
        events.put_rule(Name="listener", EventBusName=bus, EventPattern=pattern)
        events.put_targets(Rule="listener", EventBusName=bus, Targets=[{"Id": "1", "Arn": arn}])
        self.heard: list[dict[str, Any]] = []

    def listen(self) -> None:
        answer = self._sqs.receive_message(QueueUrl=self._url, WaitTimeSeconds=1, MaxNumberOfMessages=10)
        for message in answer.get("Messages", []):
            self.heard.append(json.loads(message["Body"]))
            self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])

    def has_heard(self, kind: str) -> bool:
        self.listen()
        return kind in self.kinds()

    def kinds(self) -> set[str]:
        return {str(event["detail-type"]) for event in self.heard}


def test_a_program_reads_its_jobs_record_and_hears_of_it(world: World) -> None:
    """
    The record comes through the API as JSON lines, to the job's owner alone; the worker's card lies in its table; and
    from the worker's start to its end the bus tells what it does, without the prompt.
    """
    listener, program, stranger = Listener(world), Program(world, "studio-a"), Program(world, "studio-b")
    worker = world.start_worker()
    job_id = program.submit()
    missing = program.get(f"{job_id}/log")
    assert missing.status_code == 404 and "no run record" in missing.json()["error"]["message"]
    assert wait_until(lambda: program.is_done(job_id)), worker.tail()

    job = program.get(job_id).json()
    assert job["status"] == "succeeded", job["error"]
    answer = program.session.get(job["urls"]["log"], timeout=20)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/x-ndjson")
    lines = [json.loads(line) for line in answer.content.decode().splitlines()]
    assert (lines[0]["kind"], lines[-1]["kind"], lines[-1]["verdict"]) == ("run", "end", "made")
    assert PROMPT in json.dumps(lines[0]["graph"])
    assert program.get(f"{job_id}/log", params={"attempt": "1"}).content == answer.content
    assert program.get(f"{job_id}/log", params={"attempt": "2"}).status_code == 404
    assert stranger.get(f"{job_id}/log").status_code == 404
    assert requests.get(job["urls"]["log"], timeout=20).status_code == 401

    table: Any = world.cloud.session().client("dynamodb")
    workers = world.cloud.outputs["WorkersTable"]
    assert wait_until(lambda: bool(table.scan(TableName=workers)["Items"])), "the worker shows its card"
    worker.stop()
    assert table.scan(TableName=workers)["Items"] == [], "a worker that ends takes its card away"

    assert wait_until(lambda: listener.has_heard("Monitor Stopped")), listener.kinds()
    assert listener.kinds() >= {"Monitor Started", "Queue Status Updated", "Job Started", "Node Progress Update"}
    assert listener.kinds() >= {"Images Generated", "Upload Complete"}
    assert wait_until(lambda: listener.has_heard("Job Completed")), "completion tells how it ended"
    details = [event["detail"] for event in listener.heard if "job_id" in event["detail"]]
    assert {detail["job_id"] for detail in details} == {job_id} == {detail["queue_id"] for detail in details}
    told = sorted((detail["timestamp"], detail["version"]) for detail in details)
    assert [version for _, version in told] == sorted(version for _, version in told)
    assert "canary" not in json.dumps(listener.heard)


def test_who_asks_for_too_much_is_told_when_to_come_again(world: World) -> None:
    """Over HTTP: a full line, a spent day, too many requests: a 429 with Retry-After and a sentence, and no job."""
    asked = {"workflow_id": "empty-color", "inputs": {"color": "teal"}}
    for code, terms, allowed in (
        ("queue_full", {"queued_max": "2"}, 2),
        ("budget_spent", {"gpu_s_per_day": "0"}, 0),
        ("rate_limited", {"rate_per_s": "0.01", "burst": "3"}, 3),
    ):
        headers = {"Authorization": f"Bearer {world.keys.maker.new_api(f'bound-by-{code}', terms)}"}
        url, made = f"{world.cloud.api_url}/api/v2/jobs", 0
        for number in range(allowed + 1):
            keyed = {**headers, "Idempotency-Key": f"{code}-{number}"}
            answer = requests.post(url, json=asked, headers=keyed, timeout=20)
            made += answer.status_code == 201
        told = answer.json()["error"]
        assert (made, answer.status_code, told["code"]) == (allowed, 429, code), answer.text
        assert int(answer.headers["Retry-After"]) >= 1 and told["message"].endswith(".")
        ledger = DynamoLedger(world.cloud.session().client("dynamodb"), world.cloud.outputs["JobsTable"])
        assert ledger.get(job_id_of(f"bound-by-{code}", f"{code}-{allowed}")) is None
        if code != "rate_limited":
            again = requests.post(url, json=asked, headers={**headers, "Idempotency-Key": f"{code}-0"}, timeout=20)
            assert again.status_code == (201 if allowed else 429), "a replay is no new job"
