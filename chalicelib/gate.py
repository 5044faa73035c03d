"""Let programs in: whose key it is, and whether it may do what the route does."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, Protocol

from chalicelib.api_parts import Call
from chalicelib.contract.errors import Rejected
from chalicelib.keys import ApiKey

Scope = Literal["read", "submit", "raw", "admin"]
"""What a key may do: look, start and cancel jobs, send graphs of its own, change the catalog."""


class KeyRing(Protocol):
    """Look keys up (`chalicelib.keys.Keys`)."""

    def api_key(self, authorization: str) -> ApiKey:
        """Answer whose key the header carries."""


class Gate:
    """Stand before the routes of programs."""

    def __init__(self, keys: KeyRing) -> None:
        self._keys = keys

    def admitted(self, call: Call, scope: Scope | None) -> Call:
        """
        Answer *call* with its key; a route without a *scope* is open to everybody.

        Raise `Rejected`: unauthorized (no such key), forbidden (the key lacks the scope).
        """
        if scope is None:
            return call
        key = self._keys.api_key(call.headers.get("authorization", ""))
        if scope not in key.scopes:
            raise Rejected(
                "forbidden", f"This key may not do that: it lacks the scope {scope}. Ask the operator for one that may."
            )
        return replace(call, key=key)
