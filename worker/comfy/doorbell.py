"""
Listen to ComfyUI's WebSocket and ring for the prompts that somebody watches.

- Every connection gets a client id of its own: when the server ends an older connection of the same id after the newer
  one began, the newer one stays open and deaf for ever (ComfyUI to 0.38, `finally: self.sockets.pop(sid)`).
- The reader only parses and rings. A client that does not read its socket silences all others on that server.
- Somebody else's slow socket can silence ours too, so a watcher polls /history as well.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final
from uuid import uuid4

import structlog
import websocket

from worker.clock import Clock
from worker.comfy.track import Course, advance, classes_of, read_frame
from worker.ports import Follower

PING_AFTER_S: Final = 20
PONG_WITHIN_S: Final = 10
CONNECT_S: Final = 3
WAIT_UP_S: Final = 0.5
"""How long a new watch waits for a connection that is just being made; without one it lives by polling."""
_PAUSES_S: Final = (0.1, 0.5, 1.0, 2.0, 5.0)

TOLD: Final = frozenset(
    {
        "execution_start",
        "execution_cached",
        "executing",
        "executed",
        "execution_success",
        "execution_error",
        "execution_interrupted",
    }
)
"""Events that the timeline keeps."""
TIMELINE_MOST: Final = 5_000

log = structlog.get_logger()


class SocketWatch:
    """Follow one prompt. Read it from any thread; the follower is told of its turns on the doorbell's thread."""

    def __init__(self, doorbell: SocketDoorbell, prompt_id: str, graph: Mapping[str, Any], follower: Follower) -> None:
        self.prompt_id = prompt_id
        self.follower = follower
        self.client_id = doorbell.client_id
        """What to submit under, so that the events come here; None: the socket is down."""
        self.course = Course(classes_of(graph))
        self.heard_at: float | None = None
        """Monotonic time of the newest event of this prompt."""
        self.timeline: list[tuple[int, str, str | None]] = []
        """What happened: milliseconds since the epoch, event, node."""
        self._doorbell = doorbell

    def __enter__(self) -> SocketWatch:
        return self

    def __exit__(self, *_: object) -> None:
        self._doorbell.unwatch(self)

    @property
    def is_live(self) -> bool:
        """Say whether this prompt's events can arrive: the connection it was submitted under is still the one."""
        return self.client_id is not None and self.client_id == self._doorbell.client_id


class SocketDoorbell:
    """Keep one WebSocket to one server open and dispatch its news."""

    def __init__(
        self, url: str, clock: Clock, *, ping_after_s: float = PING_AFTER_S, pong_within_s: float = PONG_WITHIN_S
    ) -> None:
        self._ping_after_s = ping_after_s
        self._pong_within_s = pong_within_s
        self._url = url.replace("http", "ws", 1) + "/ws?clientId="
        self._clock = clock
        self._client_id: str | None = None
        self._socket: websocket.WebSocket | None = None
        self._watches: dict[str, SocketWatch] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._came_up = threading.Event()

    @property
    def client_id(self) -> str | None:
        """Give the present connection's id; None while there is none."""
        return self._client_id

    @property
    def is_up(self) -> bool:
        return self._client_id is not None

    def watch(self, prompt_id: str, graph: Mapping[str, Any], follower: Follower) -> SocketWatch:
        """Begin to follow a prompt. Before submitting: an instant prompt is over before the answer is read."""
        self._came_up.wait(WAIT_UP_S)
        watch = SocketWatch(self, prompt_id, graph, follower)
        with self._lock:
            self._watches[prompt_id] = watch
        return watch

    def unwatch(self, watch: SocketWatch) -> None:
        """Stop following."""
        with self._lock:
            if self._watches.get(watch.prompt_id) is watch:
                del self._watches[watch.prompt_id]

    def run(self) -> None:
        """Connect, read, reconnect, until `close`. Failed connections are waited out; bugs rise."""
        failures = 0
        while not self._ended.is_set():
            client_id = uuid4().hex
            try:
                self._connect(client_id)
            except (OSError, websocket.WebSocketException) as error:
                if failures == 0:
                    log.warning("websocket is down", action="websocket", url=self._url, error=type(error).__name__)
                self._ended.wait(_PAUSES_S[min(failures, len(_PAUSES_S) - 1)])
                failures += 1
                continue
            failures = 0
            self._client_id = client_id
            self._came_up.set()
            log.info("websocket is up", action="websocket", url=self._url)
            try:
                self._read()
            except (OSError, websocket.WebSocketException) as error:
                if not self._ended.is_set():
                    log.warning("websocket was lost", action="websocket", url=self._url, error=type(error).__name__)
            finally:
                self._hang_up()
            self._ended.wait(_PAUSES_S[0])

    def close(self) -> None:
        """End `run`, also while it reads."""
        self._ended.set()
        open_socket = self._socket
        if open_socket is not None and open_socket.sock is not None:
            with contextlib.suppress(OSError):
                open_socket.sock.shutdown(socket.SHUT_RDWR)

    def _connect(self, client_id: str) -> None:
        self._socket = websocket.create_connection(
            self._url + client_id,
            timeout=CONNECT_S,
            suppress_origin=True,
            skip_utf8_validation=True,
            enable_multithread=True,
            http_no_proxy=["*"],
            sockopt=((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),),
        )

    def _hang_up(self) -> None:
        self._client_id = None
        self._came_up.clear()
        if self._socket is not None:
            with contextlib.suppress(OSError, websocket.WebSocketException):
                self._socket.shutdown()
            self._socket = None
        self._ring(lambda _: True)

    def _read(self) -> None:
        """Read frames until the connection ends; ping after a silence, and call a second silence the end."""
        conversation = self._socket
        if conversation is None:
            return
        asked = False
        while not self._ended.is_set():
            conversation.settimeout(self._pong_within_s if asked else self._ping_after_s)
            try:
                kind, data = conversation.recv_data(control_frame=True)
            except websocket.WebSocketTimeoutException:
                if asked:
                    raise
                conversation.ping()
                asked = True
                continue
            asked = False
            if kind == websocket.ABNF.OPCODE_CLOSE:
                return
            if kind == websocket.ABNF.OPCODE_TEXT:
                self._dispatch(data.decode("utf-8", "replace"))

    def _dispatch(self, frame: str) -> None:
        news = read_frame(frame)
        if news is None:
            return
        if news.kind == "status" and "sid" not in news.data:
            # Goes to all sockets: for prompts of an earlier connection it is the only sign that one ended.
            self._ring(lambda watch: not watch.is_live)
            return
        with self._lock:
            watch = self._watches.get(news.prompt_id or "")
        if watch is None:
            return
        before, now = watch.course, self._clock.monotonic()
        watch.heard_at = now
        watch.course = after = advance(before, news, now)
        if news.kind in TOLD and len(watch.timeline) < TIMELINE_MOST:
            node = news.data.get("node", news.data.get("node_id"))
            watch.timeline.append((self._clock.now_ms(), news.kind, node if isinstance(node, str) else None))
        if after.is_over:
            watch.follower.ended()
        elif after.is_started and not before.is_started:
            watch.follower.begun()
        if after.made != before.made:
            watch.follower.ring()

    def _ring(self, concerned: Callable[[SocketWatch], bool]) -> None:
        with self._lock:
            watches = [watch for watch in self._watches.values() if concerned(watch)]
        for watch in watches:
            watch.follower.ring()
