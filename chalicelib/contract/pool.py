"""
Say what a pool of rented GPU machines is to the autoscaler, whoever rents them out.

A machine's worker is called by the machine's id (WORKER_NAME), or by `id-…` where several run on it: so the worker's
card tells whether the machine works.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class MachineState(StrEnum):
    """Say where a machine is between being ordered and being gone. It costs from STARTING on."""

    ORDERED = "ordered"
    """There is none yet, and there may never be: the renter has taken the order and no more."""
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"


@dataclass(frozen=True)
class Machine:
    """Hold one machine. `started_at` (ms since the epoch) is when it began to cost; `hour_price` is in US dollars."""

    id: str
    state: MachineState
    started_at: int
    hour_price: float | None = None
    """None: the renter does not say; the operator's own figure is taken."""


class Pool(Protocol):
    """Rent machines and give them back."""

    def machines(self) -> list[Machine]:
        """List the pool's own machines that are not gone. Raises `Unavailable`."""

    def start(self, count: int) -> int:
        """
        Order *count* more; answer how many were granted (fewer when there is no stock).

        Raises `Unavailable` (ask again later) and `Rejected` (the order itself is wrong).
        """

    def stop(self, ids: Collection[str]) -> None:
        """Give machines back; one that is gone already is no fault. Raises `Unavailable`."""
