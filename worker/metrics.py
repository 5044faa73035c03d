"""
Count what the worker does, for Prometheus, and answer /healthz and /metrics on a port that is closed by default.

Labels are bounded: server addresses, error codes, kinds of AWS calls. No job, prompt or client is ever a label.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

GAP_BUCKETS_S: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
SECONDS_BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900)
AGE_BUCKETS_S: Final = (0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 14_400, 86_400)


class Metrics:
    """Hold the worker's counters in a registry of its own. Threads share it."""

    def __init__(self) -> None:
        self.done = 0
        """Jobs committed so far."""
        self._lock = threading.Lock()
        own = self.registry = CollectorRegistry()
        at = "comfysheet_worker"
        self._done = Counter(f"{at}_jobs_done", "Jobs committed", registry=own)
        self._failed = Counter(f"{at}_jobs_failed", "Jobs that failed, by the error's code", ["code"], registry=own)
        self._again = Counter(f"{at}_attempts_again", "Attempts put back to wait, by code", ["code"], registry=own)
        self._execution = Histogram(
            f"{at}_execution_seconds", "Run times, by ComfyUI's clock", buckets=SECONDS_BUCKETS, registry=own
        )
        self._upload = Histogram(
            f"{at}_upload_seconds", "From the end of a run to its last upload", buckets=SECONDS_BUCKETS, registry=own
        )
        self._gap = Histogram(
            f"{at}_gpu_idle_gap_seconds",
            "From the end of a run to the begin of the next, when that was in hand",
            ["server"],
            buckets=GAP_BUCKETS_S,
            registry=own,
        )
        self._age = Histogram(
            f"{at}_queue_age_seconds", "How long a claimed job's message waited", buckets=AGE_BUCKETS_S, registry=own
        )
        self._up = Gauge(f"{at}_comfyui_up", "1: jobs are taken for this server", ["server"], registry=own)
        self._restarts = Counter(f"{at}_comfyui_restarts", "Restarts of a managed ComfyUI", ["server"], registry=own)
        self._in_hand = Gauge(f"{at}_jobs_in_hand", "Jobs claimed and not settled", registry=own)
        self._dropped = Gauge(f"{at}_events_dropped", "Monitor events left out so far", registry=own)

    def job_done(self, execution_s: float, upload_s: float) -> None:
        self._done.inc()
        with self._lock:
            self.done += 1
        self._execution.observe(execution_s)
        self._upload.observe(upload_s)

    def job_failed(self, code: str) -> None:
        self._failed.labels(code).inc()

    def job_again(self, code: str) -> None:
        self._again.labels(code).inc()

    def idle_gap(self, server: str, seconds: float) -> None:
        self._gap.labels(server).observe(seconds)

    def queue_age(self, seconds: float) -> None:
        self._age.observe(seconds)

    def server_up(self, server: str, is_up: bool) -> None:
        self._up.labels(server).set(1 if is_up else 0)

    def comfy_restart(self, server: str) -> None:
        self._restarts.labels(server).inc()

    def watch(self, in_hand: Callable[[], int], dropped: Callable[[], int]) -> None:
        """Ask these whenever somebody reads the metrics: jobs in hand, and events dropped."""
        self._in_hand.set_function(in_hand)
        self._dropped.set_function(dropped)

    def text(self) -> bytes:
        """Give everything in Prometheus' text format."""
        return generate_latest(self.registry)


class MetricsServer:
    """Answer /healthz (200, or 503 with a sentence) and /metrics. Port 0 takes a free one."""

    def __init__(self, host: str, port: int, metrics: Metrics, closed_because: Callable[[], str | None]) -> None:
        handler = type("Bound", (_Handler,), {"metrics": metrics, "closed_because": staticmethod(closed_because)})
        self._server = ThreadingHTTPServer((host, port), handler)
        self._server.daemon_threads = True
        self._closing = threading.Event()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def run(self) -> None:
        """Answer until `close`."""
        try:
            if not self._closing.is_set():
                self._server.serve_forever(poll_interval=0.1)
        finally:
            self._server.server_close()

    def close(self) -> None:
        """End `run`, and free the port."""
        self._closing.set()
        threading.Thread(target=self._server.shutdown, daemon=True).start()


class _Handler(BaseHTTPRequestHandler):
    """Answer one request."""

    metrics: Metrics
    closed_because: Callable[[], str | None]
    timeout = 10

    def do_GET(self) -> None:
        if self.path == "/metrics":
            self._answer(200, CONTENT_TYPE_LATEST, self.metrics.text())
        elif self.path == "/healthz":
            why = self.closed_because()
            self._answer(503 if why else 200, "text/plain; charset=utf-8", f"{why or 'ok'}\n".encode())
        else:
            self._answer(404, "text/plain; charset=utf-8", b"There is /healthz and /metrics.\n")

    def _answer(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet: who asks for metrics is no event."""
