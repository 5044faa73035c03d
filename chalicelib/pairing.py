"""
Connect a spreadsheet by a one-time code, once its script has proved that its person may edit it.

The proof: we name a text, the script writes it as developer metadata, we read it there through our service account.
So nobody can aim us at a spreadsheet that is not theirs, and a spreadsheet that is somebody's stays theirs.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from chalicelib.contract.errors import Rejected
from chalicelib.contract.events import Errand
from chalicelib.contract.sheets import Proof, Registration
from chalicelib.keys import Code

PROOF_MS: Final = 10 * 60 * 1000
"""How long the script has for it."""
ASK_AGAIN_MS: Final = 4_000
"""A second look for a proof is asked for no sooner."""

BOUND: Final = Rejected(
    "bound",
    "This spreadsheet is connected for somebody else. Whoever runs the API can release it: "
    "python -m infra keys release.",
)


class Codes(Protocol):
    """Look codes up (`chalicelib.keys.Keys`)."""

    def code(self, text: str) -> Code:
        """Answer whose code this is."""

    def forget(self, key_id: str) -> None:
        """Drop what is cached of a key."""


class Maker(Protocol):
    """Make keys (`chalicelib.keymaker.KeyMaker`)."""

    def use_code(self, code_id: str, spreadsheet_id: str) -> bool:
        """Note which spreadsheet a code connects."""

    def new_sheet(self, client_id: str, spreadsheet_id: str) -> str:
        """Make a sheet's key."""

    def revoke(self, key_id: str) -> bool:
        """End a key."""


class Replaced(Protocol):
    """Hold what a binding has replaced (`chalicelib.registry.Bound`)."""

    @property
    def former(self) -> str | None: ...


class Spreadsheets(Protocol):
    """Know the spreadsheets (`chalicelib.registry.Registry`)."""

    def get(self, spreadsheet_id: str) -> Registration:
        """Read what is known of one."""

    def start_proof(self, spreadsheet_id: str, proof: Proof) -> None:
        """Note what the script is to write."""

    def bind(self, spreadsheet_id: str, client_id: str, key_id: str, title: str) -> Replaced | None:
        """Make it somebody's; None: it is somebody else's."""

    def account(self) -> str:
        """Name our service account."""


class Errands(Protocol):
    """Ask completion for something (`chalicelib.queues.CompletionQueue`)."""

    def ask(self, errand: Errand) -> None:
        """Send an errand; the same id within five minutes is sent once."""


@dataclass(frozen=True)
class Asked:
    """Hold what a connecting script says."""

    code: str
    spreadsheet_id: str
    title: str = ""


class Pairing:
    """Connect spreadsheets."""

    def __init__(
        self, codes: Codes, maker: Maker, spreadsheets: Spreadsheets, errands: Errands, now_ms: Callable[[], int]
    ) -> None:
        self._codes = codes
        self._maker = maker
        self._spreadsheets = spreadsheets
        self._errands = errands
        self._now_ms = now_ms

    def connect(self, asked: Asked) -> dict[str, Any]:
        """
        Go one step: answer `prove` (write this), `waiting` (ask again in a moment) or `connected` (with the key).

        Raise `Rejected`: the code is unknown or was used elsewhere, or the spreadsheet is somebody else's.
        """
        code, now = self._codes.code(asked.code), self._now_ms()
        there = self._spreadsheets.get(asked.spreadsheet_id)
        if there.client_id not in (None, code.client_id):
            raise BOUND
        if code.used_by not in ("", asked.spreadsheet_id):
            raise Rejected("code_used", "This code has connected another spreadsheet. Ask the operator for a new one.")
        proof, account = there.proof, self._spreadsheets.account()
        if proof is None or proof.code_id != code.code_id or proof.until <= now:
            proof = Proof(text=secrets.token_urlsafe(24), code_id=code.code_id, until=now + PROOF_MS)
            self._spreadsheets.start_proof(asked.spreadsheet_id, proof)
            return {"state": "prove", "proof": proof.text, "service_account": account}
        if not proof.is_seen:
            again = f"{proof.text[:16]}-{now // ASK_AGAIN_MS}"
            self._errands.ask(Errand(errand="prove", spreadsheet_id=asked.spreadsheet_id, id=again))
            # The text again: the answer that named it may have got lost.
            waiting = {"state": "waiting", "trouble": proof.trouble, "proof": proof.text}
            return waiting | {"service_account": account}
        return self._bind(code, asked, there) | {"service_account": account}

    def _bind(self, code: Code, asked: Asked, there: Registration) -> dict[str, Any]:
        if not self._maker.use_code(code.code_id, asked.spreadsheet_id):
            raise Rejected("code_used", "This code has connected another spreadsheet. Ask the operator for a new one.")
        key = self._maker.new_sheet(code.client_id, asked.spreadsheet_id)
        key_id = key.split("_")[1]
        # One key for one spreadsheet: whoever connects it again replaces the key for all of its people. First, for a
        # key that nobody knows of any more would outlive the spreadsheet's release.
        self._end(there.key_id)
        bound = self._spreadsheets.bind(asked.spreadsheet_id, code.client_id, key_id, asked.title)
        if bound is None:
            self._maker.revoke(key_id)
            raise BOUND
        if bound.former not in (there.key_id, key_id):
            self._end(bound.former)  # somebody else connected it between our look and now
        return {"state": "connected", "key": key, "client": code.client_id}

    def _end(self, key_id: str | None) -> None:
        if key_id:
            self._maker.revoke(key_id)
            self._codes.forget(key_id)
