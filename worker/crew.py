"""
Know what the other workers can render, and let them know what this one can.

A job that needs a model or a node that is not here is handed back when a live worker has it, and fails when none does.
Every worker puts a card into the workers table once a minute; a card that is older than some minutes counts no more.
"""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import structlog

from chalicelib.contract.card import ServerCard
from chalicelib.contract.errors import Unavailable
from chalicelib.contract.kit import Kit
from worker.clock import Clock
from worker.kit import Card, Post, lacks_of
from worker.ports import Fleet
from worker.server import Server

ANNOUNCE_S: Final = 60.0
FRESH_S: Final = 15.0
"""How long what was read of the others is believed."""
TURNED_AWAY_S: Final = 60.0
"""How long a job that this worker cannot render is left to the others unseen."""
TIMES_MOST: Final = 5
REMEMBERED_S: Final = 3600.0
ASK_AGAIN: Final = 5
"""Every so many announcements the catalogues are read anew: models are copied and removed."""

log = structlog.get_logger()


class Crew:
    """Speak for this worker to the fleet. All hands share one. *fleet* None: there is no table, and nobody else."""

    def __init__(
        self,
        fleet: Fleet | None,
        servers: Sequence[Server],
        clock: Clock,
        name: str,
        *,
        on_queue: Callable[[str, int], None] = lambda _url, _length: None,
        jobs_done: Callable[[], int] = lambda: 0,
    ) -> None:
        self._jobs_done = jobs_done
        self._started_at = clock.now_ms()
        self._on_queue = on_queue
        self._fleet = fleet
        self._servers = servers
        self._clock = clock
        self._name = name
        self._kits: Sequence[Kit] = ()
        self._read_at: float | None = None
        self._turned_away: dict[str, tuple[float, int]] = {}
        """Until when (monotonic) a job is left to the others, and how often it was."""
        self._lock = threading.Lock()
        self._ended = threading.Event()

    def kits(self) -> Sequence[Kit]:
        """List what other live workers can render. `Unavailable` when the table cannot be reached."""
        if self._fleet is None:
            return ()
        with self._lock:
            now = self._clock.monotonic()
            if self._read_at is None or now - self._read_at > FRESH_S:
                cards = self._fleet.others(self._clock.now_ms())
                self._kits = [kit for card in cards if card.worker != self._name for kit in card.kits]
                self._read_at = now
            return self._kits

    def has_one_for(self, graph: Mapping[str, Any]) -> bool:
        """Say whether another live worker has all that *graph* needs."""
        return any(not lacks_of(kit, graph) for kit in self.kits())

    def all_kits(self) -> list[Kit]:
        """List every kit that is known, this worker's own first: for the nearest names."""
        return [server.kit for server in self._servers if server.kit is not None] + list(self.kits())

    def turn_away(self, job_id: str) -> bool:
        """
        Remember that this worker cannot render a job: its message is not claimed again for a while.

        False: it has come back too often. A card may promise what its worker does not keep.
        """
        now = self._clock.monotonic()
        with self._lock:
            kept = self._turned_away.items()
            self._turned_away = {each: told for each, told in kept if told[0] > now - REMEMBERED_S}
            times = self._turned_away.get(job_id, (0.0, 0))[1] + 1
            self._turned_away[job_id] = (now + TURNED_AWAY_S, times)
        return times <= TIMES_MOST

    def is_turned_away(self, job_id: str) -> bool:
        with self._lock:
            return self._turned_away.get(job_id, (0.0, 0))[0] > self._clock.monotonic()

    def run(self) -> None:
        """Put the card on the table once a minute until `close`; then take it away."""
        for turn in itertools.count():
            if self._ended.is_set():
                break
            self._announce(afresh=turn % ASK_AGAIN == 0)
            self._clock.wait(self._ended, ANNOUNCE_S)
        if self._fleet is not None:
            try:
                self._fleet.withdraw(self._name)
            except Unavailable as error:
                log.info("this worker's card was left to expire", action="crew", reason=error.message)

    def close(self) -> None:
        """End `run`."""
        self._ended.set()

    def _announce(self, *, afresh: bool) -> None:
        """Read the catalogues, so that they are warm for the first job, and show the card."""
        posts = [self._post(server, afresh=afresh) for server in self._servers]
        if self._fleet is None:
            return
        card = Card.of(
            self._name, self._clock.now_ms(), posts, started_at=self._started_at, jobs_done=self._jobs_done()
        )
        try:
            self._fleet.announce(card)
        except Unavailable as error:
            log.warning("this worker's card was not shown", action="crew", reason=error.message)

    def _post(self, server: Server, *, afresh: bool) -> Post:
        """Describe a server as it is now; one that does not answer has no kit."""
        pace, gaps_ms = server.pace, sorted(1000 * gap_s for gap_s in server.pace.gaps_s())
        here = ServerCard(
            name=server.url,
            slots=pace.slots,
            running=pace.running(),
            idle_p50_ms=_quantile(gaps_ms, 0.5),
            idle_p90_ms=_quantile(gaps_ms, 0.9),
            closed=server.health.said or "",
        )
        try:
            kit = server.kit if server.kit is not None and not afresh else server.ask_kit()
            length, facts = server.comfy.queue_length(), server.comfy.facts()
        except Unavailable as error:
            return Post(here.model_copy(update={"closed": here.closed or error.message}), None)
        self._on_queue(server.url, length)
        told = {
            "version": facts.version,
            "device": facts.device,
            "queue": length,
            "vram_total_bytes": facts.vram_total_bytes,
            "vram_free_bytes": facts.vram_free_bytes,
        }
        return Post(here.model_copy(update=told), kit)


def _quantile(values: Sequence[float], share: float) -> float | None:
    """Give the value that *share* of the sorted *values* does not exceed; None of none."""
    return round(values[math.ceil(share * len(values)) - 1], 1) if values else None
