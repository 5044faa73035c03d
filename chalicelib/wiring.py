"""
Make the real things from the environment, each once a container and only when it is needed.

Googleapiclient is imported in the completion's path only: every function loads this package, and only one writes cells.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import boto3
from aws_lambda_powertools.logging.formatter import LambdaPowertoolsFormatter
from botocore.config import Config

from chalicelib.api import Api
from chalicelib.blobs import Blobs
from chalicelib.catalog import Catalog
from chalicelib.complete import Complete
from chalicelib.keys import Keys, Nonces
from chalicelib.ledger import DynamoLedger
from chalicelib.queues import CompletionQueue, JobQueue
from chalicelib.settings import Settings, read_settings
from chalicelib.submit import Submit
from chalicelib.sweep import Sweep

if TYPE_CHECKING:
    from chalicelib.sheet import Service

# The sum of these stays below the API function's own 20 seconds.
_PATIENCE = Config(
    connect_timeout=2,
    read_timeout=5,
    retries={"mode": "standard", "total_max_attempts": 3},
    signature_version="v4",
    max_pool_connections=16,
)
_PATIENCE_S3 = _PATIENCE.merge(Config(signature_version="s3v4"))


def now_ms() -> int:
    """Tell the time in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


class World:
    """Hold what one container needs, made on first use."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._session = boto3.Session()

    @cached_property
    def settings(self) -> Settings:
        """Read the settings."""
        return read_settings(self._environment)

    def _client(self, name: str) -> Any:
        return self._session.client(name, config=_PATIENCE_S3 if name == "s3" else _PATIENCE)  # type: ignore[call-overload]

    @cached_property
    def _dynamodb(self) -> Any:
        return self._client("dynamodb")

    @cached_property
    def ledger(self) -> DynamoLedger:
        """Open the job table."""
        return DynamoLedger(self._dynamodb, self.settings.jobs_table)

    @cached_property
    def _sqs(self) -> Any:
        return self._client("sqs")

    @cached_property
    def _jobs(self) -> JobQueue:
        return JobQueue(self._sqs, self.settings.jobs_queue_url)

    @cached_property
    def completions(self) -> CompletionQueue:
        """Open the completion's queue."""
        return CompletionQueue(self._sqs, self.settings.completions_queue_url)

    @cached_property
    def _blobs(self) -> Blobs:
        return Blobs(self._client("s3"), self.settings.bucket)

    @cached_property
    def _catalog(self) -> Catalog:
        return Catalog(self._blobs, clock_s=time.monotonic)

    @cached_property
    def api(self) -> Api:
        """Make the API."""
        settings = self.settings
        keys = Keys(self._dynamodb, self._client("ssm"), settings.keys_table, settings.secrets_prefix, time.monotonic)
        return Api(
            submit=Submit(self.ledger, self._catalog, self._jobs, now_ms),
            ledger=self.ledger,
            keys=keys,
            nonces=Nonces(self._dynamodb, settings.nonces_table, time.time),
            shelf=self._catalog,
            files=self._blobs,
            hints=self.completions,
            now_ms=now_ms,
        )

    @cached_property
    def complete(self) -> Complete:
        """Make the completion."""
        from chalicelib.sheet import Sheets

        return Complete(self.ledger, Sheets(self._sheets_service), now_ms)

    def _sheets_service(self) -> Service:
        from chalicelib.sheet import connect

        secret = self._client("secretsmanager").get_secret_value(SecretId=self.settings.google_secret_id)
        return connect(secret["SecretString"], self.settings.sheets_api_endpoint)

    @cached_property
    def sweep(self) -> Sweep:
        """Make the sweeper."""
        return Sweep(self.ledger, self._jobs, self.completions, now_ms)


def log_as_json(level: str) -> None:
    """Write our log lines to standard output as JSON, one an event, without touching anybody else's loggers."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(LambdaPowertoolsFormatter())
    log = logging.getLogger("chalicelib")
    log.handlers = [handler]
    log.setLevel(level)
    log.propagate = False


log_as_json(os.environ.get("LOG_LEVEL", "INFO"))
world = World(os.environ)
