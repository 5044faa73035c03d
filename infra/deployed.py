"""Reach a deployed stage as its operator: what it is called, and the same edges that its functions have."""

from __future__ import annotations

import argparse
import base64
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from boto3.session import Session
from botocore.config import Config
from botocore.exceptions import ClientError

from chalicelib.accounts import Accounts
from chalicelib.blobs import Blobs
from chalicelib.crew import Crew
from chalicelib.delivery_book import DynamoDeliveryBook
from chalicelib.keymaker import KeyMaker
from chalicelib.ledger import DynamoLedger
from chalicelib.queues import CompletionQueue, JobQueue
from chalicelib.rates import Counters, UsageBook
from chalicelib.registry import Registry
from infra import stack
from infra.functions import FUNCTIONS, SCALE
from infra.release import session

OPTIONAL: Final = frozenset({SCALE.word})
"""Functions that a stage of before does not have."""

_PATIENCE: Final = Config(connect_timeout=5, read_timeout=30, retries={"mode": "standard", "total_max_attempts": 4})
_PATIENCE_S3: Final = _PATIENCE.merge(Config(signature_version="s3v4"))


@dataclass(frozen=True)
class Deployment:
    """Hold what AWS says of one of our functions."""

    name: str
    """What it is called there."""
    arn: str
    log_group: str
    digest: str
    """SHA-256 of its package, in hex."""
    update_status: str
    """Successful, InProgress or Failed."""
    update_reason: str
    runtime: str


class Deployed:
    """Hold a stage. Everything is looked up on first use; what AWS refuses rises as botocore's ClientError."""

    def __init__(self, made: Session, stage: str) -> None:
        self.session = made
        self.stage = stage
        self._clients: dict[str, Any] = {}
        self._one_at_a_time = threading.Lock()

    def client(self, name: str) -> Any:
        """Give a boto3 client, the same one each time; threads may share it, and may not make one at the same time."""
        with self._one_at_a_time:
            if name not in self._clients:
                config = _PATIENCE_S3 if name == "s3" else _PATIENCE
                self._clients[name] = self.session.client(name, config=config)  # type: ignore[call-overload]
            return self._clients[name]

    @cached_property
    def outputs(self) -> Mapping[str, str]:
        """Read the stack's outputs; raise StackFailed when there is no such stage."""
        return stack.read_outputs(self.session, self.stage)

    @cached_property
    def described(self) -> Mapping[str, Any]:
        """Read what CloudFormation says of the stack; raise StackFailed when there is no such stage."""
        return stack.described(self.session, self.stage)

    @property
    def parameters(self) -> Mapping[str, str]:
        """Give the stack's parameters by name."""
        return {each["ParameterKey"]: each["ParameterValue"] for each in self.described.get("Parameters", [])}

    @cached_property
    def functions(self) -> Mapping[str, Deployment]:
        """Look up the stage's functions by our words for them; those that are not there are left out."""
        found = {each.word: self._function(each.name(self.stage)) for each in FUNCTIONS}
        return {word: there for word, there in found.items() if there is not None}

    def _function(self, name: str) -> Deployment | None:
        try:
            told = self.client("lambda").get_function_configuration(FunctionName=name)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceNotFoundException":
                raise
            return None
        return Deployment(
            name=name,
            arn=told["FunctionArn"],
            log_group=told.get("LoggingConfig", {}).get("LogGroup") or f"/aws/lambda/{name}",
            # Lambda gives it in base64.
            digest=base64.b64decode(told["CodeSha256"]).hex(),
            update_status=told.get("LastUpdateStatus", "Successful"),
            update_reason=told.get("LastUpdateStatusReason", ""),
            runtime=told.get("Runtime", ""),
        )

    @property
    def api_url(self) -> str:
        """Say where people reach the API."""
        return stack.address_of(self.described)

    @property
    def gpu_hour_price(self) -> float | None:
        """Say what an hour of a GPU costs, as the stage was told (US dollars); None: it was not."""
        told = self.parameters.get("GpuHourPrice", "")
        return float(told) if told else None

    # -- the edges ----------------------------------------------------------------------------------------------

    @cached_property
    def ledger(self) -> DynamoLedger:
        """Open the job table."""
        return DynamoLedger(self.client("dynamodb"), self.outputs["JobsTable"])

    @cached_property
    def registry(self) -> Registry:
        """Open the table of spreadsheets."""
        return Registry(self.client("dynamodb"), self.outputs["SheetsTable"])

    @cached_property
    def keys(self) -> KeyMaker:
        """Open the table of keys."""
        dynamodb, ssm = self.client("dynamodb"), self.client("ssm")
        return KeyMaker(dynamodb, ssm, self.outputs["KeysTable"], self.outputs["SecretsPrefix"])

    @cached_property
    def accounts(self) -> Accounts:
        """Open what keys use."""
        return Accounts(self.client("dynamodb"), self.outputs["RatesTable"])

    @cached_property
    def usage(self) -> UsageBook:
        """Open what spreadsheets use."""
        return UsageBook(Counters(self.client("dynamodb"), self.outputs["RatesTable"]))

    @cached_property
    def crew(self) -> Crew:
        """Open the workers' cards."""
        return Crew(self.client("dynamodb"), self.outputs["WorkersTable"], now_ms)

    @cached_property
    def book(self) -> DynamoDeliveryBook:
        """Open the table of webhooks."""
        return DynamoDeliveryBook(self.client("dynamodb"), self.outputs["WebhooksTable"])

    @cached_property
    def jobs_queue(self) -> JobQueue:
        """Open the workers' queue."""
        return JobQueue(self.client("sqs"), self.outputs["JobsQueueUrl"])

    @cached_property
    def completions(self) -> CompletionQueue:
        """Open completion's queue."""
        return CompletionQueue(self.client("sqs"), self.outputs["CompletionsQueueUrl"])

    @cached_property
    def blobs(self) -> Blobs:
        """Open the bucket."""
        return Blobs(self.client("s3"), self.outputs["Bucket"])


def deployed(arguments: argparse.Namespace) -> Deployed:
    """Reach the stage that the command line names; raise StackFailed when AWS does not know the caller."""
    return Deployed(session(arguments), arguments.stage)


def now_ms() -> int:
    """Tell the time in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000
