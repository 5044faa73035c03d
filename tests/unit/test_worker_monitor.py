"""Monitor events: what is told, how often, and that a dead bus costs nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence

from chalicelib.contract.errors import Unavailable
from chalicelib.contract.job import Progress
from tests.jobs import NOW, new_job
from tests.worker_fakes import FakeClock
from worker.monitor import WAITING_MOST, Monitor
from worker.ports import Event


class FakeBus:
    """Keep events; be away, or refuse some."""

    def __init__(self) -> None:
        self.batches: list[list[Event]] = []
        self.is_away = False
        self.refuses = 0

    def send(self, events: Sequence[Event]) -> int:
        if self.is_away:
            raise Unavailable("The event bus cannot be reached.")
        self.batches.append(list(events))
        return self.refuses

    @property
    def kinds(self) -> list[str]:
        return [event.kind for batch in self.batches for event in batch]


class Line:
    def __init__(self) -> None:
        self.clock, self.bus = FakeClock(NOW), FakeBus()
        self.monitor = Monitor(self.bus, self.clock, "worker-1")
        self.job = new_job(inputs={"prompt": "canary"})

    def moves(self, step: int) -> None:
        progress = Progress(fraction=step / 10, node="3", node_class="KSampler", step=step, steps=10)
        self.monitor.progress(self.job, "prompt-1", progress)


def test_an_event_says_whose_job_it_is_and_nothing_of_what_is_in_it() -> None:
    """The issue's fields; no prompt, no link, no key."""
    line = Line()
    line.moves(3)
    line.monitor.flush()
    [[event]] = line.bus.batches
    detail = json.loads(event.detail_json())
    assert event.kind == "Node Progress Update"
    assert detail["job_id"] == detail["queue_id"] == line.job.job_id
    assert (detail["prompt_id"], detail["attempt"], detail["version"]) == ("prompt-1", 0, 1)
    assert (detail["progress"], detail["max_progress"], detail["percentage"]) == (3, 10, 30.0)
    assert (detail["current_node"], detail["client_id"], detail["worker"]) == ("3", "client-1", "worker-1")
    assert detail["timestamp"].startswith("2027-") or detail["timestamp"].startswith("20")
    assert "canary" not in event.detail_json()


def test_progress_is_told_every_two_seconds_and_the_newest_only() -> None:
    """Between two of them the steps go by unsaid."""
    line = Line()
    for step in range(10):
        line.moves(step)
        line.monitor.flush()
        line.clock.pass_time(0.5)
    steps = [json.loads(event.detail_json())["progress"] for batch in line.bus.batches for event in batch]
    assert steps == [0, 4, 8]


def test_a_jobs_end_is_the_last_that_is_told_of_it() -> None:
    """Progress that waited is not told after it."""
    line = Line()
    line.monitor.job("Job Started", line.job, None)
    line.moves(3)
    line.monitor.job("Images Generated", line.job, "prompt-1", files=1)
    line.moves(9)
    line.monitor.job("Job Completed", line.job, "prompt-1", version=3)
    line.monitor.flush()
    assert line.bus.kinds == ["Job Started", "Node Progress Update", "Images Generated", "Job Completed"]
    versions = [json.loads(event.detail_json())["version"] for batch in line.bus.batches for event in batch]
    assert versions == sorted(versions)


def test_events_go_ten_at_a_time() -> None:
    """EventBridge takes no more in one call."""
    line = Line()
    for _ in range(23):
        line.monitor.queue("http://a", 1)
    line.monitor.flush()
    assert [len(batch) for batch in line.bus.batches] == [10, 10, 3]


def test_a_dead_bus_costs_a_count_and_no_job() -> None:
    """What cannot be sent is dropped and counted; what waits is bounded."""
    line = Line()
    line.bus.is_away = True
    line.monitor.started()
    line.monitor.flush()
    assert line.monitor.dropped == 1
    for _ in range(WAITING_MOST + 5):
        line.monitor.queue("http://a", 1)
    assert line.monitor.dropped == 6
    line.bus.is_away, line.bus.refuses = False, 2
    line.monitor.flush()
    assert line.monitor.dropped == 6 + 2 * (WAITING_MOST // 10)


def test_without_a_bus_nothing_is_kept() -> None:
    """No memory for events that nobody will hear."""
    monitor = Monitor(None, FakeClock(NOW), "worker-1")
    monitor.started()
    monitor.job("Job Started", new_job(), None)
    monitor.progress(new_job(), None, Progress(fraction=0.5))
    monitor.flush()
    assert (monitor.dropped, len(monitor._waiting), len(monitor._moves)) == (0, 0, 0)


def test_the_end_of_the_worker_is_told_too() -> None:
    """`close` sends what still waits."""
    line = Line()
    line.monitor.started()
    line.clock.after(5, lambda: (line.monitor.stopped(), line.monitor.close()))
    line.monitor.run()
    assert line.bus.kinds == ["Monitor Started", "Monitor Stopped"]
