"""Make the webhooks: what programs are told of a job's life."""

from __future__ import annotations

from functools import cached_property

from chalicelib.deliver import Deliver
from chalicelib.lanes import LaneSweep
from chalicelib.poster import GuardedPoster
from chalicelib.seats import Seats, hands_key
from chalicelib.webhooks import Webhooks
from chalicelib.webhooks_api import WebhooksApi
from chalicelib.wiring.clients import now_ms
from chalicelib.wiring.stores import Stores


class Telling(Stores):
    """Hold what programs are told with: the API of webhooks, and what delivers."""

    @cached_property
    def webhooks_api(self) -> WebhooksApi:
        """Make the API of webhooks."""
        has_networks = bool(self.settings.webhook_networks)
        return WebhooksApi(
            Webhooks(self._book, self._webhook_secrets, self.deliveries, now_ms, has_networks=has_networks)
        )

    @cached_property
    def deliver(self) -> Deliver:
        """Make what delivers."""
        poster = GuardedPoster(self.settings.webhook_networks)
        hands = Seats(self._dynamodb, self.settings.webhooks_table, hands_key)
        return Deliver(
            self._book, self.ledger, self._webhook_secrets, poster, self._bus, hands, now_ms, counts=self.counts
        )

    @cached_property
    def lane_sweep(self) -> LaneSweep:
        """Make what rings for deliveries."""
        return LaneSweep(self._book, self.deliveries, now_ms)
