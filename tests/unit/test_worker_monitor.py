"""Monitor events: what is told, how often, and that a dead bus costs nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import structlog

from chalicelib.contract.errors import Unavailable
from chalicelib.contract.job import Progress
from tests.jobs import NOW, new_job
from tests.worker_fakes import FakeClock
from worker.monitor import JOBS_MOST, MOVES, WAITING_MOST, WARN_S, Monitor
from worker.ports import Event


class FakeBus:
    """Keep events; be away, or refuse some."""

    def __init__(self) -> None:
        self.batches: list[list[Event]] = []
        self.is_away = False
        self.refuses = 0
        self.calls = 0
        self.on_send: Callable[[], None] = lambda: None

    def send(self, events: Sequence[Event]) -> int:
        self.calls += 1
        self.on_send()
        if self.is_away:
            raise Unavailable("The event bus cannot be reached.")
        self.batches.append(list(events))
        return self.refuses

    @property
    def kinds(self) -> list[str]:
        return [event.kind for batch in self.batches for event in batch]

    @property
    def details(self) -> list[dict[str, Any]]:
        return [json.loads(event.detail_json()) for batch in self.batches for event in batch]


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
    assert detail["timestamp"] == "2027-01-15T08:00:00.000+00:00"
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


def test_nothing_is_told_of_a_job_that_has_ended() -> None:
    """Its end is completion's to tell; progress that waited would come after it."""
    line = Line()
    line.monitor.job("Job Started", line.job, None)
    line.moves(3)
    line.monitor.job("Images Generated", line.job, "prompt-1", files=1)
    line.moves(9)
    line.monitor.ended(line.job, version=line.job.version + 1)
    line.moves(10)
    line.monitor.flush()
    assert line.bus.kinds == ["Job Started", "Node Progress Update", "Images Generated"]
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


def test_only_named_fields_get_through() -> None:
    """A fact that is not on the list is left out, whoever hands it in; a server's address loses its login."""
    line = Line()
    line.monitor.job("Upload Complete", line.job, "prompt-1", files=3, text="canary", inputs=line.job.inputs)
    line.monitor.queue("http://me:canary@host:8188/comfy?token=canary", 3)
    line.monitor.flush()
    uploaded, queue = line.bus.details
    assert uploaded["files"] == 3
    assert (queue["server"], queue["queue_remaining"]) == ("http://host:8188/comfy", 3)
    assert "canary" not in json.dumps(line.bus.details)


def test_the_two_seconds_hold_also_before_other_news() -> None:
    """Progress that is not due yet is left out when the job's next turn comes; what is due goes before it."""
    line = Line()
    line.moves(1)
    line.monitor.flush()
    line.clock.pass_time(0.5)
    line.moves(2)
    line.monitor.job("Images Generated", line.job, "prompt-1", files=1)
    line.clock.pass_time(1.5)
    line.moves(3)
    line.monitor.job("Upload Complete", line.job, "prompt-1", files=1)
    line.monitor.flush()
    assert line.bus.kinds == ["Node Progress Update", "Images Generated", "Node Progress Update", "Upload Complete"]


def test_progress_is_told_when_its_time_comes_though_nothing_else_happens() -> None:
    """The last step before a long silence is not kept back until the next news."""
    line = Line()
    line.moves(1)
    line.monitor.flush()
    line.moves(2)
    at: list[float] = []
    begun = line.clock.monotonic()
    line.bus.on_send = lambda: at.append(line.clock.monotonic() - begun)
    line.clock.after(30, line.monitor.close)
    line.monitor.run()
    assert [detail["progress"] for detail in line.bus.details] == [1, 2]
    assert 2 <= at[0] <= 3.5


def test_late_words_of_a_lost_attempt_are_not_told() -> None:
    """The keeper's thread may still tell progress when the job has ended, or runs again under a higher version."""
    line = Line()
    newer = line.job.model_copy(update={"version": 6, "attempt": 2})
    line.moves(1)
    line.monitor.job("Job Started", newer, None)
    line.moves(2)
    line.monitor.job("Upload Complete", line.job, "prompt-1", files=1)
    line.monitor.ended(newer, version=7)
    line.monitor.progress(newer, "prompt-2", Progress(fraction=1))
    line.clock.pass_time(10)
    line.monitor.flush()
    assert line.bus.kinds == ["Node Progress Update", "Job Started"]
    assert [detail["version"] for detail in line.bus.details] == [1, 6]


def test_when_too_much_waits_progress_goes_first() -> None:
    """The turns of the jobs are kept as long as there is anything lesser to drop."""
    line = Line()
    for _ in range(WAITING_MOST // 2):
        job = new_job()
        line.monitor.progress(job, "p", Progress(fraction=0.5))
        line.monitor.job("Images Generated", job, "p", files=1)
    for _ in range(WAITING_MOST // 2):
        line.monitor.job("Job Started", new_job(), None)
    assert line.monitor.dropped == WAITING_MOST // 2
    line.monitor.progress(line.job, "p", Progress(fraction=0.5))
    line.monitor.job("Images Generated", line.job, "p", files=1)
    line.monitor.flush()
    assert len(line.bus.kinds) == WAITING_MOST and not MOVES & set(line.bus.kinds)
    assert line.monitor.dropped == WAITING_MOST // 2 + 2


def test_a_bus_that_does_not_answer_is_asked_once_a_second_at_most() -> None:
    """Not once for every ten events that wait; and the log hears of it once a minute."""
    line = Line()
    line.bus.is_away = True
    line.clock.after(WARN_S + 10, line.monitor.close)
    for _ in range(WAITING_MOST):
        line.monitor.queue("http://a", 1)
    with structlog.testing.capture_logs() as logs:
        line.monitor.run()
    assert WARN_S <= line.bus.calls <= WARN_S + 11
    assert len([entry for entry in logs if entry["action"] == "events"]) == 2
    assert line.monitor.dropped == WAITING_MOST


def test_a_dead_bus_does_not_hold_up_the_workers_end() -> None:
    """One call that fails, or a second of calls that do not, and the thread is gone; the rest is counted."""
    line = Line()
    line.bus.is_away, line.bus.on_send = True, lambda: line.clock.pass_time(5)
    for _ in range(95):
        line.monitor.queue("http://a", 1)
    line.monitor.close()
    line.monitor.run()
    assert (line.bus.calls, line.monitor.dropped) == (1, 95)
    line = Line()
    line.bus.on_send = lambda: line.clock.pass_time(0.4)
    for _ in range(95):
        line.monitor.queue("http://a", 1)
    line.monitor.close()
    line.monitor.run()
    assert (line.bus.calls, line.monitor.dropped) == (3, 65)


@pytest.mark.parametrize("name", ["\ud800", "x" * 100_000, "🦊" * 1000])
def test_a_strangers_node_names_cannot_end_the_thread(name: str) -> None:
    """Half characters become question marks, and ten of the longest events are far below EventBridge's megabyte."""
    line = Line()
    line.monitor.progress(line.job, "p", Progress(fraction=0.5, node=name, node_class=name))
    line.monitor.flush()
    [[event]] = line.bus.batches
    assert len(event.detail_json().encode()) < 10_000


def test_what_is_remembered_of_jobs_is_bounded() -> None:
    """A worker lives for months."""
    line = Line()
    for _ in range(2 * JOBS_MOST):
        line.monitor.progress(new_job(), "p", Progress(fraction=0.5))
        line.monitor.flush()
    assert len(line.monitor._told) == JOBS_MOST
