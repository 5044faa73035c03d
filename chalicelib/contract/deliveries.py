"""
Describe outgoing webhooks: endpoints, deliveries and the moves that a delivery can make.

A *lane* is what deliveries to one receiver stand in: a client's registered endpoint, or one host that jobs of this
client name in their own `webhook_url`. One lane is worked through by one hand at a time, and its health is its own:
a dead receiver is asked now and then by a single delivery, and nobody else waits for it.

`MOVES` is compiled into DynamoDB conditions by `chalicelib.delivery_book` and evaluated by the tests' twin; it is drawn
in docs/webhooks.md (a test compares it). All times are milliseconds since the epoch.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal
from urllib.parse import urlsplit

from pydantic import Field

from chalicelib.contract.job import Frozen
from chalicelib.contract.states import State

ENDPOINTS_MOST: Final = 10
"""Endpoints that a client may register."""
SCHEDULE_S: Final = (0, 5, 300, 1_800, 7_200, 18_000, 36_000, 36_000)
"""How long after the one before each attempt is made."""
OFF_AFTER_MS: Final = 5 * 24 * 3600 * 1000
"""An endpoint that has failed for so long is switched off, and a delivery that has waited for so long is given up."""
PAUSE_MS: Final = 24 * 3600 * 1000
"""Failures further apart than this are no one failure that lasts."""
KEPT_MS: Final = 30 * 24 * 3600 * 1000
"""How long a delivery is kept, and can be sent again."""
OF_JOBS: Final = "jobs"
"""What stands for an endpoint's id where jobs name their own address."""

EventType = Literal["job.started", "job.succeeded", "job.failed", "job.canceled"]
ENDS: Final[tuple[EventType, ...]] = ("job.succeeded", "job.failed", "job.canceled")
TEST_EVENT: Final = "webhook.test"
EVENT_OF: Final[dict[State, EventType]] = {
    State.RUNNING: "job.started",
    State.SUCCEEDED: "job.succeeded",
    State.FAILED: "job.failed",
    State.CANCELED: "job.canceled",
}


class Endpoint(Frozen):
    """Name an address that is told of all jobs of a client."""

    webhook_id: str
    client_id: str
    url: str
    events: tuple[EventType, ...] = ENDS
    description: str = ""
    off: Literal["", "switched_off", "gone", "failing"] = ""
    """Why it is switched off: by its owner, by its own answer 410, or by five days of failure. Empty: it is not."""
    created_at: int


class Health(Frozen):
    """Say how deliveries to one receiver have gone lately."""

    failures: int = 0
    """Attempts that failed since the last one that did not."""
    failing_since: int | None = None
    last_failed_at: int | None = None
    probe_at: int = 0
    """Until then nobody asks a receiver that failed again and again."""


class Lane(Frozen):
    """Hold what a hand needs to work through the deliveries to one receiver."""

    client_id: str
    name: str
    """An endpoint's id, or `jobs-<hash of the host>`."""
    health: Health = Health()
    endpoint: Endpoint | None = None
    bell: int = 0
    """How often it was rung for: whoever saw another number does not put the lane to rest."""
    rung_at: int = 0
    due_at: int | None = None

    @property
    def webhook_id(self) -> str:
        """Name the endpoint under which the lane's deliveries are listed."""
        return webhook_of(self.name)


class Attempt(Frozen):
    """Note one attempt: the HTTP status (None: there was no answer), how long it took, and how the answer began."""

    at: int
    status: int | None = None
    duration_ms: int = 0
    answer: str = ""
    error: str = ""
    """Why it failed, as a sentence; empty: it did not."""


class DeliveryState(StrEnum):
    """Name where a delivery stands."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    FAILED = "failed"


class Delivery(Frozen):
    """Hold one event on its way to one receiver. Its id is the `webhook-id`, the same at every attempt."""

    delivery_id: str
    client_id: str
    lane: str
    event: str
    job_id: str | None = None
    """None: a test."""
    state: DeliveryState = DeliveryState.WAITING
    turn: int = 1
    """Grows with each move: it fences the next one."""
    tries: int = 0
    """Attempts of the schedule that is under way."""
    attempts: tuple[Attempt, ...] = ()
    """All that were made, the oldest first; of very many the latest."""
    created_at: int
    asked_at: int
    """When the schedule began: at the event, or when somebody asked for the delivery once more."""
    next_attempt_at: int | None = None
    ended_at: int | None = None

    @property
    def webhook_id(self) -> str:
        """Name the endpoint under which it is listed."""
        return webhook_of(self.lane)


class Move(StrEnum):
    """Name one conditional write of a delivery."""

    ANNOUNCE = "announce"
    RETRY = "retry"
    DELIVER = "deliver"
    GIVE_UP = "give up"
    REDELIVER = "redeliver"


@dataclass(frozen=True)
class DeliveryMove:
    """Describe one move: who makes it, from where (nowhere: the id is new) and to where. The turn is the one read."""

    move: Move
    who: str
    sources: frozenset[DeliveryState]
    target: DeliveryState


_WAITING: Final = frozenset({DeliveryState.WAITING})
MOVES: Final[dict[Move, DeliveryMove]] = {
    each.move: each
    for each in (
        DeliveryMove(Move.ANNOUNCE, "completion", frozenset(), DeliveryState.WAITING),
        DeliveryMove(Move.RETRY, "delivery", _WAITING, DeliveryState.WAITING),
        DeliveryMove(Move.DELIVER, "delivery", _WAITING, DeliveryState.DELIVERED),
        DeliveryMove(Move.GIVE_UP, "delivery", _WAITING, DeliveryState.FAILED),
        DeliveryMove(Move.REDELIVER, "API", frozenset(DeliveryState), DeliveryState.WAITING),
    )
}


def delivery_diagram() -> str:
    """Draw the table as a Mermaid state diagram, one edge a move."""
    lines = ["stateDiagram-v2"]
    for each in MOVES.values():
        if not each.sources:
            lines.append(f"    [*] --> {each.target}: {each.move}")
        lines += [f"    {source} --> {each.target}: {each.move}" for source in sorted(each.sources)]
    return "\n".join(lines) + "\n"


def webhook_of(lane: str) -> str:
    """Name the endpoint of a lane."""
    return OF_JOBS if lane.startswith(f"{OF_JOBS}-") else lane


def lane_of_url(url: str) -> str:
    """Name the lane of a job's own address: one for each host and port."""
    parts = urlsplit(url)
    host = f"{parts.scheme}://{parts.hostname}:{parts.port or ''}"
    return f"{OF_JOBS}-{hashlib.sha256(host.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"


def delivery_id_of(lane: str, event: str, job_id: str, created_at: int) -> str:
    """
    Derive the id of the delivery that tells *lane* of *event*: announcing it twice makes one.

    It begins with the job's time of birth, so that ids sort by age.
    """
    rest = hashlib.sha256(f"{lane}#{event}#{job_id}".encode()).hexdigest()[:20]
    return delivery_id(created_at, rest)


def delivery_id(created_at: int, rest: str) -> str:
    """Join the time (ms, 11 hex digits until the year 2527) and the *rest* (20 hex digits)."""
    return f"dlv_{created_at:011x}{rest}"


ID_PATTERN: Final = r"^dlv_[0-9a-f]{31}$"
WEBHOOK_PATTERN: Final = r"^(wh_[0-9a-f]{16}|jobs)$"


class LaneHint(Frozen):
    """Tell the delivering function that a lane has something to do; *delivery_id*: what rang, if anything did."""

    client_id: str = Field(min_length=1, max_length=200)
    lane: str = Field(min_length=1, max_length=64)
    delivery_id: str = Field(default="", max_length=64)
