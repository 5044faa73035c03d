"""
Know who is asking: API keys, sheet keys and the ids of requests already seen.

A key reads `ck_<key id>_<secret>`, a one-time code that connects a spreadsheet `cc_<key id>_<secret>`. Of an API key
and of a code only the SHA-256 is kept (a random secret needs no slow hash). A sheet
key signs, so its secret must be readable: it lies in SSM as a SecureString, never in the table.
While a key is rotated it has two secrets: the former one lives until `old_until`. A key ends at `expires_at`.
Keys are cached for 30 s a container: a revoked key is dead within a minute. A secret that does not fit is looked up
again, so that a new one opens at once.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.contract.errors import Rejected, Unavailable
from chalicelib.contract.limits import SHEET_LIMITS, Account, Limits

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_ssm import SSMClient

CACHE_S: Final = 30
LOOK_AGAIN_S: Final = 1
EVERYDAY: Final = "read submit"
"""The scopes of a key that was made without any being named."""
_KEY: Final = re.compile(r"ck_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
_CODE: Final = re.compile(r"cc_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
_THROTTLED: Final = frozenset(
    {"ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded", "TooManyUpdates"}
)
_NOBODY: Final = hashlib.sha256(b"nobody").hexdigest()
_NOBODYS: Final[Mapping[str, str]] = {"kind": "api", "secret_sha256": _NOBODY}
"""What stands for the record of an unknown id: no secret opens it, so it is refused as a wrong secret is."""

UNKNOWN_KEY = Rejected(
    "unauthorized", "This key is not known here. Check it, or ask the operator for a new one (python -m infra keys)."
)
UNKNOWN_CODE = Rejected(
    "unknown_code",
    "This code is not known here, or its time is over. Check that you copied all of it, or ask the operator for a new "
    "one (python -m infra keys new-code).",
)


@dataclass(frozen=True)
class ApiKey:
    """Name a program's key: whose it is and what it may do."""

    key_id: str
    client_id: str
    scopes: frozenset[str]
    spreadsheet_id: str = ""
    """The one spreadsheet whose rows it may have jobs shown in; empty: none."""
    limits: Limits = field(default_factory=Limits)
    gpu_ms_today: int = 0
    """What its jobs have used of the GPUs today (UTC), as the gate has seen it."""

    @property
    def account(self) -> Account:
        """Say on whose account its jobs are made."""
        return Account(self.key_id, self.limits, self.gpu_ms_today)


@dataclass(frozen=True)
class SheetKey:
    """Name a sheet's key: whose it is, the one spreadsheet it may write to, and the secrets that sign."""

    key_id: str
    client_id: str
    spreadsheet_id: str
    secrets: tuple[bytes, ...]
    limits: Limits = field(default_factory=lambda: SHEET_LIMITS)
    gpu_ms_today: int = 0

    @property
    def account(self) -> Account:
        """Say on whose account its jobs are made."""
        return Account(self.key_id, self.limits, self.gpu_ms_today)


@dataclass(frozen=True)
class Code:
    """Name a one-time code: whose it is, and the spreadsheet that it has connected (empty: none yet)."""

    code_id: str
    client_id: str
    used_by: str


def limits_of(record: Mapping[str, str], usual: Limits) -> Limits:
    """Read a key's limits from its record; what it does not name is as *usual*."""
    budget = record.get("gpu_s_per_day", "")
    return Limits(
        rate_per_s=float(record.get("rate_per_s", usual.rate_per_s)),
        burst=int(record.get("burst", usual.burst)),
        queued_max=int(record.get("queued_max", usual.queued_max)),
        gpu_s_per_day=int(budget) if budget else usual.gpu_s_per_day,
    )


def split_key(key: str) -> tuple[str, str]:
    """Take `ck_<key id>_<secret>` apart; raise `Rejected` when it is not of that form."""
    match = _KEY.fullmatch(key.strip())
    if match is None:
        raise UNKNOWN_KEY
    return match[1], match[2]


def secret_bytes(secret: str) -> bytes:
    """Decode a key's secret part: 32 bytes in base64url without padding."""
    return base64.urlsafe_b64decode(secret + "=" * (-len(secret) % 4))


class Keys:
    """Look keys up in the keys table (`key_id`) and sheet secrets below `<prefix>/sheet-keys/` in SSM."""

    def __init__(
        self,
        dynamodb: DynamoDBClient,
        ssm: SSMClient,
        table: str,
        secrets_prefix: str,
        clock_s: Callable[[], float],
        time_s: Callable[[], float] = time.time,
        is_same: Callable[[str, str], bool] = hmac.compare_digest,
    ) -> None:
        """*is_same* compares two texts in a time that does not tell where they differ."""
        self._time_s = time_s
        self._is_same = is_same
        self._dynamodb = dynamodb
        self._ssm = ssm
        self._table = table
        self._prefix = secrets_prefix
        self._clock_s = clock_s
        self._records: dict[str, tuple[float, dict[str, str]]] = {}
        self._secrets: dict[str, tuple[float, tuple[bytes, ...]]] = {}

    def api_key(self, authorization: str) -> ApiKey:
        """Answer whose key an `Authorization: Bearer ck_…` header carries; raise `Rejected` (unauthorized)."""
        scheme, _, key = authorization.partition(" ")
        if scheme.lower() != "bearer":
            raise Rejected("unauthorized", "Send your key as the header 'Authorization: Bearer ck_…'.")
        key_id, secret = split_key(key)
        record = self._record(key_id)
        # The same work and the same words for an unknown id, a wrong secret, a former one and an ended key.
        given = hashlib.sha256(secret.encode()).hexdigest()
        if not self._is_opened(record, given) and self.look_again(key_id):
            record = self._record(key_id)
        if not self._is_opened(record, given) or record.get("kind") != "api" or self._has_ended(record):
            raise UNKNOWN_KEY
        scopes = frozenset(record.get("scopes", EVERYDAY).split())
        bound_to = record.get("spreadsheet_id", "")
        return ApiKey(key_id, record["client_id"], scopes, bound_to, limits_of(record, Limits()))

    def sheet_key(self, key_id: str) -> SheetKey:
        """Answer a sheet's key by its id; raise `Rejected` (unauthorized) when there is none."""
        record = self._record(key_id) if re.fullmatch(r"[0-9a-f]{12}", key_id) else {}
        if record.get("kind") != "sheet" or self._has_ended(record):
            raise UNKNOWN_KEY
        secrets = self._secrets_of(key_id)
        # At least as new as the secrets: it says until when the former of them lives.
        record = self._record(key_id)
        if record.get("kind") != "sheet":
            raise UNKNOWN_KEY
        live = secrets if self._is_ahead(record, "old_until") else secrets[:1]
        return SheetKey(key_id, record["client_id"], record["spreadsheet_id"], live, limits_of(record, SHEET_LIMITS))

    def code(self, text: str) -> Code:
        """Answer whose code this is; raise `Rejected` (unknown_code). Never from the cache: it changes when used."""
        match = _CODE.fullmatch(text.strip())
        if match is None:
            raise UNKNOWN_CODE
        self._records.pop(match[1], None)
        record = self._record(match[1])
        known = record.get("secret_sha256", _NOBODY)
        right = self._is_same(hashlib.sha256(match[2].encode()).hexdigest(), known)
        if not right or record.get("kind") != "code" or self._has_ended(record):
            raise UNKNOWN_CODE
        return Code(match[1], record["client_id"], record.get("used_by", ""))

    def forget(self, key_id: str) -> None:
        """Drop what is cached of a key that was just made or ended."""
        self._records.pop(key_id, None)
        self._secrets.pop(key_id, None)

    def look_again(self, key_id: str) -> bool:
        """
        Drop what is cached of a key whose secret does not fit: it may have been rotated since. Say whether it was.

        Not within a second: whoever guesses secrets costs a read a second at most.
        """
        cached = self._records.get(key_id)
        if cached is None or self._clock_s() < cached[0] - CACHE_S + LOOK_AGAIN_S:
            return False
        self.forget(key_id)
        return True

    def _is_opened(self, record: Mapping[str, str], given: str) -> bool:
        is_newest = self._is_same(given, record.get("secret_sha256", _NOBODY))
        is_former = self._is_same(given, record.get("old_sha256", _NOBODY))
        return is_newest or (is_former and self._is_ahead(record, "old_until"))

    def _is_ahead(self, record: Mapping[str, str], moment: str) -> bool:
        return float(record.get(moment, "0")) > self._time_s()

    def _has_ended(self, record: Mapping[str, str]) -> bool:
        return "expires_at" in record and not self._is_ahead(record, "expires_at")

    def _record(self, key_id: str) -> dict[str, str]:
        now = self._clock_s()
        cached = self._records.get(key_id)
        if cached is not None and cached[0] > now:
            return cached[1]
        with _reaching():
            answer = self._dynamodb.get_item(TableName=self._table, Key={"key_id": {"S": key_id}}, ConsistentRead=True)
        record = {name: str(next(iter(value.values()))) for name, value in answer.get("Item", {}).items()}
        record = record or dict(_NOBODYS)
        if len(self._records) > 1000:
            self._records.clear()
        self._records[key_id] = (now + CACHE_S, record)
        return record

    def _secrets_of(self, key_id: str) -> tuple[bytes, ...]:
        now = self._clock_s()
        cached = self._secrets.get(key_id)
        if cached is not None and cached[0] > now:
            return cached[1]
        self._records.pop(key_id, None)
        name = f"{self._prefix}/sheet-keys/{key_id}"
        try:
            with _reaching():
                value = self._ssm.get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"]
        except self._ssm.exceptions.ParameterNotFound:
            raise UNKNOWN_KEY from None
        # The newest first; the former one behind a space, if the key was ever rotated.
        secrets = tuple(secret_bytes(text) for text in value.split())
        self._secrets[key_id] = (now + CACHE_S, secrets)
        return secrets


@contextlib.contextmanager
def _reaching() -> Iterator[None]:
    """Rename what is busy or out of reach; a refusal rises as it is."""
    try:
        yield
    except ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if status >= 500 or error.response["Error"]["Code"] in _THROTTLED:
            raise Unavailable("Keys cannot be looked up just now. Try again in a moment.") from error
        raise
    except BotoCoreError as error:
        raise Unavailable("Keys cannot be looked up just now. Try again in a moment.") from error


class Nonces:
    """Remember request ids in the nonces table, each until its time (DynamoDB deletes late, so the time is checked)."""

    def __init__(self, dynamodb: DynamoDBClient, table: str, clock_s: Callable[[], float]) -> None:
        self._dynamodb = dynamodb
        self._table = table
        self._clock_s = clock_s

    def is_new(self, nonce: str, memory_s: int) -> bool:
        """Note *nonce* for *memory_s*; False when it was there already."""
        now = int(self._clock_s())
        try:
            with _reaching():
                self._dynamodb.put_item(
                    TableName=self._table,
                    Item={"nonce": {"S": nonce}, "ttl": {"N": str(now + memory_s)}},
                    ConditionExpression="attribute_not_exists(nonce) OR #ttl < :now",
                    ExpressionAttributeNames={"#ttl": "ttl"},
                    ExpressionAttributeValues={":now": {"N": str(now)}},
                )
        except ClientError as error:
            if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
                return False
            raise
        return True
