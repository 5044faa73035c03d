"""Say what the worker's day needs of its edges, for those who are handed them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, Self

from chalicelib.contract.errors import Unavailable
from chalicelib.contract.events import Ended, Hint, JobMessage
from worker.comfy.history import Entry, ServerFacts, Whereabouts
from worker.comfy.outputs import OutputFile
from worker.comfy.track import Course

if TYPE_CHECKING:
    from worker.kit import Card


@dataclass(frozen=True)
class Delivery:
    """Hold one received message. *message* is None when the body is none of ours."""

    receipt: str
    receives: int
    message: JobMessage | None
    body: str = ""
    fault: str = ""
    """Why *message* is None."""
    sent_at: int = 0
    """When it was sent (milliseconds since the epoch, by the queue's clock); 0: unknown."""


class Inbox(Protocol):
    """Take messages from the jobs queue. `Unavailable` when it cannot be reached."""

    def take(self, wait_s: int) -> Delivery | None:
        """Wait for the next message, *wait_s* seconds at most."""

    def hide(self, delivery: Delivery, seconds: float) -> None:
        """Keep the message from everyone for *seconds* from now (0: give it back at once)."""

    def drop(self, delivery: Delivery) -> None:
        """Delete the message: its job needs no attention any more."""

    def drop_all(self, deliveries: Sequence[Delivery]) -> None:
        """Delete up to ten messages at once."""

    def bury(self, delivery: Delivery, reason: str) -> bool:
        """Move what cannot be read to the dead-letter queue, saying why. False: there is no such queue."""


class Hints(Protocol):
    """Tell completion that a job has news. `Unavailable` when the queue cannot be reached."""

    def send(self, hint: Hint, group: str) -> None:
        """Send *hint*; *group* names the sheet, or the client of a job without one."""

    def send_all(self, hints: Sequence[tuple[Hint, str]]) -> set[int]:
        """Send up to ten hints, each with its group; the places in *hints* of those that were not taken."""

    def tell_ends(self, ends: Sequence[Ended]) -> set[int]:
        """Send word of up to ten jobs' ends; the places in *ends* of those that were not taken."""


class Blobs(Protocol):
    """Keep files in the bucket. `Unavailable` when it cannot be reached."""

    def get(self, key: str) -> bytes | None:
        """Read a file; None: it is not there."""

    def put(self, key: str, content: bytes, content_type: str) -> None:
        """Create a file; that it is there already (a repeated write of ours) is fine."""

    def put_stream(self, key: str, content: BinaryIO, size_bytes: int, content_type: str) -> None:
        """Create a file from *content* (read from its start), in parts when it is large."""

    def get_into(self, key: str, into: BinaryIO, limit_bytes: int) -> bool:
        """Copy a file to *into*; False: it is not there. `Rejected` when it is larger than *limit_bytes*."""


class ComfyAway(Unavailable):
    """Say that ComfyUI itself does not answer: it ended, hangs, or comes up again."""


class InDoubt(ComfyAway):
    """Say that a prompt was sent and no answer came: it may run, or not."""


class FileGone(Unavailable):
    """Say that ComfyUI named a file that is not there: a cached node does, when the file was deleted."""


class Comfy(Protocol):
    """Speak with one ComfyUI server. `ComfyAway` when it cannot be reached, `Unavailable` when it answers badly."""

    def facts(self) -> ServerFacts:
        """Ask who the server is. An answer does not mean that it renders."""

    def submit(self, graph: Mapping[str, Any], prompt_id: str, client_id: str | None) -> str:
        """Queue *graph*; its id. `GraphRefused`, or `InDoubt` when no answer came."""

    def where(self, prompt_id: str) -> Whereabouts:
        """Look for a prompt in the queue, then in the history."""

    def ended(self, prompt_id: str) -> Entry | None:
        """Read the prompt's history; None while it runs, waits, or is unknown."""

    def fetch(self, file: OutputFile, limit_bytes: int, into: BinaryIO) -> None:
        """Copy a file to *into*; `Unavailable` when it is not there, `Rejected` when it is too large or refused."""

    def cancel(self, prompt_id: str) -> None:
        """Stop a prompt, waiting or running, without touching any other."""

    def forget(self, prompt_id: str) -> None:
        """Drop the prompt's history entry."""

    def free(self) -> None:
        """Unload models and empty the cache."""

    def choices(self, node_class: str, name: str) -> list[str]:
        """List the values that an input allows on this server; empty when it is no list."""

    def upload(self, name: str, content: BinaryIO, subfolder: str) -> str:
        """Put a file into the input folder; what a loading node calls it. `Rejected` when the server will not."""

    def object_info(self) -> Mapping[str, Any]:
        """Read the whole node catalogue: class name to its definition."""

    def queue_length(self) -> int:
        """Count the prompts that run or wait on the server, ours and others'."""


class Follower(Protocol):
    """Be told of a prompt's turns, on the doorbell's thread: return at once."""

    def begun(self) -> None:
        """It runs."""

    def ended(self) -> None:
        """It is over, and the history says how."""

    def ring(self) -> None:
        """It is worth looking around: an output is there, or the connection changed."""


class Watch(Protocol):
    """Follow one prompt by the server's news."""

    @property
    def client_id(self) -> str | None:
        """What to submit under, so that the events come here; None: there is no connection."""

    @property
    def course(self) -> Course:
        """How far it is."""

    @property
    def timeline(self) -> Sequence[tuple[int, str, str | None]]:
        """What happened so far: milliseconds since the epoch, event, node."""

    @property
    def heard_at(self) -> float | None:
        """Monotonic time of the newest event."""

    @property
    def is_live(self) -> bool:
        """Whether this prompt's events can arrive."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


class Doorbell(Protocol):
    """Hear a server's news."""

    @property
    def is_up(self) -> bool:
        """Whether the connection stands."""

    def watch(self, prompt_id: str, graph: Mapping[str, Any], follower: Follower) -> Watch:
        """Begin to follow a prompt; *follower* is told of its turns."""


@dataclass(frozen=True)
class Event:
    """Hold one event for others: its kind (EventBridge's detail-type) and its detail."""

    kind: str
    detail: Mapping[str, object]

    def detail_json(self) -> str:
        """Give the detail as JSON."""
        return json.dumps(self.detail, ensure_ascii=False, default=str)


class Bus(Protocol):
    """Publish events. `Unavailable` when the bus cannot be reached."""

    def send(self, events: Sequence[Event]) -> int:
        """Send up to ten events; how many were not taken."""


class Fleet(Protocol):
    """Keep the workers' cards. `Unavailable` when the table cannot be reached."""

    def announce(self, card: Card) -> None:
        """Show *card* in place of this worker's former one."""

    def withdraw(self, worker: str) -> None:
        """Take a worker's card away."""

    def others(self, now_ms: int) -> Sequence[Card]:
        """List the cards of live workers, this one's among them."""


class Process(Protocol):
    """Be the ComfyUI that this worker started."""

    def closed_because(self) -> str | None:
        """Say why it cannot be used now, in a sentence; None: it runs."""

    def restart(self, why: str) -> None:
        """Kill it and start it again; returns at once."""


class SkewGauge(Protocol):
    """Know how far this machine's clock is off."""

    @property
    def skew_s(self) -> float:
        """Seconds ahead of AWS's clock; negative: behind."""
