"""Make the clients that ask AWS, each with its patience."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import boto3
from botocore.config import Config

from chalicelib.metrics import Metrics
from chalicelib.settings import Settings, read_settings

# API Gateway hangs up after 29 s, and then nobody is told anything. A submission whose table is silent asks three times
# before it knows: who asks too often (hasty), what is out (hasty), and the put itself; together 20 s at most. Each call
# is tried so often, with a pause of up to a second before the second time and of two before the third.
PATIENCE = Config(
    connect_timeout=1,
    read_timeout=3,
    retries={"mode": "standard", "total_max_attempts": 3},
    signature_version="v4",
    max_pool_connections=16,
)
# For what a request can do without.
HASTE = PATIENCE.merge(Config(read_timeout=1.5, retries={"mode": "standard", "total_max_attempts": 2}))
# Virtual: boto3 1.44 signs for the global host otherwise, from which S3 redirects to a young bucket of another region.
PATIENCE_S3 = PATIENCE.merge(
    Config(connect_timeout=2, read_timeout=5, signature_version="s3v4", s3={"addressing_style": "virtual"})
)


def now_ms() -> int:
    """Tell the time in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


class Clients:
    """Hold the settings, and the clients that ask AWS."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._session = boto3.Session()

    @cached_property
    def settings(self) -> Settings:
        """Read the settings."""
        return read_settings(self._environment)

    @cached_property
    def counts(self) -> Metrics:
        """Count what happens in a call."""
        return Metrics(self.settings.stage)

    def tell(self) -> None:
        """Write down what a call has counted, at its end."""
        if "counts" in self.__dict__:
            self.counts.tell()

    def _client(self, name: str) -> Any:
        return self._session.client(name, config=PATIENCE_S3 if name == "s3" else PATIENCE)  # type: ignore[call-overload]

    @cached_property
    def _dynamodb(self) -> Any:
        return self._client("dynamodb")

    @cached_property
    def _hasty_dynamodb(self) -> Any:
        return self._session.client("dynamodb", config=HASTE)

    @cached_property
    def _sqs(self) -> Any:
        return self._client("sqs")

    @cached_property
    def _ssm(self) -> Any:
        return self._client("ssm")
