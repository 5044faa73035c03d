"""A program is told of its jobs in the deployed stack: by webhooks, and by a rule on the bus."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from standardwebhooks.webhooks import Webhook

from chalicelib.contract.deliveries import TEST_EVENT, Delivery
from chalicelib.delivery_book import DynamoDeliveryBook
from chalicelib.wiring import now_ms
from infra.functions import DELIVERY
from sandbox.waiting import wait_until
from sandbox.world import Wishes, World
from tests.edges.https_site import Receiver, receiving, says
from tests.journeys.log_lines import lines_of, metrics_of


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Run one world for this module; what is cancelled in the queue needs no worker."""
    with World(Wishes(home=tmp_path_factory.mktemp("world"), step_ms=5, start_worker=False)) as world:
        yield world


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Receive on the loopback interface: the sandbox opens that network, as an operator may open its own."""
    with receiving() as made:
        made.answer = says(200)
        yield made


class Program:
    """Speak with the API under one key."""

    def __init__(self, world: World, client: str) -> None:
        self._api = f"{world.cloud.api_url}/api/v2"
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"Bearer {world.keys.maker.new_api(client)}"

    def ask(self, method: str, path: str, status: int, body: object = None) -> Any:
        """Ask, and check the status."""
        answer = self._session.request(method, f"{self._api}/{path}", json=body, timeout=30)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    def cancelled_job(self, **more: str) -> str:
        asked = {"workflow_id": "txt2img-sdxl", "inputs": {"prompt": "canary", "width": 64, "height": 64}, **more}
        job_id = str(self.ask("POST", "jobs", 201, asked)["id"])
        self.ask("POST", f"jobs/{job_id}/cancel", 200)
        return job_id


def types(receiver: Receiver) -> list[str]:
    return [json.loads(body)["type"] for _, _, body in receiver.received]


@pytest.mark.timeout(300)
def test_a_job_is_told_signed_listed_and_sent_again(world: World, receiver: Receiver) -> None:
    """
    Registered, tested, told of a cancelled job (which no worker knows of) and of one that was rendered; a failure is
    retried; the log says what happened; the secrets verify before and after a rotation.
    """
    program, stranger = Program(world, "studio-a"), Program(world, "studio-b")
    hook = program.ask("POST", "webhooks", 201, {"url": f"http://127.0.0.1:{receiver.port}/hook?x=1"})
    one, secret = f"webhooks/{hook['id']}", hook["secret"]
    assert program.ask("GET", "webhooks", 200)["webhooks"] == [{k: v for k, v in hook.items() if k != "secret"}]
    assert stranger.ask("GET", "webhooks", 200) == {"webhooks": []}
    for method, path in (("GET", one), ("DELETE", one), ("POST", f"{one}/rotate"), ("GET", f"{one}/deliveries")):
        stranger.ask(method, path, 404)

    test = program.ask("POST", f"{one}/test", 202)
    assert wait_until(lambda: types(receiver) == ["webhook.test"]), world.cloud.log.read_text()[-3000:]
    assert receiver.received[0][1]["webhook-id"] == test["id"]

    job_id = program.cancelled_job()
    assert wait_until(lambda: "job.canceled" in types(receiver))
    path, headers, body = receiver.received[-1]
    told = Webhook(secret).verify(body, headers)
    assert (path, told["data"]["id"], told["data"]["status"]) == ("/hook?x=1", job_id, "canceled")
    assert "canary" not in body.decode()

    new = program.ask("POST", f"{one}/rotate", 200)["secret"]
    receiver.answer = says(500, b"out of order")
    worker = world.start_worker()
    asked = {"workflow_id": "txt2img-sdxl", "inputs": {"prompt": "canary", "width": 64, "height": 64, "steps": 2}}
    job_id = str(program.ask("POST", "jobs", 201, asked)["id"])
    assert wait_until(lambda: "job.succeeded" in types(receiver)), worker.tail()
    receiver.answer = says(200, b"thanks")

    def delivery() -> dict[str, Any]:
        listed = program.ask("GET", f"{one}/deliveries", 200)["deliveries"]
        return next(each for each in listed if each["job_id"] == job_id)

    # By the message itself after five seconds, or else by the sweeper.
    assert wait_until(lambda: delivery()["state"] == "delivered", 90, 0.2), delivery()
    first, second = delivery()["attempts"]
    assert (first["status"], first["answer"], second["status"], second["answer"]) == (
        500,
        "out of order",
        200,
        "thanks",
    )
    sent = [(headers, body) for _, headers, body in receiver.received if job_id in body.decode()]
    assert {headers["webhook-id"] for headers, _ in sent} == {delivery()["id"]} and sent[0][1] == sent[1][1]
    told = Webhook(secret).verify(sent[-1][1], sent[-1][0])
    picture = requests.get(told["data"]["outputs"][0]["url"], timeout=20)
    assert picture.status_code == 200 and len(picture.content) == told["data"]["outputs"][0]["size_bytes"]

    count = len(receiver.received)
    program.ask("POST", f"{one}/deliveries/{delivery()['id']}/redeliver", 202)
    assert wait_until(lambda: len(receiver.received) > count)
    _, headers, body = receiver.received[-1]
    assert headers["webhook-id"] == delivery()["id"]
    assert any(
        len(headers["webhook-signature"].split(" ")) == n and Webhook(s).verify(body, headers)
        for n, s in ((2, new), (1, secret))
    )

    receiver.answer = says(410)
    program.cancelled_job()
    assert wait_until(lambda: program.ask("GET", one, 200)["disabled_reason"] == "gone")
    program.ask("POST", f"{one}/test", 422)
    assert program.ask("PATCH", one, 200, {"disabled": False})["disabled"] is False
    program.ask("DELETE", one, 204)
    program.ask("GET", one, 404)


def test_a_job_may_name_its_own_address(world: World, receiver: Receiver) -> None:
    """Signed with the client's secret for its jobs, and listed under `jobs`."""
    program = Program(world, "studio-d")
    job_id = program.cancelled_job(webhook_url=f"http://127.0.0.1:{receiver.port}/of-the-job")
    assert wait_until(lambda: types(receiver) == ["job.canceled"])
    path, headers, body = receiver.received[0]
    secret = program.ask("GET", "webhooks/secret", 200)["secret"]
    assert (path, Webhook(secret).verify(body, headers)["data"]["id"]) == ("/of-the-job", job_id)

    def listed() -> list[dict[str, Any]]:
        return list(program.ask("GET", "webhooks/jobs/deliveries", 200)["deliveries"])

    assert wait_until(lambda: [each["state"] for each in listed()] == ["delivered"])
    assert listed()[0]["id"] == headers["webhook-id"]
    # The function's own log names the job, and counts the post.
    assert wait_until(lambda: "WebhooksPosted" in metrics_of(lines_of(world, DELIVERY)))
    (posted,) = [line for line in lines_of(world, DELIVERY) if line.get("job_id") == job_id]
    assert (posted["action"], posted["status"]) == ("posted", 200) and posted["request_id"]
    refused = {"workflow_id": "txt2img-sdxl", "inputs": {"prompt": "x"}, "webhook_url": "https://me:pw@host.example/"}
    program.ask("POST", "jobs", 400, refused)


def test_a_delivery_whose_hint_was_lost_is_rung_for_by_the_sweeper(world: World, receiver: Receiver) -> None:
    """It waits in the table and no message says so; the sweeper's own role suffices to find it."""
    program = Program(world, "studio-e")
    hook = program.ask("POST", "webhooks", 201, {"url": f"http://127.0.0.1:{receiver.port}/"})["id"]
    session, now = world.cloud.session(), now_ms()
    book = DynamoDeliveryBook(session.client("dynamodb"), world.cloud.outputs["WebhooksTable"])
    named = {"client_id": "studio-e", "lane": hook, "event": TEST_EVENT}
    lost = Delivery(delivery_id="dlv_" + "0" * 31, created_at=now, asked_at=now, next_attempt_at=now, **named)
    book.announce(lost)
    book.ring("studio-e", hook, now)
    functions: Any = session.client("lambda")
    texts = ("version", "account", "region", "detail-type", "source", "time", "id")
    minute = json.dumps(dict.fromkeys(texts, "x") | {"detail": {}, "resources": []})
    swept = functions.invoke(FunctionName="comfysheet-local-sweep", Payload=minute)
    assert "FunctionError" not in swept, swept["Payload"].read()
    assert wait_until(lambda: [each[1]["webhook-id"] for each in receiver.received] == [lost.delivery_id], 60, 0.2)


def test_the_bus_tells_of_a_job_that_no_worker_knew(world: World) -> None:
    """Cancelled in the queue; the rule's queue hears of it once, with its version."""
    session, name = world.cloud.session(), world.cloud.outputs["BusName"]
    sqs: Any = session.client("sqs")
    events: Any = session.client("events")
    url = sqs.create_queue(QueueName="ends")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    events.put_rule(Name="ends", EventBusName=name, EventPattern=json.dumps({"detail-type": ["Job Cancelled"]}))
    events.put_targets(Rule="ends", EventBusName=name, Targets=[{"Id": "1", "Arn": arn}])
    for worker in world.workers:
        worker.stop()
    job_id = Program(world, "studio-c").cancelled_job()
    heard: list[dict[str, Any]] = []

    def has_heard() -> bool:
        for message in sqs.receive_message(QueueUrl=url, WaitTimeSeconds=1).get("Messages", []):
            heard.append(json.loads(message["Body"]))
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return job_id in {event["detail"]["job_id"] for event in heard}

    assert wait_until(has_heard), heard
    [event] = [event for event in heard if event["detail"]["job_id"] == job_id]
    assert (event["source"], event["detail"]["version"], event["detail"]["attempt"]) == ("comfyui.monitor", 2, 0)
