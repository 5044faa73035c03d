"""
Make AWS clients for the worker, rename what they raise, and read AWS's clock from their answers.

Timeouts are those of docs/worker.md; retries happen here and at no other layer.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final

from boto3.session import Session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.contract.errors import Unavailable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

_PERMANENT: Final = frozenset({"AccessDenied", "AccessDeniedException", "InvalidAccessKeyId", "SignatureDoesNotMatch"})
_WRONG_SETTINGS: Final = _PERMANENT | {
    "ExpiredTokenException",
    "InvalidSignatureException",
    "MissingAuthenticationTokenException",
    "ResourceNotFoundException",
    "UnrecognizedClientException",
}
"""With what DynamoDB says of keys, and of a table that is not there."""


class AwsClients:
    """
    Make clients: call it from one thread, and hand each thread clients of its own.

    One session makes them all, for it keeps the API descriptions that cost most of the time. *on_date* is told the
    Date header of each answer of the job table and of the jobs queue.
    """

    def __init__(self, region: str, wait_s: int, on_date: Callable[[str], None]) -> None:
        self._session = Session(region_name=region)
        self._on_date = on_date
        self._wait_s = wait_s
        self._hasty = False

    def hastier(self) -> AwsClients:
        """Make clients that give up after a second: a stopping machine has two to hand its jobs back."""
        other = copy.copy(self)
        other._hasty = True
        return other

    def dynamodb(self) -> DynamoDBClient:
        client: DynamoDBClient = self._client("dynamodb", read_s=5, attempts=3)
        client.meta.events.register("after-call.dynamodb", self._note_date)
        return client

    def sqs(self) -> SQSClient:
        # A receive waits up to 20 s at the server; the connection must wait longer.
        client: SQSClient = self._client("sqs", read_s=self._wait_s + 10, attempts=3)
        # The answer that brings a job also tells the time, right before the clock is needed for the claim.
        client.meta.events.register("after-call.sqs", self._note_date)
        return client

    def hints_sqs(self) -> SQSClient:
        # A hint is repeated by the sweeper: it may not hold up a job.
        client: SQSClient = self._client("sqs", read_s=3, attempts=2)
        return client

    def events(self) -> EventBridgeClient:
        # Events are told or not: nobody waits for them.
        client: EventBridgeClient = self._client("events", read_s=3, attempts=1)
        return client

    def s3(self) -> S3Client:
        # A courier opens a dozen connections: three files at once, four parts each.
        client: S3Client = self._client("s3", read_s=60, attempts=5, connect_s=3, connections=16)
        return client

    def _client(self, name: str, *, read_s: float, attempts: int, connect_s: float = 2, connections: int = 10) -> Any:
        if self._hasty:
            read_s, connect_s, attempts = 1, 0.5, 1
        config = Config(
            connect_timeout=connect_s,
            read_timeout=read_s,
            retries={"mode": "standard", "total_max_attempts": attempts},
            tcp_keepalive=True,
            max_pool_connections=connections,
            # What we send is ours and tested on the protocol: checking it costs a tenth of each call.
            parameter_validation=False,
            # Signature version 4 also for S3, whatever the region's default.
            signature_version="s3v4" if name == "s3" else None,
        )
        service: Any = name
        return self._session.client(service, config=config)

    def _note_date(self, http_response: Any, **_: object) -> None:
        date = http_response.headers.get("date")
        if date:
            self._on_date(date)


class DateSkew:
    """Measure how far this machine's clock is from AWS's, by the Date header of each answer (whole seconds)."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._lock = threading.Lock()
        self._skew_s = 0.0

    def note(self, date: str) -> None:
        """Take a Date header into account; one that is no date says nothing."""
        try:
            told = parsedate_to_datetime(date)
        except ValueError:
            return
        if told.tzinfo is None:
            told = told.replace(tzinfo=UTC)
        # The header is cut to the second: half a second is added on average.
        with self._lock:
            self._skew_s = self._now_ms() / 1000 - (told.timestamp() + 0.5)

    @property
    def skew_s(self) -> float:
        """Say by how many seconds this machine is ahead (negative: behind)."""
        with self._lock:
            return self._skew_s


def is_wrong_setting(fault: Exception) -> bool:
    """Say whether AWS refused this worker, whatever it asked for: its key, policy, region or table are wrong."""
    return isinstance(fault, ClientError) and fault.response["Error"]["Code"] in _WRONG_SETTINGS


@contextmanager
def renamed(what: str, *, optional: bool = False) -> Iterator[None]:
    """
    Turn what botocore raises into `Unavailable` naming *what* could not be reached.

    Refused access rises, for it is a wrong setting; but not from what a worker can do without (*optional*).
    """
    try:
        yield
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code in _PERMANENT and not optional:
            raise
        raise Unavailable(f"{what} refused for now ({code}).") from error
    except BotoCoreError as error:
        raise Unavailable(f"{what} cannot be reached ({type(error).__name__}).") from error
