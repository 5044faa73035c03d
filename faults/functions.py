"""
Run a stage's functions by hand, as Lambda would: their own environment and role, events of their own queues, and what
their event source does with a message when they end well, fail or die.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from faults.farm import Farm
from faults.kills import End, Nursery, Victim
from faults.victim import Point
from infra.functions import API, COMPLETION, DELIVERY, SWEEP, Function
from sandbox.waiting import wait_until

PROGRAMS: Final = {API: "app", COMPLETION: "on_completion", DELIVERY: "on_delivery", SWEEP: "on_sweep"}
"""Their names in app.py."""
STAGE: Final = "local"
QUIET_S: Final = 0.5


class Functions:
    """Run functions of a farm's stage in the nursery."""

    def __init__(self, farm: Farm) -> None:
        self._farm = farm
        self._nursery = farm.keep(Nursery, lambda: Nursery(farm.home / "nursery"))
        session = farm.world.cloud.session()
        self._lambda: Any = session.client("lambda")
        self._sts: Any = session.client("sts")
        self._swept: set[int] = set()
        self.swept_s = 0.0
        self.raised: list[str] = []
        """What functions said that ended in an error of their own."""
        self._environments: dict[str, dict[str, str]] = {}

    def start(
        self, function: Function, event: Mapping[str, Any], point: Point | None = None, *, ahead_s: float = 0
    ) -> Victim:
        """Start a call of *function*."""
        return self._nursery.start(PROGRAMS[function], self._environment(function), point, event=event, ahead_s=ahead_s)

    def ask(self, event: Mapping[str, Any], point: Point | None = None) -> End:
        """Have the API answer *event*."""
        return self.start(API, event, point).wait()

    def sweep(self, point: Point | None = None, *, ahead_s: float = 0) -> End:
        """
        Have the sweeper make its round, *ahead_s* in the future or some minutes later (`swept_s` says).

        What it sends carries its minute, and a FIFO queue takes a name once in five minutes.
        """
        event = {"version": "0", "id": "1", "source": "aws.events", "account": "0", "time": "2026-01-01T00:00:00Z"}
        event |= {"detail-type": "Scheduled Event", "region": "us-east-1", "resources": [], "detail": {}}  # type: ignore[dict-item]
        while (minute := int(time.time() + ahead_s) // 60) in self._swept:
            ahead_s += 60
        self._swept.add(minute)
        self.swept_s = ahead_s
        return self.start(SWEEP, event, point, ahead_s=ahead_s).wait()

    def work(self, function: Function, messages: Sequence[Mapping[str, Any]], point: Point | None = None) -> End:
        """
        Have *function* act on *messages* of its queue, and do with them what its event source would.

        They are deleted when it ends well; when it fails or dies they come again (at once: there it takes minutes).
        """
        end = self.start(function, {"Records": [_record(each) for each in messages]}, point).wait()
        url = self.queue_of(function)
        self.raised += [end.raised] if end.raised else []
        for message in messages:
            if not end.is_dead and end.code == 0:
                self._farm.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            elif end.is_dead:
                self._show_again(url, message)
        return end

    def _show_again(self, url: str, message: Mapping[str, Any]) -> None:
        try:
            self._farm.sqs.change_message_visibility(
                QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0
            )
        except self._farm.sqs.exceptions.ClientError:
            return  # the victim had deleted it

    def drained(self, function: Function, patience_s: float = 30) -> bool:
        """Have *function* act on all that is in its queue, until nothing is left; say whether that was so."""
        return wait_until(lambda: self._is_drained(function), patience_s)

    def _is_drained(self, function: Function) -> bool:
        while messages := self.take(function):
            self.work(function, messages)
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        told = self._farm.sqs.get_queue_attributes(QueueUrl=self.queue_of(function), AttributeNames=names)
        return sum(int(told["Attributes"][name]) for name in names) == 0

    def take(self, function: Function) -> list[dict[str, Any]]:
        """Take as many messages of the function's queue as it is given at once."""
        found: list[dict[str, Any]] = self._farm.sqs.receive_message(
            QueueUrl=self.queue_of(function),
            MaxNumberOfMessages=1 if function is DELIVERY else 10,
            VisibilityTimeout=60,
            WaitTimeSeconds=0,
            AttributeNames=["All"],
        ).get("Messages", [])
        return found

    def queue_of(self, function: Function) -> str:
        """Give the address of the queue that *function* reads."""
        return str(self._environment(function)[f"{function.queue.upper()}_QUEUE_URL"])

    def dead_letters_of(self, function: Function) -> str:
        """Give the URL of the queue for what it cannot read."""
        return str(self._environment(function)[f"{function.queue.upper()}_DLQ_URL"])

    @contextmanager
    def held(self, *functions: Function) -> Iterator[None]:
        """Keep the engine from running *functions* meanwhile: what their queues hold is ours."""
        sources = [source for each in functions for source in self._sources(each)]
        for source in sources:
            self._lambda.update_event_source_mapping(UUID=source, Enabled=False)
        # A poll that was under way may still take messages.
        threading.Event().wait(QUIET_S)
        try:
            yield
        finally:
            for source in sources:
                self._lambda.update_event_source_mapping(UUID=source, Enabled=True)

    def _sources(self, function: Function) -> list[str]:
        name = function.name(STAGE)
        return [
            each["UUID"] for each in self._lambda.list_event_source_mappings(FunctionName=name)["EventSourceMappings"]
        ]

    def _environment(self, function: Function) -> dict[str, str]:
        """Give the variables of *function*, and a session of its role."""
        if function.word not in self._environments:
            told = self._lambda.get_function_configuration(FunctionName=function.name(STAGE))
            key = self._sts.assume_role(RoleArn=told["Role"], RoleSessionName="kills")["Credentials"]
            self._environments[function.word] = {
                **self._farm.world.cloud.env(),
                **told["Environment"]["Variables"],
                "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
                "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
                "AWS_SESSION_TOKEN": key["SessionToken"],
                "AWS_LAMBDA_FUNCTION_NAME": told["FunctionName"],
                "PATH": "/usr/bin:/bin",
            }
        return self._environments[function.word]


def api_event(method: str, route: str, headers: Mapping[str, str], body: bytes = b"", **path: str) -> dict[str, Any]:
    """Make API Gateway's event of a request; *route* as in the API's own words: `/api/v2/jobs/{job_id}`."""
    where = route.format(**path)
    return {
        "resource": route,
        "path": where,
        "httpMethod": method,
        "headers": dict(headers),
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "pathParameters": path or None,
        "stageVariables": None,
        "requestContext": {
            "resourcePath": route,
            "httpMethod": method,
            "path": f"/{STAGE}{where}",
            "stage": STAGE,
            "domainName": "api.example",
            "requestId": "kills",
            "identity": {"sourceIp": "127.0.0.1"},
        },
        # With */* as binary type API Gateway encodes every body.
        "body": base64.b64encode(body).decode() if body else None,
        "isBase64Encoded": bool(body),
    }


def answered(end: End) -> tuple[int, Any]:
    """Give status and body of the API's answer; (0, None) when it died."""
    if end.answer is None:
        return 0, None
    return int(end.answer["statusCode"]), json.loads(end.answer["body"])


def _record(message: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": dict(message["Attributes"]),
        "messageAttributes": {},
        "eventSource": "aws:sqs",
        "awsRegion": "us-east-1",
    }
