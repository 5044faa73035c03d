"""Let programs in: whose key it is, whether it may do what the route does, and whether it asks too often."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Literal, Protocol, TypeVar

from chalicelib.api_parts import Call
from chalicelib.contract.errors import Exhausted, Rejected, Unavailable
from chalicelib.contract.limits import Account, Limits
from chalicelib.keys import ApiKey, SheetKey

log = logging.getLogger(__name__)

Scope = Literal["read", "submit", "raw", "admin"]
"""What a key may do: look, start and cancel jobs, send graphs of its own, change the catalog."""

Key = TypeVar("Key", ApiKey, SheetKey)


class KeyRing(Protocol):
    """Look keys up (`chalicelib.keys.Keys`)."""

    def api_key(self, authorization: str) -> ApiKey:
        """Answer whose key the header carries."""


class Accounts(Protocol):
    """Know what keys use (`chalicelib.accounts.Accounts`)."""

    def take(self, key_id: str, limits: Limits, now: int) -> Account:
        """Take one request of a key; raise `Exhausted` when there is none left for now."""


class Meter:
    """Count the requests of keys."""

    def __init__(self, accounts: Accounts, now_ms: Callable[[], int]) -> None:
        self._accounts = accounts
        self._now_ms = now_ms

    def counted(self, key: Key) -> Key:
        """
        Answer *key* with what it has used today; raise `Exhausted` (rate_limited) when it asks too often.

        When the counters cannot be reached everybody may pass: a rate is worth less than the service.
        """
        try:
            account = self._accounts.take(key.key_id, key.limits, self._now_ms())
        except Exhausted:
            raise
        except Unavailable as reason:
            log.warning("not counted", extra={"key_id": key.key_id, "reason": reason.message})
            return key
        return replace(key, gpu_ms_today=account.gpu_ms_today)


class Gate:
    """Stand before the routes of programs. *meter* None: nobody counts."""

    def __init__(self, keys: KeyRing, meter: Meter | None = None) -> None:
        self._keys = keys
        self._meter = meter

    def admitted(self, call: Call, scope: Scope | None) -> Call:
        """
        Answer *call* with its key; a route without a *scope* is open to everybody.

        Raise `Rejected`: unauthorized (no such key), forbidden (the key lacks the scope); `Exhausted` (rate_limited).
        """
        if scope is None:
            return call
        key = self._keys.api_key(call.headers.get("authorization", ""))
        if self._meter is not None:
            key = self._meter.counted(key)
        if scope not in key.scopes:
            raise Rejected(
                "forbidden", f"This key may not do that: it lacks the scope {scope}. Ask the operator for one that may."
            )
        return replace(call, key=key)
