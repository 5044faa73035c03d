"""Make what reads and writes the cells of Google Sheets."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from chalicelib.auto import AutoStart
from chalicelib.complete import Complete
from chalicelib.contract.limits import Account
from chalicelib.errands import Errands
from chalicelib.google_key import GoogleKey, KeyRing, is_local
from chalicelib.herald import Herald
from chalicelib.rates import SheetsBudget, UsageBook
from chalicelib.wiring.clients import now_ms
from chalicelib.wiring.jobs import Jobs

if TYPE_CHECKING:
    from chalicelib.sheet import Service, Sheets

log = logging.getLogger(__name__)


class Rows(Jobs):
    """Hold what reads and writes the cells of Google Sheets."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        super().__init__(environment)
        self._spoken_for: GoogleKey | None = None
        """The key whose account is noted."""
        self._sheets_client: tuple[GoogleKey, Service] | None = None

    @cached_property
    def complete(self) -> Complete:
        """Make the completion."""
        books = UsageBook(self._counters)
        herald = Herald(self._book, self.deliveries, self._bus, now_ms, self.counts)
        return Complete(self.ledger, self._sheets, self._registry, self._budget, books, herald, now_ms, self.counts)

    @cached_property
    def errands(self) -> Errands:
        """Make what completion does beside it."""
        link_base = self.settings.public_url
        auto = AutoStart(self.ledger, self._sheets, self._registry, self._submit, link_base, now_ms, self._account_of)
        books, registry = self._sheets, self._registry
        return Errands(self.ledger, books, registry, auto, self._budget, self._account, now_ms)

    def _account_of(self, key_id: str) -> Account:
        return self._accounts.account(key_id, now_ms())

    @cached_property
    def _budget(self) -> SheetsBudget:
        return SheetsBudget(self._counters)

    @cached_property
    def _sheets(self) -> Sheets:
        from chalicelib.sheet import Sheets

        return Sheets(self._sheets_service, self._count, self.counts, self._google.renew)

    def _count(self, kind: Literal["reads", "writes"], spreadsheet_id: str, urgent: bool) -> None:
        self._budget.spend(kind, spreadsheet_id, now_ms(), urgent=urgent)

    @cached_property
    def _google(self) -> KeyRing:
        settings = self.settings
        local = is_local(settings.sheets_api_endpoint)
        secrets = self._client("secretsmanager")
        return KeyRing(secrets, settings.google_secret_id, time.monotonic, may_be_local=local)

    def _account(self) -> str:
        """Name our service account, and note it for the API, which may not read Google's key."""
        key = self._google.key()
        if key != self._spoken_for:
            self._registry.note_account(key.email)
            self._spoken_for = key
        return key.email

    def _sheets_service(self) -> Service:
        from chalicelib.sheet import connect

        key = self._google.key()
        if self._sheets_client is None or self._sheets_client[0] != key:
            log.info("connecting to Google Sheets", extra={"account": self._account(), "kind": key.kind})
            self._sheets_client = key, connect(key, self.settings.sheets_api_endpoint)
        return self._sheets_client[1]
