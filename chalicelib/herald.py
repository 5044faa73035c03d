"""
Announce what became of jobs: a delivery for every receiver that is to be told, and an event on the bus.

A job's news is announced before its row, or the job itself, counts as shown: whoever dies in between leaves the job in
the sweeper's sight, and all is announced again. A delivery's id is derived from what it tells: announcing twice makes
one. The bus is told once a container and version, and nothing waits for it.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol

from chalicelib.contract.counts import NOWHERE, Counts, Metric
from chalicelib.contract.deliveries import (
    EVENT_OF,
    Delivery,
    DeliveryState,
    Endpoint,
    LaneHint,
    delivery_id_of,
    lane_of_url,
)
from chalicelib.contract.delivery_ports import DeliveryBook
from chalicelib.contract.errors import Unavailable
from chalicelib.contract.job import SHOWN_BEFORE, Job
from chalicelib.contract.states import TERMINAL

log = logging.getLogger(__name__)

_TOLD_MOST: Final = 2_000


class Posts(Protocol):
    """Send hints to the delivering function (`chalicelib.queues.DeliveryQueue`)."""

    def ring(self, hint: LaneHint, sweep_minute: int | None = None) -> None:
        """Have a lane looked at. Nothing is raised: the sweeper asks again."""


class Bus(Protocol):
    """Tell others (`chalicelib.bus.EventBus`)."""

    def tell_ended(self, jobs: Sequence[Job]) -> None:
        """Say how jobs ended. Nothing is raised."""


class Herald:
    """Announce the news of jobs."""

    def __init__(
        self,
        book: DeliveryBook,
        posts: Posts,
        bus: Bus,
        now_ms: Callable[[], int],
        counts: Counts = NOWHERE,
    ) -> None:
        self._book = book
        self._posts = posts
        self._bus = bus
        self._now_ms = now_ms
        self._counts = counts
        self._told: OrderedDict[tuple[str, int], None] = OrderedDict()

    def announce(self, jobs: Iterable[Job]) -> dict[str, float | None]:
        """
        Announce the news of those *jobs* that were not shown yet.

        Answer the ids of those whose news could not be announced now, and in how many seconds to try again (None: after
        a while): they must not be marked as shown.
        """
        later: dict[str, float | None] = {}
        endpoints: dict[str, list[Endpoint]] = {}
        news = [job for job in jobs if not job.is_shown and job.synced_version != SHOWN_BEFORE]
        for job in news:
            try:
                if job.state in EVENT_OF:
                    if job.client_id not in endpoints:
                        endpoints[job.client_id] = self._book.endpoints(job.client_id)
                    self._announce(job, endpoints[job.client_id])
            except Unavailable as reason:
                log.warning("news later", extra={"job_id": job.job_id, "reason": reason.message})
                later[job.job_id] = reason.retry_in_s
            except Exception:
                # A fault of ours stays this job's own; its message ends in the dead letters.
                log.exception("news not announced", extra={"action": "failed", "job_id": job.job_id})
                self._counts.add(Metric.COMPLETION_FAULTS)
                later[job.job_id] = None
        self._tell([job for job in news if job.state in TERMINAL and job.job_id not in later])
        return later

    def _announce(self, job: Job, endpoints: Sequence[Endpoint]) -> None:
        event = EVENT_OF[job.state]
        at = job.finished_at or job.started_at or 0
        lanes = [
            endpoint.webhook_id
            for endpoint in endpoints
            if event in endpoint.events and not endpoint.off and endpoint.created_at <= at
        ]
        if job.webhook_url and job.state in TERMINAL:
            lanes.append(lane_of_url(job.webhook_url))
        for lane in lanes:
            now = self._now_ms()
            wanted = Delivery(
                delivery_id=delivery_id_of(lane, event, job.job_id, job.created_at),
                client_id=job.client_id,
                lane=lane,
                event=event,
                job_id=job.job_id,
                created_at=now,
                asked_at=now,
                next_attempt_at=now,
            )
            there = self._book.announce(wanted)
            if there.state is DeliveryState.WAITING and not there.attempts:
                self._book.ring(job.client_id, lane, now)
                self._posts.ring(LaneHint(client_id=job.client_id, lane=lane, delivery_id=there.delivery_id))

    def _tell(self, ended: Sequence[Job]) -> None:
        """Tell the bus what it was not told: a job whose row cannot be written comes here again and again."""
        new = [job for job in ended if (job.job_id, job.version) not in self._told]
        if not new:
            return
        self._bus.tell_ended(new)
        for job in new:
            self._told[job.job_id, job.version] = None
        while len(self._told) > _TOLD_MOST:
            self._told.popitem(last=False)
