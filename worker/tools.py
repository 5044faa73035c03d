"""Gather what one slot works with: its own connections, and what all slots share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from chalicelib.contract.ports import Ledger
from worker.clock import Clock
from worker.health import Health
from worker.lease import Keeper
from worker.ports import Blobs, Comfy, Doorbell, Hints, Inbox
from worker.postman import Postman
from worker.settings import Settings
from worker.templates import Templates


@dataclass(frozen=True)
class Tools:
    """Hold a slot's edges (ledger, inbox, hints, blobs: one connection each) and the worker's common parts."""

    ledger: Ledger
    inbox: Inbox
    hints: Hints
    blobs: Blobs
    comfy: Comfy
    doorbell: Doorbell
    health: Health
    keeper: Keeper
    postman: Postman
    templates: Templates
    settings: Settings
    clock: Clock
    draw: Callable[[], float]
    """Give a random number from 0 to 1, for backoffs."""
