"""Say what a book of deliveries does, for those who are handed one. `chalicelib.delivery_book` is it in DynamoDB."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from chalicelib.contract.deliveries import Delivery, Endpoint, Health, Lane, Move


class DeliveryBook(Protocol):
    """Keep endpoints, lanes and deliveries. `Unavailable` when the table cannot be reached."""

    def endpoints(self, client_id: str) -> list[Endpoint]:
        """List a client's endpoints, the oldest first; strongly consistent."""

    def add_endpoint(self, endpoint: Endpoint) -> None:
        """Put a new endpoint."""

    def change_endpoint(self, before: Endpoint, after: Endpoint, *, heal: bool = False) -> bool:
        """Replace *before* by *after*, and forget how it failed if it is to *heal*. False: it is gone, or another."""

    def remove_endpoint(self, client_id: str, webhook_id: str) -> bool:
        """Forget an endpoint; False when there is none."""

    def lane(self, client_id: str, name: str) -> Lane | None:
        """Read a lane, strongly consistent. None: its endpoint is gone, or it was never rung for."""

    def ring(self, client_id: str, name: str, now: int, due_at: int | None = None) -> None:
        """Have a lane looked at, at *due_at* (None: now). Of an endpoint that is gone nothing is noted."""

    def note_health(self, lane: Lane, health: Health) -> None:
        """Note how deliveries go."""

    def rest(self, lane: Lane, due_at: int | None) -> None:
        """Say when the lane is to be looked at again (None: when it is rung for), unless it was rung for meanwhile."""

    def due(self, now: int, limit: int) -> list[tuple[str, str]]:
        """List client and name of the lanes that are to be looked at (may be late by a moment)."""

    def announce(self, delivery: Delivery) -> Delivery:
        """Put *delivery* if its id is new; answer the one that is there then."""

    def move(self, move: Move, before: Delivery, after: Delivery) -> bool:
        """Replace *before* by *after*; False when it has moved meanwhile."""

    def delivery(self, client_id: str, webhook_id: str, delivery_id: str) -> Delivery | None:
        """Read a delivery, strongly consistent."""

    def deliveries(self, client_id: str, webhook_id: str, limit: int) -> list[Delivery]:
        """List an endpoint's deliveries, the newest first."""

    def waiting(self, client_id: str, lane: str, limit: int) -> Sequence[tuple[str, int]]:
        """List id and next attempt of a lane's waiting deliveries, those due first (may be late by a moment)."""
