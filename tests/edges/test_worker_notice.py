"""Spot notices, from a metadata service that speaks IMDSv2."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from sandbox.waiting import wait_until
from worker.clock import Clock
from worker.notice import Notices


class Metadata(ThreadingHTTPServer):
    """Be the metadata service of one machine."""

    daemon_threads = True

    def __init__(self) -> None:
        self.notice: bytes | None = None
        self.target_state = ""
        self.asked: list[str] = []
        self.token = "token-1"
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Metadata

    def do_PUT(self) -> None:
        assert self.headers["X-aws-ec2-metadata-token-ttl-seconds"]
        self._send(200, self.server.token.encode())

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        if self.headers.get("X-aws-ec2-metadata-token") != self.server.token:
            self._send(401, b"")
        elif self.path.endswith("/autoscaling/target-lifecycle-state") and self.server.target_state:
            self._send(200, self.server.target_state.encode())
        elif self.server.notice is None or not self.path.endswith("/spot/instance-action"):
            self._send(404, b"")
        else:
            self._send(200, self.server.notice)

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""


class QuickClock(Clock):
    """Wait a hundredth of the time; the time is fixed."""

    def now_ms(self) -> int:
        return 1_795_249_200_000  # 2026-11-21T08:20:00Z

    def wait(self, bell: threading.Event, seconds: float) -> bool:
        return bell.wait(seconds / 100)


@pytest.fixture
def metadata() -> Iterator[Metadata]:
    with Metadata() as server:
        thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.02), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join(5)


def watching(environment: dict[str, str]) -> tuple[Notices, threading.Thread, list[tuple[str, float]]]:
    heard: list[tuple[str, float]] = []
    notices = Notices(environment, QuickClock(), lambda why, left_s: heard.append((why, left_s)), drain_s=300)
    thread = threading.Thread(target=notices.run, daemon=True)
    thread.start()
    return notices, thread, heard


def test_a_notice_says_how_long_is_left_and_is_heard_once(metadata: Metadata) -> None:
    """Nothing is planned at first; a token that has expired is renewed."""
    notices, thread, heard = watching({"AWS_EC2_METADATA_SERVICE_ENDPOINT": metadata.url})
    assert wait_until(lambda: len(metadata.asked) > 2, 10)
    assert heard == []
    metadata.token = "token-2"
    metadata.notice = b'{"action": "terminate", "time": "2026-11-21T08:22:00Z"}'
    assert wait_until(lambda: bool(heard), 10)
    asked = len(metadata.asked)
    notices.close()
    thread.join(5)
    assert heard == [("terminate", 120.0)]
    assert len(metadata.asked) == asked


def test_an_odd_notice_is_a_notice(metadata: Metadata) -> None:
    """What it does not say is assumed: better handed back too early than not at all."""
    metadata.notice = b"soon"
    notices, thread, heard = watching({"AWS_EC2_METADATA_SERVICE_ENDPOINT": metadata.url})
    assert wait_until(lambda: bool(heard), 10)
    notices.close()
    thread.join(5)
    assert heard == [("terminate", 90.0)]


def test_the_end_by_its_group_is_a_notice(metadata: Metadata) -> None:
    """In service nothing is said; on the way out what the group's hook waits is what is left."""
    metadata.target_state = "InService"
    notices, thread, heard = watching({"AWS_EC2_METADATA_SERVICE_ENDPOINT": metadata.url})
    assert wait_until(lambda: len(metadata.asked) > 4, 10)
    assert heard == []
    metadata.target_state = "Terminated"
    assert wait_until(lambda: bool(heard), 10)
    notices.close()
    thread.join(5)
    assert heard == [("its group ends it", 300)]


@pytest.mark.parametrize("disabled", [True, False])
def test_elsewhere_nothing_is_asked_and_the_thread_stays(metadata: Metadata, disabled: bool) -> None:
    """A vital thread must not end by itself; where nobody answers nobody is asked again."""
    environment = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": metadata.url if disabled else "http://127.0.0.1:9"}
    if disabled:
        environment["AWS_EC2_METADATA_DISABLED"] = "true"
    notices, thread, heard = watching(environment)
    thread.join(0.3)
    assert thread.is_alive() and heard == [] and metadata.asked == []
    notices.close()
    thread.join(5)
    assert not thread.is_alive()
