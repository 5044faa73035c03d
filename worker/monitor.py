"""
Tell others what this worker does, as events on a bus, without making any job wait.

- Events wait in memory and go ten at a time on one thread, once a second at most.
- Of a job's progress only the newest is kept, and it is told at most every 2 s.
- Of one job the order is kept: `version` never goes down, and nothing is told after its end, which completion tells.
- A bus that is away costs a counted warning a minute and nothing else: what cannot be sent is dropped. When too much
  waits, progress is dropped first.
- Only the fields named here get through: no prompt's text, no link and no key can slip into an event by accident.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import structlog

from chalicelib.contract.errors import Unavailable
from chalicelib.contract.job import Job, Progress
from worker.clock import Clock
from worker.kit import bare_url
from worker.ports import Bus, Event

BATCH: Final = 10
GATHER_S: Final = 1.0
"""How long an event waits for company."""
PROGRESS_S: Final = 2.0
IDLE_S: Final = 60.0
CLOSE_S: Final = 1.0
"""How long the last events may take when the worker ends."""
WAITING_MOST: Final = 1000
JOBS_MOST: Final = 1000
"""Of how many jobs, the latest, it is remembered what was told."""
TEXT_MOST: Final = 200
WARN_S: Final = 60.0
MOVES: Final = frozenset({"Progress Update", "Node Progress Update", "Node Executing"})
FIELDS: Final = frozenset(
    {"timestamp", "worker", "job_id", "queue_id", "prompt_id", "attempt", "version", "client_id", "workflow_id"}
    | {"percentage", "current_node", "node_class", "progress", "max_progress", "nodes_done", "nodes_total"}
    | {"server", "queue_remaining", "files"}
)

log = structlog.get_logger()


@dataclass
class _Told:
    """Remember what was told of a job: the highest version, and when its progress went out (monotonic seconds)."""

    version: int = 0
    moved_at: float = float("-inf")


class Monitor:
    """Gather events and send them. All threads share one. *bus* None: nobody is told."""

    def __init__(self, bus: Bus | None, clock: Clock, worker: str) -> None:
        self._bus = bus
        self._clock = clock
        self._worker = worker
        self._waiting: deque[Event] = deque()
        self._moves: dict[str, Event] = {}
        """The newest progress of each job that is not told yet."""
        self._told: OrderedDict[str, _Told] = OrderedDict()
        self._warned_at: float | None = None
        self._lock = threading.Lock()
        self._bell = threading.Event()
        self._closing = threading.Event()
        self.dropped = 0
        """How many events nobody will hear of."""

    def started(self) -> None:
        """Say that this worker has begun."""
        self._tell("Monitor Started", {})

    def stopped(self) -> None:
        """Say that this worker ends."""
        self._tell("Monitor Stopped", {})

    def queue(self, server: str, length: int) -> None:
        """Say how many prompts run or wait on a server."""
        self._tell("Queue Status Updated", {"server": bare_url(server), "queue_remaining": length})

    def job(self, kind: str, job: Job, prompt_id: str | None, *, version: int | None = None, **facts: object) -> None:
        """Say that something happened to *job*; its progress that is due is told before."""
        if self._bus is None:
            return
        version = version or job.version
        event = self._event(kind, {**_about(job, prompt_id, version), **facts})
        with self._lock:
            told = self._told_of(job.job_id)
            if version < told.version:
                return
            move = self._moves.pop(job.job_id, None)
            if move is not None and self._left_s(told) <= 0:
                told.moved_at = self._clock.monotonic()
                self._put(move)
            told.version = version
            self._put(event)
        self._bell.set()

    def ended(self, job: Job, version: int) -> None:
        """Tell nothing more of *job*: how it ended is completion's to tell, and *version* is its last."""
        with self._lock:
            self._moves.pop(job.job_id, None)
            told = self._told_of(job.job_id)
            told.version = max(told.version, version)

    def progress(self, job: Job, prompt_id: str | None, progress: Progress) -> None:
        """Say how far *job* is; a newer one replaces it until it is told."""
        if self._bus is None:
            return
        about = _about(job, prompt_id, job.version) | {
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
        event = self._event(kind, about)
        with self._lock:
            told = self._told_of(job.job_id)
            if job.version < told.version:
                return
            told.version = job.version
            self._moves[job.job_id] = event
        self._bell.set()

    def run(self) -> None:
        """Send what waits until `close`, then what is left, as far as a second allows."""
        while not self._closing.is_set():
            self._clock.wait(self._bell, self._idle_s())
            self._bell.clear()
            self._clock.wait(self._closing, GATHER_S)
            if not self._closing.is_set():
                self.flush()
        self._send_last()

    def close(self) -> None:
        """End `run`."""
        self._closing.set()
        self._bell.set()

    def flush(self) -> None:
        """Send all that is due; a bus that does not answer is left in peace until the next time."""
        while batch := self._due():
            if not self._send(batch):
                return

    def _send_last(self) -> None:
        until = self._clock.monotonic() + CLOSE_S
        while self._clock.monotonic() < until and (batch := self._due()):
            if not self._send(batch):
                break
        with self._lock:
            self.dropped += len(self._waiting)
            self._waiting.clear()

    def _idle_s(self) -> float:
        """Say how long until something is due."""
        with self._lock:
            if self._waiting:
                return 0.0
            return min((self._left_s(self._told_of(job_id)) for job_id in self._moves), default=IDLE_S)

    def _due(self) -> list[Event]:
        """Take the next batch; with the lock held nobody's news comes between a job's progress and its next turn."""
        with self._lock:
            for job_id, move in list(self._moves.items()):
                told = self._told_of(job_id)
                if self._left_s(told) <= 0:
                    told.moved_at = self._clock.monotonic()
                    del self._moves[job_id]
                    self._put(move)
            return [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]

    def _send(self, events: list[Event]) -> bool:
        """Send a batch; False: the bus cannot be reached."""
        if self._bus is None:
            return False
        is_there = True
        try:
            lost = self._bus.send(events)
            reason = "The event bus refused some."
        except Unavailable as error:
            lost, reason, is_there = len(events), error.message, False
        if lost:
            with self._lock:
                self.dropped += lost
            now = self._clock.monotonic()
            if self._warned_at is None or now - self._warned_at >= WARN_S:
                self._warned_at = now
                log.warning("events were not told", action="events", files=self.dropped, reason=reason)
        return is_there

    def _tell(self, kind: str, about: Mapping[str, object]) -> None:
        if self._bus is None:
            return
        event = self._event(kind, about)
        with self._lock:
            self._put(event)
        self._bell.set()

    def _put(self, event: Event) -> None:
        """Let *event* wait; when too many do, the oldest progress goes, or *event* if it is one, else the oldest."""
        if len(self._waiting) >= WAITING_MOST:
            self.dropped += 1
            place = next((place for place, waiting in enumerate(self._waiting) if waiting.kind in MOVES), None)
            if place is None and event.kind in MOVES:
                return
            del self._waiting[place or 0]
        self._waiting.append(event)

    def _told_of(self, job_id: str) -> _Told:
        """Recall what was told of a job. A job whose progress waits is not forgotten: its bound is the hands."""
        told = self._told.setdefault(job_id, _Told())
        self._told.move_to_end(job_id)
        if len(self._told) > JOBS_MOST:
            self._told.popitem(last=False)
        return told

    def _left_s(self, told: _Told) -> float:
        """Say how long a job's next progress must wait."""
        return max(0.0, told.moved_at + PROGRESS_S - self._clock.monotonic())

    def _event(self, kind: str, about: Mapping[str, object]) -> Event:
        at = datetime.fromtimestamp(self._clock.now_ms() / 1000, UTC).isoformat(timespec="milliseconds")
        detail = {"timestamp": at, "worker": self._worker, **about}
        return Event(kind, {name: _clean(value) for name, value in detail.items() if name in FIELDS})


def _about(job: Job, prompt_id: str | None, version: int) -> dict[str, object]:
    return {
        "job_id": job.job_id,
        "queue_id": job.job_id,
        "prompt_id": prompt_id,
        "attempt": job.attempt,
        "version": version,
        "client_id": job.client_id,
        "workflow_id": job.workflow_id,
    }


def _clean(value: object) -> object:
    """Cut texts, and make them UTF-8: node names are a stranger's, and half a character would end the thread."""
    if value is None or isinstance(value, int | float):
        return value
    return str(value)[:TEXT_MOST].encode("utf-8", "replace").decode()
