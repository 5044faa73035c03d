"""
Tell others what this worker does, as events on a bus, without making any job wait.

Events wait in memory and go ten at a time on one thread. Of a job's progress only the newest is kept, and it is told at
most every 2 s. A bus that is away costs a counted warning a minute and nothing else: what cannot be sent is dropped.
No prompt's text, no link and no key is ever in an event. `version` of a job never goes down.
"""

from __future__ import annotations

import threading
from collections import deque
from datetime import UTC, datetime
from typing import Final

import structlog

from chalicelib.contract.errors import Unavailable
from chalicelib.contract.job import Job, Progress
from worker.clock import Clock
from worker.ports import Bus, Event

BATCH: Final = 10
GATHER_S: Final = 1.0
"""How long an event waits for company."""
PROGRESS_S: Final = 2.0
WAITING_MOST: Final = 1000
WARN_S: Final = 60.0
ENDS: Final = frozenset({"Job Completed", "Job Failed", "Job Cancelled"})
"""After one of these nothing more is told of a job."""

log = structlog.get_logger()


class Monitor:
    """Gather events and send them. All threads share one. *bus* None: nobody is told."""

    def __init__(self, bus: Bus | None, clock: Clock, worker: str) -> None:
        self._bus = bus
        self._clock = clock
        self._worker = worker
        self._waiting: deque[Event] = deque()
        self._moves: dict[str, Event] = {}
        """The newest progress of each job that is not told yet."""
        self._told_at: dict[str, float] = {}
        self._warned_at: float | None = None
        self._lock = threading.Lock()
        self._bell = threading.Event()
        self._closing = threading.Event()
        self._ended = False
        self.dropped = 0
        """How many events nobody will hear of."""

    def started(self) -> None:
        """Say that this worker has begun."""
        self._add(Event("Monitor Started", self._about()))

    def stopped(self) -> None:
        """Say that this worker ends."""
        self._add(Event("Monitor Stopped", self._about()))

    def queue(self, server: str, length: int) -> None:
        """Say how many prompts run or wait on a server."""
        self._add(Event("Queue Status Updated", self._about(server=server, queue_remaining=length)))

    def job(self, kind: str, job: Job, prompt_id: str | None, *, version: int | None = None, **facts: object) -> None:
        """Say that something happened to *job*; its progress that is not told yet is told before."""
        about = self._about_job(job, prompt_id, version or job.version)
        with self._lock:
            move = self._moves.pop(job.job_id, None)
            if kind in ENDS:
                self._told_at.pop(job.job_id, None)
        if move is not None and kind not in ENDS:
            self._add(move)
        self._add(Event(kind, {**about, **facts}))

    def progress(self, job: Job, prompt_id: str | None, progress: Progress) -> None:
        """Say how far *job* is; a newer one replaces it until it is told."""
        if self._bus is None:
            return
        about = self._about_job(job, prompt_id, job.version) | {
            "percentage": round(progress.fraction * 100, 1),
            "current_node": progress.node,
            "node_class": progress.node_class,
            "progress": progress.step,
            "max_progress": progress.steps,
            "nodes_done": progress.nodes_done,
            "nodes_total": progress.nodes_total,
        }
        kind = "Progress Update"
        if progress.node is not None:
            kind = "Node Executing" if progress.step is None else "Node Progress Update"
        with self._lock:
            self._moves[job.job_id] = Event(kind, about)
        self._bell.set()

    def run(self) -> None:
        """Send what waits until `close`, then what is left, once."""
        while not self._ended:
            self._clock.wait(self._bell, GATHER_S * 10)
            self._bell.clear()
            if not self._ended:
                self._clock.wait(self._closing, GATHER_S)
            self.flush()
        self.flush()

    def close(self) -> None:
        """End `run`."""
        self._ended = True
        self._closing.set()
        self._bell.set()

    def flush(self) -> None:
        """Send all that is due."""
        while batch := self._due():
            self._send(batch)

    def _due(self) -> list[Event]:
        now = self._clock.monotonic()
        with self._lock:
            for job_id, move in list(self._moves.items()):
                if now - self._told_at.get(job_id, -PROGRESS_S) >= PROGRESS_S:
                    self._told_at[job_id] = now
                    self._waiting.append(move)
                    del self._moves[job_id]
            return [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]

    def _send(self, events: list[Event]) -> None:
        if self._bus is None:
            return
        try:
            lost = self._bus.send(events)
            reason = "it refused some"
        except Unavailable as error:
            lost, reason = len(events), error.message
        if not lost:
            return
        self.dropped += lost
        now = self._clock.monotonic()
        if self._warned_at is None or now - self._warned_at >= WARN_S:
            self._warned_at = now
            log.warning("events were not told", action="events", files=self.dropped, reason=reason)

    def _add(self, event: Event) -> None:
        if self._bus is None:
            return
        with self._lock:
            if len(self._waiting) >= WAITING_MOST:
                self._waiting.popleft()
                self.dropped += 1
            self._waiting.append(event)
        self._bell.set()

    def _about(self, **facts: object) -> dict[str, object]:
        at = datetime.fromtimestamp(self._clock.now_ms() / 1000, UTC)
        return {"timestamp": at.isoformat(timespec="milliseconds"), "worker": self._worker, **facts}

    def _about_job(self, job: Job, prompt_id: str | None, version: int) -> dict[str, object]:
        return self._about(
            job_id=job.job_id,
            queue_id=job.job_id,
            prompt_id=prompt_id,
            attempt=job.attempt,
            version=version,
            client_id=job.client_id,
            workflow_id=job.workflow_id,
        )
