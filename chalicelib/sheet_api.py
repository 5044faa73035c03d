"""Answer the routes that a spreadsheet's script calls: /v1/sheets/…, each request signed with the sheet's key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from pydantic import Field

from chalicelib import signature
from chalicelib.api_parts import Answer, Call, check_size, parse
from chalicelib.contract.errors import Rejected
from chalicelib.curate import MAX_WORKFLOW_BYTES
from chalicelib.gate import Meter
from chalicelib.keys import SheetKey
from chalicelib.pairing import Asked, Pairing
from chalicelib.panel import (
    AutoRequest,
    ClaimRequest,
    ErrandLook,
    ErrandRequest,
    OfRows,
    OfSheet,
    Panel,
)
from chalicelib.settings import MAX_BODY_BYTES
from chalicelib.sheet_shelf import AddRequest, InferRequest, SheetShelf
from chalicelib.submit import Request, SheetId, SheetRequest, Submit

Of = TypeVar("Of", bound=OfSheet)


class ConnectRequest(Request):
    """Connect a spreadsheet by a one-time code."""

    code: str = Field(min_length=1, max_length=200)
    spreadsheet_id: str = Field(pattern=r"^[A-Za-z0-9_-]{1,128}$")
    """As Google makes them; it becomes the key of an item, and the name of a message group."""
    sheet_id: SheetId = 0
    title: str = Field(default="", max_length=500)


class KeyRing(Protocol):
    """Look keys up (`chalicelib.keys.Keys`)."""

    def sheet_key(self, key_id: str) -> SheetKey:
        """Answer a sheet's key."""

    def look_again(self, key_id: str) -> bool:
        """Drop what is cached of a key whose secret does not fit; say whether it was."""


class Memory(Protocol):
    """Remember request ids (`chalicelib.keys.Nonces`)."""

    def is_new(self, nonce: str, memory_s: int) -> bool:
        """Note a request id; False when it was there."""


class SheetApi:
    """Answer a script. Each method raises `Rejected` or `Unavailable`; `guarded` makes answers of them."""

    def __init__(
        self,
        *,
        submit: Submit,
        panel: Panel,
        pairing: Pairing,
        keys: KeyRing,
        nonces: Memory,
        shelf: SheetShelf,
        meter: Meter | None = None,
    ) -> None:
        self._meter = meter
        self._submit = submit
        self._panel = panel
        self._pairing = pairing
        self._keys = keys
        self._nonces = nonces
        self._shelf = shelf

    def connect(self, call: Call) -> Answer:
        """POST /v1/sheets/connect: not signed, for the key is what it asks for; the code stands for it."""
        check_size(call.body)
        asked = parse(ConnectRequest, call.body)
        return Answer(200, self._pairing.connect(Asked(asked.code, asked.spreadsheet_id, asked.title)))

    def submit_rows(self, call: Call) -> Answer:
        """POST /v1/sheets/jobs: accept up to 100 rows, one answer per row."""
        key = self._signed(call)
        request = parse(SheetRequest, call.body)
        _check_own(key, request.spreadsheet_id)
        answers = self._submit.rows(key.client_id, request, call.link_base, key.account)
        # Whoever starts rows should know when their results cannot be written.
        parked = self._panel.parked(key)
        return Answer(200, {"results": [answer.to_json() for answer in answers], "parked": parked})

    def workflows(self, call: Call) -> Answer:
        """GET /v1/sheets/workflows: what a row may ask for."""
        return Answer(200, self._shelf.list(self._signed(call)))

    def infer_workflow(self, call: Call) -> Answer:
        """POST /v1/sheets/workflows/infer: propose a manifest for an exported graph."""
        return self._answered(call, InferRequest, self._shelf.infer, MAX_WORKFLOW_BYTES)

    def add_workflow(self, call: Call) -> Answer:
        """POST /v1/sheets/workflows: add a workflow for this key's client."""
        return self._answered(call, AddRequest, self._shelf.add, MAX_WORKFLOW_BYTES)

    def connection(self, call: Call) -> Answer:
        """POST /v1/sheets/connection: whose the key is, and how things stand."""
        return self._answered(call, OfSheet, lambda key, _: self._panel.connection(key))

    def progress(self, call: Call) -> Answer:
        """POST /v1/sheets/progress: how far rows are."""
        return self._answered(call, OfRows, self._panel.progress)

    def cancel(self, call: Call) -> Answer:
        """POST /v1/sheets/cancel: cancel rows."""
        return self._answered(call, OfRows, self._panel.cancel)

    def fetch(self, call: Call) -> Answer:
        """POST /v1/sheets/fetch: have results written once more."""
        return self._answered(call, OfRows, self._panel.fetch)

    def auto(self, call: Call) -> Answer:
        """POST /v1/sheets/auto: switch auto mode."""
        return self._answered(call, AutoRequest, self._panel.switch_auto)

    def claims(self, call: Call) -> Answer:
        """POST /v1/sheets/claims: be the only one who starts rows."""
        return self._answered(call, ClaimRequest, self._panel.claim)

    def errands(self, call: Call) -> Answer:
        """POST /v1/sheets/errands: ask for what only our service account can do."""
        return self._answered(call, ErrandRequest, self._panel.send_errand)

    def look_at_errand(self, call: Call) -> Answer:
        """POST /v1/sheets/errands/look: what became of it."""
        return self._answered(call, ErrandLook, self._panel.look_at_errand)

    def _answered(
        self,
        call: Call,
        shape: type[Of],
        answer: Callable[[SheetKey, Of], dict[str, Any]],
        most_bytes: int = MAX_BODY_BYTES,
    ) -> Answer:
        key = self._signed(call, most_bytes)
        asked = parse(shape, call.body)
        _check_own(key, asked.spreadsheet_id)
        return Answer(200, answer(key, asked), {"Cache-Control": "no-store"})

    def _signed(self, call: Call, most_bytes: int = MAX_BODY_BYTES) -> SheetKey:
        """Check size, signature and that the request was never seen; answer the sheet's key."""
        check_size(call.body, most_bytes)
        key = self._keys.sheet_key(call.headers.get("x-key-id", ""))
        try:
            nonce = signature.verify(call.headers, call.body, key.secrets)
        except Rejected:
            if not self._keys.look_again(key.key_id):
                raise
            key = self._keys.sheet_key(key.key_id)
            nonce = signature.verify(call.headers, call.body, key.secrets)
        if not self._nonces.is_new(f"{key.key_id}:{nonce}"[:200], signature.NONCE_MEMORY_S):
            raise Rejected("replayed", "This very request was sent before. Sign each attempt anew.")
        return key if self._meter is None else self._meter.counted(key)


def _check_own(key: SheetKey, spreadsheet_id: str) -> None:
    if spreadsheet_id != key.spreadsheet_id:
        raise Rejected(
            "forbidden",
            "This key belongs to another spreadsheet. A copied sheet needs a key of its own: ask the operator for a "
            "code, then connect it under ComfySheet > Settings.",
        )
