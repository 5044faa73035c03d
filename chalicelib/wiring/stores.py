"""Make what keeps things: tables, queues, the bucket, parameters."""

from __future__ import annotations

import time
from functools import cached_property

from chalicelib.accounts import Accounts
from chalicelib.asset_store import AssetStore
from chalicelib.assets import Assets
from chalicelib.blobs import Blobs
from chalicelib.bus import EventBus
from chalicelib.catalog import Catalog
from chalicelib.crew import Crew
from chalicelib.delivery_book import DynamoDeliveryBook
from chalicelib.gate import Meter
from chalicelib.keys import Keys
from chalicelib.ledger import DynamoLedger
from chalicelib.queues import CompletionQueue, DeliveryQueue, JobQueue
from chalicelib.rates import Counters
from chalicelib.registry import Registry
from chalicelib.webhook_secrets import WebhookSecrets
from chalicelib.wiring.clients import Clients, now_ms


class Stores(Clients):
    """Hold what keeps things: tables, queues, the bucket, parameters."""

    @cached_property
    def ledger(self) -> DynamoLedger:
        """Open the job table."""
        return DynamoLedger(self._dynamodb, self.settings.jobs_table)

    @cached_property
    def _jobs(self) -> JobQueue:
        return JobQueue(self._sqs, self.settings.jobs_queue_url)

    @cached_property
    def completions(self) -> CompletionQueue:
        """Open the completion's queue."""
        settings = self.settings
        return CompletionQueue(self._sqs, settings.completions_queue_url, settings.completions_dlq_url)

    @cached_property
    def deliveries(self) -> DeliveryQueue:
        """Open the delivering function's queue."""
        return DeliveryQueue(self._sqs, self.settings.deliveries_queue_url, self.settings.deliveries_dlq_url)

    @cached_property
    def _blobs(self) -> Blobs:
        return Blobs(self._client("s3"), self.settings.bucket)

    @cached_property
    def _assets(self) -> Assets:
        store = AssetStore(self._client("s3"), self.settings.bucket)
        return Assets(store, self.ledger, self.settings.max_asset_bytes, now_ms)

    @cached_property
    def _catalog(self) -> Catalog:
        return Catalog(self._blobs, clock_s=time.monotonic)

    @cached_property
    def _accounts(self) -> Accounts:
        return Accounts(self._dynamodb, self.settings.rates_table)

    @cached_property
    def _meter(self) -> Meter:
        return Meter(Accounts(self._hasty_dynamodb, self.settings.rates_table), now_ms)

    @cached_property
    def _crew(self) -> Crew:
        return Crew(self._dynamodb, self.settings.workers_table, now_ms)

    @cached_property
    def _registry(self) -> Registry:
        return Registry(self._dynamodb, self.settings.sheets_table)

    @cached_property
    def _counters(self) -> Counters:
        return Counters(self._dynamodb, self.settings.rates_table)

    @cached_property
    def _keys(self) -> Keys:
        settings = self.settings
        return Keys(self._dynamodb, self._ssm, settings.keys_table, settings.secrets_prefix, time.monotonic)

    @cached_property
    def _book(self) -> DynamoDeliveryBook:
        return DynamoDeliveryBook(self._dynamodb, self.settings.webhooks_table)

    @cached_property
    def _webhook_secrets(self) -> WebhookSecrets:
        return WebhookSecrets(self._ssm, self.settings.secrets_prefix, time.monotonic)

    @cached_property
    def _bus(self) -> EventBus:
        return EventBus(self._client("events"), self.settings.bus_name)
