"""
Stand in for the worker's edges: a clock whose waits cost nothing, a queue with visibility, and a ComfyUI that renders
in the clock's time.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from typing import Any, BinaryIO
from uuid import uuid4

from PIL import Image

from chalicelib.contract.errors import Rejected, Unavailable
from chalicelib.contract.events import Ended, Hint, JobMessage
from chalicelib.contract.manifest import Workflow, to_document
from worker.clock import Clock
from worker.comfy.faults import GraphRefused
from worker.comfy.history import Ending, Entry, Place, ServerFacts, Whereabouts
from worker.comfy.outputs import OutputFile
from worker.comfy.track import Course, classes_of
from worker.kit import Card
from worker.ports import ComfyAway, Delivery, FileGone, Follower, InDoubt
from worker.settings import Settings, read_settings

ENVIRONMENT = {
    "JOBS_QUEUE_URL": "http://127.0.0.1:1/000000000000/jobs",
    "COMPLETIONS_QUEUE_URL": "http://127.0.0.1:1/000000000000/completions.fifo",
    "JOBS_TABLE": "jobs",
    "S3_BUCKET": "bucket",
    "AWS_REGION": "us-east-1",
    "WORKER_NAME": "worker-1",
}


def settings(**changes: str) -> Settings:
    """Read settings from a complete environment, changed by name."""
    return read_settings(ENVIRONMENT | changes)


def picture(width: int = 8, height: int = 8, *, mode: str = "RGB", form: str = "PNG") -> bytes:
    """Draw a small picture."""
    made = BytesIO()
    Image.new(mode, (width, height), (10, 200, 30, 128)[: len(mode)]).save(made, form)
    return made.getvalue()


class FakeClock(Clock):
    """Let time pass only when somebody waits; what was planned for the meantime happens then."""

    def __init__(self, now_ms: int) -> None:
        self._now_ms = now_ms
        self.wrong_ms = 0
        """How far the time of day is off; durations are right all the same."""
        self._planned: list[tuple[int, Callable[[], None]]] = []
        self._lock = threading.RLock()

    def now_ms(self) -> int:
        return self._now_ms + self.wrong_ms

    def monotonic(self) -> float:
        return self._now_ms / 1000

    def wait(self, bell: threading.Event, seconds: float) -> bool:
        """Pass the time until *bell* rings or it is over."""
        with self._lock:
            until = self._now_ms + max(1, round(seconds * 1000))
            while not bell.is_set():
                due = sorted((at, index) for index, (at, _) in enumerate(self._planned) if at <= until)
                if not due:
                    self._now_ms = until
                    break
                at, action = self._planned.pop(due[0][1])
                self._now_ms = max(self._now_ms, at)
                action()
            return bell.is_set()

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Plan *action* for later."""
        with self._lock:
            self._planned.append((self._now_ms + round(seconds * 1000), action))

    def pass_time(self, seconds: float) -> None:
        self.wait(threading.Event(), seconds)


class FakeInbox:
    """Keep messages with visibility and receive counts, as a standard queue does."""

    def __init__(self, clock: FakeClock, visibility_s: float = 90) -> None:
        self._clock = clock
        self._visibility_s = visibility_s
        self.messages: dict[str, tuple[str, float, int]] = {}
        """Receipt to body, visible from (s), receives."""
        self.buried: list[tuple[str, str]] = []
        self.hidden: list[float] = []
        self.has_dlq = True
        self.calls: list[str] = []
        self.is_away = False

    def send(self, job_id: str, seq: int = 1) -> None:
        self.send_body(JobMessage(job_id=job_id, seq=seq).model_dump_json())

    def send_body(self, body: str) -> None:
        self.messages[uuid4().hex] = (body, 0.0, 0)

    def take(self, wait_s: int) -> Delivery | None:
        from worker.inbox import read_delivery

        self._check("take")
        for receipt, (body, visible_at, receives) in self.messages.items():
            if visible_at <= self._clock.monotonic():
                self.messages[receipt] = (body, self._clock.monotonic() + self._visibility_s, receives + 1)
                return read_delivery(receipt, receives + 1, body)
        self._clock.pass_time(wait_s)
        return None

    def hide(self, delivery: Delivery, seconds: float) -> None:
        self._check("hide")
        self.hidden.append(seconds)
        if delivery.receipt not in self.messages:
            raise Unavailable("there is no such message")
        body, _, receives = self.messages[delivery.receipt]
        self.messages[delivery.receipt] = (body, self._clock.monotonic() + seconds, receives)

    def drop(self, delivery: Delivery) -> None:
        self._check("drop")
        self.messages.pop(delivery.receipt, None)

    def drop_all(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            self.drop(delivery)

    def bury(self, delivery: Delivery, reason: str) -> bool:
        self._check("bury")
        if self.has_dlq:
            self.buried.append((delivery.body, reason))
            self.messages.pop(delivery.receipt, None)
        return self.has_dlq

    def _check(self, call: str) -> None:
        self.calls.append(call)
        if self.is_away:
            raise Unavailable("the queue is away")


class FakeHints:
    """Note hints."""

    def __init__(self, calls: list[str] | None = None) -> None:
        self.sent: list[tuple[Hint, str]] = []
        self.ended: list[str] = []
        self.is_away = False
        self._calls = calls if calls is not None else []

    def send(self, hint: Hint, group: str) -> None:
        self._calls.append("hint")
        if self.is_away:
            raise Unavailable("the completions queue is away")
        self.sent.append((hint, group))

    def send_all(self, hints: Sequence[tuple[Hint, str]]) -> set[int]:
        for hint, group in hints:
            self.send(hint, group)
        return set()

    def tell_ends(self, ends: Sequence[Ended]) -> set[int]:
        if self.is_away:
            raise Unavailable("the completions queue is away")
        self.ended += [end.ended for end in ends]
        return set()


class FakeBlobs:
    """Keep files in a dictionary; each key is written once."""

    def __init__(self, calls: list[str] | None = None) -> None:
        self.files: dict[str, tuple[bytes, str]] = {}
        self.is_away = False
        self._calls = calls if calls is not None else []

    def get(self, key: str) -> bytes | None:
        return self.files[key][0] if key in self.files else None

    def put(self, key: str, content: bytes, content_type: str) -> None:
        self._calls.append("put")
        if self.is_away:
            raise Unavailable("The bucket is away.")
        self.files.setdefault(key, (content, content_type))

    def put_stream(self, key: str, content: BinaryIO, size_bytes: int, content_type: str) -> None:
        content.seek(0)
        self.put(key, content.read(size_bytes), content_type)

    def get_into(self, key: str, into: BinaryIO, limit_bytes: int) -> bool:
        content = self.get(key)
        if content is None:
            return False
        if len(content) > limit_bytes:
            raise Rejected("too_large", "An input file is larger than this worker accepts (MAX_INPUT_MB).")
        into.write(content)
        return True


class FakeWatch:
    """Follow one prompt of the fake server."""

    def __init__(self, comfy: FakeComfy, graph: Mapping[str, Any], follower: Follower) -> None:
        self._comfy = comfy
        self.client_id: str | None = "socket-1" if comfy.is_up else None
        self.course = Course(classes_of(graph))
        self.heard_at: float | None = None
        self.timeline: list[tuple[int, str, str | None]] = []
        self.follower = follower

    @property
    def is_live(self) -> bool:
        return self.client_id is not None and self._comfy.is_up

    def __enter__(self) -> FakeWatch:
        return self

    def __exit__(self, *_: object) -> None:
        return None


class FakeDoorbell:
    """Ring when the fake server ends a prompt, unless it is deaf."""

    def __init__(self, comfy: FakeComfy) -> None:
        self._comfy = comfy
        self.watches: dict[str, FakeWatch] = {}

    @property
    def is_up(self) -> bool:
        return self._comfy.is_up

    def watch(self, prompt_id: str, graph: Mapping[str, Any], follower: Follower) -> FakeWatch:
        self.watches[prompt_id] = FakeWatch(self._comfy, graph, follower)
        return self.watches[prompt_id]


PNG = picture()
ONE_FILE = {"9": {"images": [{"filename": "x_00001_.png", "subfolder": "", "type": "output"}]}}
GOOD = Entry(Ending.SUCCESS, ONE_FILE, {}, 1500)


class FakeComfy:
    """Render in the clock's time; one attribute for each thing that can go wrong."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.doorbell = FakeDoorbell(self)
        self.told = ServerFacts("0.28.0", "fake")
        self.run_s: float | None = 2.0
        """How long a prompt runs; None: for ever."""
        self.entry: Entry = GOOD
        self.files: dict[str, bytes] = {"x_00001_.png": PNG}
        self.is_up = True
        self.is_deaf = False
        self.refuses: GraphRefused | None = None
        self.answers_lost = 0
        self.arrives = True
        """Whether a prompt whose answer is lost has arrived."""
        self.executor_is_dead = False
        self.own_ids = False
        self.waits = False
        """Whether prompts wait behind somebody else's."""
        self.pending: set[str] = set()
        self.running: set[str] = set()
        self.history: dict[str, Entry] = {}
        self.submitted: list[tuple[str, Mapping[str, Any]]] = []
        self.cancelled: list[str] = []
        self.forgotten: list[str] = []
        self.freed = 0
        self.listed: dict[tuple[str, str], list[str]] = {}
        self.uploaded: dict[str, bytes] = {}
        self.catalogue: dict[str, Any] = {name: {} for name in ("EmptyImage", "SaveImage")}

    def facts(self) -> ServerFacts:
        self._check()
        return self.told

    def submit(self, graph: Mapping[str, Any], prompt_id: str, client_id: str | None) -> str:
        self._check()
        if self.refuses is not None:
            raise self.refuses
        self.submitted.append((prompt_id, graph))
        if self.own_ids:
            prompt_id = str(uuid4())
        lost = self.answers_lost > 0
        if lost:
            self.answers_lost -= 1
        if self.waits:
            self.pending.add(prompt_id)
        elif not lost or self.arrives:
            self.begin(prompt_id)
        if lost:
            raise InDoubt("no answer")
        return prompt_id

    def begin(self, prompt_id: str) -> None:
        """Start to run a prompt."""
        self.running.add(prompt_id)
        watch = self.doorbell.watches.get(prompt_id)
        if watch is not None and not self.executor_is_dead:
            watch.follower.begun()
        if self.run_s is not None and not self.executor_is_dead:
            self._clock.after(self.run_s, lambda: self.end(prompt_id))

    def end(self, prompt_id: str) -> None:
        """End a prompt as `entry` says, and ring."""
        if prompt_id not in self.running:
            return
        self.running.discard(prompt_id)
        self.history[prompt_id] = self.entry
        watch = self.doorbell.watches.get(prompt_id)
        if watch is not None and watch.is_live and not self.is_deaf:
            watch.course = Course(watch.course.classes, is_started=True, is_over=True)
            watch.follower.ended()

    def where(self, prompt_id: str) -> Whereabouts:
        self._check()
        if prompt_id in self.running:
            if self.executor_is_dead:
                return Whereabouts(Place.PENDING, is_idle=True)
            return Whereabouts(Place.RUNNING)
        if prompt_id in self.pending:
            return Whereabouts(Place.PENDING)
        entry = self.history.get(prompt_id)
        return Whereabouts(Place.ENDED if entry else Place.NOWHERE, entry, is_idle=not self.running)

    def ended(self, prompt_id: str) -> Entry | None:
        self._check()
        return self.history.get(prompt_id)

    def fetch(self, file: OutputFile, limit_bytes: int, into: BinaryIO) -> None:
        self._check()
        if file.filename not in self.files:
            raise FileGone("ComfyUI named an output file that is not there.", retry_in_s=1)
        content = self.files[file.filename]
        if len(content) > limit_bytes:
            raise Rejected("too_large", "The output is larger than this worker accepts (MAX_OUTPUT_MB).")
        into.write(content)

    def upload(self, name: str, content: BinaryIO, subfolder: str) -> str:
        self._check()
        content.seek(0)
        self.uploaded[f"{subfolder}/{name}"] = content.read()
        return f"{subfolder}/{name}"

    def object_info(self) -> Mapping[str, Any]:
        self._check()
        return self.catalogue

    def queue_length(self) -> int:
        self._check()
        return len(self.running)

    def cancel(self, prompt_id: str) -> None:
        self._check()
        self.cancelled.append(prompt_id)
        self.running.discard(prompt_id)

    def forget(self, prompt_id: str) -> None:
        self._check()
        self.forgotten.append(prompt_id)
        self.history.pop(prompt_id, None)

    def free(self) -> None:
        self.freed += 1

    def choices(self, node_class: str, name: str) -> list[str]:
        return self.listed.get((node_class, name), [])

    def _check(self) -> None:
        if not self.is_up:
            raise ComfyAway("ComfyUI cannot be reached (ConnectionError).")


class FakeFleet:
    """Keep workers' cards in a dictionary."""

    def __init__(self) -> None:
        self.cards: dict[str, Card] = {}
        self.is_away = False

    def announce(self, card: Card) -> None:
        self._check()
        self.cards[card.worker] = card

    def withdraw(self, worker: str) -> None:
        self._check()
        self.cards.pop(worker, None)

    def others(self, now_ms: int) -> list[Card]:
        self._check()
        return list(self.cards.values())

    def _check(self) -> None:
        if self.is_away:
            raise Unavailable("The workers table is away.")


class FakeSkew:
    """Say how far the clock is off."""

    def __init__(self, skew_s: float = 0.0) -> None:
        self.skew_s = skew_s


EMPTY_PICTURE: dict[str, Any] = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 255}},
    "9": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
}


def empty_picture() -> Workflow:
    """Make the smallest workflow: one colour, saved."""
    return Workflow(id="empty-color", name="Empty color", graph=EMPTY_PICTURE)


def store_workflow(blobs: FakeBlobs, workflow: Workflow | None = None) -> str:
    """Put a workflow where the worker looks for it; its hash."""
    workflow = workflow or empty_picture()
    document = json.dumps(to_document(workflow)).encode()
    blobs.files[f"workflows/by-hash/{workflow.hash}.json"] = (document, "application/json")
    return workflow.hash
