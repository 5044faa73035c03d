"""
Say how a worker is: the words of its card that are no kit. Workers write them once a minute, the API shows them.

Every field has a default: a card may be of an older worker, and a newer one may say more.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from chalicelib.contract.kit import LIVE_MS, Kit

LATE_MS: Final = 90_000
"""A card that is older should have been followed by another: workers speak once a minute."""
SHOWN_MS: Final = 3_600_000
"""How long a worker that fell silent is still shown."""


class ServerCard(BaseModel):
    """Describe one ComfyUI: what it is, what it does, and what its last runs were like."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str = ""
    """Its address, without login."""
    version: str = "unknown"
    device: str = "unknown"
    """As ComfyUI names it: "cuda:0 NVIDIA GeForce RTX 4090 : cudaMallocAsync"."""
    queue: int = 0
    """Prompts in its queue, running ones counted."""
    vram_total_bytes: int | None = None
    vram_free_bytes: int | None = None
    slots: int = 1
    """How many jobs are taken for it at once."""
    running: int = 0
    """How many of them are being rendered."""
    idle_p50_ms: float | None = None
    """How long its GPU idled between two runs when the next was in hand: the median of the last ones."""
    idle_p90_ms: float | None = None
    closed: str = ""
    """Why no job is taken for it now; empty: jobs are taken."""


_SERVERS: Final = TypeAdapter(list[ServerCard])


def written(servers: Iterable[ServerCard]) -> str:
    """Write servers as the table's attribute."""
    return json.dumps([server.model_dump(mode="json") for server in servers])


def read(text: str) -> tuple[ServerCard, ...]:
    """Read what `written` gave; raise ValueError when it is not that."""
    try:
        return tuple(_SERVERS.validate_json(text))
    except ValidationError as error:
        raise ValueError("no servers of ours") from error


@dataclass(frozen=True)
class Seen:
    """Hold a card as it was read: of which worker it is, and when it said so (ms since the epoch)."""

    worker: str
    seen_at: int
    servers: tuple[ServerCard, ...]
    kits: tuple[Kit, ...] = ()
    started_at: int = 0
    """0: an older worker, which does not say."""
    jobs_done: int = 0

    def is_alive(self, now: int) -> bool:
        """Say whether it spoke within the last minutes."""
        return now - self.seen_at <= LIVE_MS

    @property
    def open_servers(self) -> int:
        """Count the servers that take jobs."""
        return sum(not server.closed for server in self.servers)
