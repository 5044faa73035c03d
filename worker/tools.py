"""Gather what one hand works with: its own connections, its ComfyUI, and what all hands share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chalicelib.contract.ports import Ledger
from worker.clock import Clock
from worker.crew import Crew
from worker.health import Health
from worker.lease import Keeper
from worker.ports import Blobs, Comfy, Doorbell, Hints, Inbox
from worker.postman import Postman
from worker.server import Server
from worker.settings import Settings
from worker.templates import Templates

if TYPE_CHECKING:
    from worker.metrics import Metrics
    from worker.monitor import Monitor
    from worker.pantry import Pantry


@dataclass(frozen=True)
class Tools:
    """Hold a hand's edges (ledger, inbox, hints, blobs: connections of its own), its server and the common parts."""

    ledger: Ledger
    inbox: Inbox
    hints: Hints
    blobs: Blobs
    server: Server
    servers: Sequence[Server]
    """All of this worker's servers, *server* among them."""
    crew: Crew
    keeper: Keeper
    postman: Postman
    monitor: Monitor
    metrics: Metrics
    pantry: Pantry | None
    templates: Templates
    settings: Settings
    clock: Clock
    draw: Callable[[], float]
    """Give a random number from 0 to 1, for backoffs."""

    @property
    def comfy(self) -> Comfy:
        return self.server.comfy

    @property
    def doorbell(self) -> Doorbell:
        return self.server.doorbell

    @property
    def health(self) -> Health:
        return self.server.health
