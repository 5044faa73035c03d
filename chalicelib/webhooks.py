"""Register who is told of jobs, and look after what was sent: endpoints, secrets, deliveries, once more, a test."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from typing import Final, Protocol

from chalicelib.contract.addresses import webhook_url
from chalicelib.contract.deliveries import (
    ENDPOINTS_MOST,
    ENDS,
    ID_PATTERN,
    OF_JOBS,
    TEST_EVENT,
    WEBHOOK_PATTERN,
    Delivery,
    Endpoint,
    EventType,
    Health,
    LaneHint,
    Move,
    delivery_id,
)
from chalicelib.contract.delivery_ports import DeliveryBook
from chalicelib.contract.errors import Rejected, Unavailable
from chalicelib.herald import Posts

LISTED: Final = 100
"""Deliveries that a listing shows."""
_TRIES: Final = 4

NO_WEBHOOK: Final = Rejected("not_found", "There is no webhook of this id.")
NO_DELIVERY: Final = Rejected("not_found", "There is no delivery of this id. They are kept for 30 days.")
IS_OFF: Final = Rejected(
    "webhook_off", 'This webhook is switched off. Switch it on first: PATCH it with {"disabled": false}.'
)


class SecretStore(Protocol):
    """Keep secrets (`chalicelib.webhook_secrets.WebhookSecrets`)."""

    def current(self, client_id: str, webhook_id: str) -> str:
        """Give the newest secret; it is made when there is none."""

    def rotate(self, client_id: str, webhook_id: str, now: int) -> tuple[str, int]:
        """Make a new secret; the one before signs on until the time that is answered (ms)."""

    def forget(self, client_id: str, webhook_id: str) -> None:
        """Delete an endpoint's secrets."""


def checked_webhook_url(url: str, *, has_networks: bool = False) -> str:
    """Answer *url*; raise `Rejected` (bad_webhook_url) when nothing would ever be posted there."""
    try:
        return webhook_url(url, has_networks=has_networks)
    except ValueError as fault:
        raise Rejected("bad_webhook_url", f"The webhook's URL {fault}.") from None


class Webhooks:
    """Look after a client's webhooks. Whatever is not the client's own is `not_found`."""

    def __init__(
        self,
        book: DeliveryBook,
        secret_store: SecretStore,
        posts: Posts,
        now_ms: Callable[[], int],
        *,
        has_networks: bool = False,
    ) -> None:
        self._book = book
        self._secrets = secret_store
        self._posts = posts
        self._now_ms = now_ms
        self._has_networks = has_networks

    def create(
        self, client_id: str, url: str, events: tuple[EventType, ...] = ENDS, description: str = ""
    ) -> tuple[Endpoint, str]:
        """Register an endpoint; answer it and the secret that signs what it gets. Raise `Rejected`."""
        checked_webhook_url(url, has_networks=self._has_networks)
        if len(self._book.endpoints(client_id)) >= ENDPOINTS_MOST:
            raise Rejected(
                "too_many_webhooks",
                f"There are {ENDPOINTS_MOST} webhooks already, which is the most. Delete one, or change its URL.",
            )
        endpoint = Endpoint(
            webhook_id=f"wh_{secrets.token_hex(8)}",
            client_id=client_id,
            url=url,
            events=_in_order(events),
            description=description,
            created_at=self._now_ms(),
        )
        # The secret first: an endpoint without one would have it made by whoever comes first.
        secret = self._secrets.current(client_id, endpoint.webhook_id)
        self._book.add_endpoint(endpoint)
        return endpoint, secret

    def all_of(self, client_id: str) -> list[tuple[Endpoint, Health]]:
        """List a client's endpoints and how they do, the oldest first."""
        endpoints = self._book.endpoints(client_id)
        return [(each, self._health(each)) for each in endpoints]

    def one(self, client_id: str, webhook_id: str) -> tuple[Endpoint, Health]:
        """Answer an endpoint and how it does."""
        lane = self._book.lane(client_id, webhook_id) if _is_registered(webhook_id) else None
        if lane is None or lane.endpoint is None:
            raise NO_WEBHOOK
        return lane.endpoint, lane.health

    def change(
        self,
        client_id: str,
        webhook_id: str,
        *,
        url: str | None = None,
        events: tuple[EventType, ...] | None = None,
        description: str | None = None,
        disabled: bool | None = None,
    ) -> tuple[Endpoint, Health]:
        """Change what is given (None: it stays). Switching it on forgets how it failed."""
        if url is not None:
            checked_webhook_url(url, has_networks=self._has_networks)
        for _ in range(_TRIES):
            before, _health = self.one(client_id, webhook_id)
            given = {"url": url, "events": _in_order(events) if events else None, "description": description}
            update: dict[str, object] = {name: value for name, value in given.items() if value is not None}
            if disabled is not None:
                update["off"] = (before.off or "switched_off") if disabled else ""
            after = before.model_copy(update=update)
            heals = disabled is False or (url is not None and url != before.url)
            if after == before and not heals:
                return before, _health
            if self._book.change_endpoint(before, after, heal=heals):
                self._ring(client_id, webhook_id)
                return self.one(client_id, webhook_id)
        raise Unavailable("Somebody else changes this webhook as well. Try again in a moment.")

    def remove(self, client_id: str, webhook_id: str) -> None:
        """Forget an endpoint and its secrets; what waits for it is not delivered any more."""
        if not _is_registered(webhook_id) or not self._book.remove_endpoint(client_id, webhook_id):
            raise NO_WEBHOOK
        self._secrets.forget(client_id, webhook_id)

    # -- secrets ------------------------------------------------------------------------------------------------

    def secret_of_jobs(self, client_id: str) -> str:
        """Give the secret that signs what goes to addresses that jobs name; the first call makes it."""
        return self._secrets.current(client_id, OF_JOBS)

    def rotate(self, client_id: str, webhook_id: str) -> tuple[str, int]:
        """Make a new secret; the old one signs as well until the time (ms) that is answered."""
        if webhook_id != OF_JOBS:
            self.one(client_id, webhook_id)
        return self._secrets.rotate(client_id, webhook_id, self._now_ms())

    # -- deliveries ---------------------------------------------------------------------------------------------

    def deliveries(self, client_id: str, webhook_id: str) -> list[Delivery]:
        """List an endpoint's deliveries, the newest first."""
        if webhook_id != OF_JOBS:
            self.one(client_id, webhook_id)
        return self._book.deliveries(client_id, webhook_id, LISTED)

    def redeliver(self, client_id: str, webhook_id: str, delivery: str) -> Delivery:
        """Send a delivery once more, whatever became of it: under the same id, with a schedule of its own."""
        if webhook_id != OF_JOBS and self.one(client_id, webhook_id)[0].off:
            raise IS_OFF
        for _ in range(_TRIES):
            before = self._delivery(client_id, webhook_id, delivery)
            now = self._now_ms()
            after = before.model_copy(update={"tries": 0, "asked_at": now, "next_attempt_at": now, "ended_at": None})
            if self._book.move(Move.REDELIVER, before, after):
                self._ring(client_id, before.lane, before.delivery_id)
                return self._delivery(client_id, webhook_id, delivery)
        raise Unavailable("This delivery is being sent just now. Try again in a moment.")

    def test(self, client_id: str, webhook_id: str) -> Delivery:
        """Send a `webhook.test` event."""
        endpoint, _ = self.one(client_id, webhook_id)
        if endpoint.off:
            raise IS_OFF
        now = self._now_ms()
        made = self._book.announce(
            Delivery(
                delivery_id=delivery_id(now, secrets.token_hex(10)),
                client_id=client_id,
                lane=webhook_id,
                event=TEST_EVENT,
                created_at=now,
                asked_at=now,
                next_attempt_at=now,
            )
        )
        self._ring(client_id, webhook_id, made.delivery_id)
        return made

    def _health(self, endpoint: Endpoint) -> Health:
        lane = self._book.lane(endpoint.client_id, endpoint.webhook_id)
        return lane.health if lane else Health()

    def _delivery(self, client_id: str, webhook_id: str, delivery: str) -> Delivery:
        is_one = re.fullmatch(WEBHOOK_PATTERN, webhook_id) and re.fullmatch(ID_PATTERN, delivery)
        there = self._book.delivery(client_id, webhook_id, delivery) if is_one else None
        if there is None:
            raise NO_DELIVERY
        return there

    def _ring(self, client_id: str, lane: str, delivery: str = "") -> None:
        self._book.ring(client_id, lane, self._now_ms())
        self._posts.ring(LaneHint(client_id=client_id, lane=lane, delivery_id=delivery))


def _is_registered(webhook_id: str) -> bool:
    return webhook_id != OF_JOBS and re.fullmatch(WEBHOOK_PATTERN, webhook_id) is not None


def _in_order(events: tuple[EventType, ...]) -> tuple[EventType, ...]:
    return tuple(dict.fromkeys(events))
