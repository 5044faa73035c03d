"""The worker's counters, and the port that shows them."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from worker.metrics import Metrics, MetricsServer


@pytest.fixture
def served() -> Iterator[tuple[Metrics, MetricsServer, list[str | None]]]:
    metrics, why = Metrics(), [None]
    server = MetricsServer("127.0.0.1", 0, metrics, lambda: why[0])
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    yield metrics, server, why  # type: ignore[misc]
    server.close()
    thread.join(5)
    assert not thread.is_alive()


def test_everything_counted_can_be_read(served: tuple[Metrics, MetricsServer, list[str | None]]) -> None:
    """In Prometheus' own format, as its own parser reads it."""
    metrics, server, _ = served
    metrics.job_done(1.5, 0.2)
    metrics.job_failed("out_of_memory")
    metrics.job_again("unavailable")
    metrics.idle_gap("http://a:8188", 0.004)
    metrics.queue_age(3)
    metrics.server_up("http://a:8188", True)
    metrics.comfy_restart("http://a:8188")
    metrics.watch(lambda: 2, lambda: 7)
    answer = requests.get(f"http://127.0.0.1:{server.port}/metrics", timeout=5)
    found = {
        (sample.name, sample.labels.get("code") or sample.labels.get("server")): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    at = "comfysheet_worker"
    assert found[(f"{at}_jobs_done_total", None)] == 1
    assert found[(f"{at}_jobs_failed_total", "out_of_memory")] == 1
    assert found[(f"{at}_attempts_again_total", "unavailable")] == 1
    assert found[(f"{at}_gpu_idle_gap_seconds_sum", "http://a:8188")] == 0.004
    assert found[(f"{at}_queue_age_seconds_count", None)] == 1
    assert found[(f"{at}_comfyui_up", "http://a:8188")] == 1
    assert found[(f"{at}_comfyui_restarts_total", "http://a:8188")] == 1
    assert (found[(f"{at}_jobs_in_hand", None)], found[(f"{at}_events_dropped", None)]) == (2, 7)


def test_health_is_a_word_or_a_reason(served: tuple[Metrics, MetricsServer, list[str | None]]) -> None:
    """200 while jobs are taken; 503 and the sentence while not."""
    _, server, why = served
    url = f"http://127.0.0.1:{server.port}"
    assert requests.get(f"{url}/healthz", timeout=5).text == "ok\n"
    why[0] = "ComfyUI cannot be reached."
    answer = requests.get(f"{url}/healthz", timeout=5)
    assert (answer.status_code, answer.text) == (503, "ComfyUI cannot be reached.\n")
    assert requests.get(f"{url}/else", timeout=5).status_code == 404
