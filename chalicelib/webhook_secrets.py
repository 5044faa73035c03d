"""
Keep the secrets that sign outgoing webhooks: SecureStrings below `<prefix>/webhook-secrets/` in SSM, never in a table.

Each endpoint has its own, and each client one for the addresses that its jobs name. Two may live at the same time:
after a rotation the old one still signs for a day, beside the new one.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import secrets
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.contract.deliveries import OF_JOBS
from chalicelib.contract.errors import Unavailable

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient

OLD_LIVES_MS: Final = 24 * 3600 * 1000
CACHE_S: Final = 30
_THROTTLED: Final = frozenset({"ThrottlingException", "TooManyUpdates", "InternalServerError"})

Entry = tuple[str, int]
"""A secret, and until when it lives (ms; 0: until it is rotated)."""


def new_secret() -> str:
    """Draw a secret: `whsec_` and 32 random bytes in base64, as the Standard Webhooks specification writes it."""
    return f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"


class WebhookSecrets:
    """Make, read, rotate and forget secrets. Raise `Unavailable` when SSM cannot be reached."""

    def __init__(self, ssm: SSMClient, prefix: str, clock_s: Callable[[], float]) -> None:
        self._ssm = ssm
        self._prefix = prefix
        self._clock_s = clock_s
        self._cache: dict[str, tuple[float, list[Entry]]] = {}

    def live(self, client_id: str, webhook_id: str, now: int) -> list[str]:
        """List the secrets that sign, the newest first; one is made when there is none."""
        entries = self._entries(self._name(client_id, webhook_id))
        return [secret for secret, until in entries if not until or now < until]

    def current(self, client_id: str, webhook_id: str) -> str:
        """Give the newest secret; it is made when there is none."""
        name = self._name(client_id, webhook_id)
        self._cache.pop(name, None)
        return self._entries(name)[0][0]

    def rotate(self, client_id: str, webhook_id: str, now: int) -> tuple[str, int]:
        """Make a new secret; the one before signs on until the time that is answered (ms)."""
        name = self._name(client_id, webhook_id)
        before = self._read(name)
        until = now + OLD_LIVES_MS
        entries = [(new_secret(), 0), *((secret, until) for secret, _ in before[:1])]
        with _reaching():
            self._ssm.put_parameter(Name=name, Value=json.dumps(entries), Type="SecureString", Overwrite=True)
        self._cache.pop(name, None)
        return entries[0][0], until

    def forget(self, client_id: str, webhook_id: str) -> None:
        """Delete an endpoint's secrets."""
        name = self._name(client_id, webhook_id)
        self._cache.pop(name, None)
        with _reaching(), contextlib.suppress(self._ssm.exceptions.ParameterNotFound):
            self._ssm.delete_parameter(Name=name)

    def _entries(self, name: str) -> list[Entry]:
        cached = self._cache.get(name)
        if cached is not None and cached[0] > self._clock_s():
            return cached[1]
        entries = self._read(name) or self._make(name)
        if len(self._cache) > 1000:
            self._cache.clear()
        self._cache[name] = (self._clock_s() + CACHE_S, entries)
        return entries

    def _read(self, name: str) -> list[Entry]:
        try:
            with _reaching():
                value = self._ssm.get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"]
        except self._ssm.exceptions.ParameterNotFound:
            return []
        return [(str(secret), int(until)) for secret, until in json.loads(value)]

    def _make(self, name: str) -> list[Entry]:
        entries = [(new_secret(), 0)]
        try:
            with _reaching():
                self._ssm.put_parameter(Name=name, Value=json.dumps(entries), Type="SecureString", Overwrite=False)
        except self._ssm.exceptions.ParameterAlreadyExists:
            return self._read(name)
        return entries

    def _name(self, client_id: str, webhook_id: str) -> str:
        """Name the parameter; a client's name may hold what SSM's may not."""
        client = hashlib.sha256(client_id.encode()).hexdigest()[:32]
        return f"{self._prefix}/webhook-secrets/{f'{OF_JOBS}-{client}' if webhook_id == OF_JOBS else webhook_id}"


@contextlib.contextmanager
def _reaching() -> Iterator[None]:
    """Rename what is busy or out of reach; a refusal rises as it is."""
    away = "The secrets of webhooks cannot be reached just now. Try again in a moment."
    try:
        yield
    except ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if status >= 500 or error.response["Error"]["Code"] in _THROTTLED:
            raise Unavailable(away) from error
        raise
    except BotoCoreError as error:
        raise Unavailable(away) from error
