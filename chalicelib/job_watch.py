"""
Wait for a job within one call: until it has ended, or until it has moved.

A call that waits keeps one of the account's few concurrent calls to itself. So a client has `WAITS_MOST` of them at a
time; whoever asks for more is told at once how things stand, as if the wait were over.

A Lambda cannot stream through API Gateway's REST APIs, so `events` is what the contract's stream says, cut into pieces:
a call waits for something new, tells it and ends; comfy-sdk looks at the job and comes again (docs/decisions/0014).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from chalicelib.contract.errors import Unavailable
from chalicelib.contract.job import Job
from chalicelib.contract.ports import Seats
from chalicelib.contract.states import TERMINAL
from chalicelib.job_view import JobView, OutputView, job_view

log = logging.getLogger(__name__)

MAX_WAIT_S: Final = 20
WAITS_MOST: Final = 16
"""Calls of one client, of all its keys, that wait at the same time."""
SLACK_MS: Final = 5_000
"""How long after its wait a call that died still counts as waiting."""
EVENTS_WAIT_S: Final = 15.0
"""comfy-sdk 0.5.0 gives a stream up after 45 s of silence, an ordinary call after 30."""
STANDING_S: Final = 1.5
"""How long a call waits that got no seat: programs that connect again at once would ask several times a second."""
FIRST_PAUSE_S: Final = 0.3
PAUSE_GROWTH: Final = 1.25
PAUSE_MOST_S: Final = 1.0


@dataclass(frozen=True)
class Clock:
    """Tell the time (monotonic, seconds) and let it pass."""

    monotonic: Callable[[], float]
    sleep: Callable[[float], None]


@contextmanager
def waiting_room(seats: Seats, client_id: str, patience_s: float, now_ms: Callable[[], int]) -> Iterator[float]:
    """
    Give how long (s) a call of *client_id* may wait that wants to wait *patience_s*: that, or a moment.

    When the seats cannot be counted everybody may wait: a bound is worth less than the service.
    """
    if patience_s <= 0:
        yield 0.0
        return
    now, seat = now_ms(), ""
    try:
        seat = seats.take(client_id, WAITS_MOST, now=now, until=now + round(patience_s * 1000) + SLACK_MS) or ""
        patience_s = patience_s if seat else min(patience_s, STANDING_S)
    except Unavailable as reason:
        log.warning("wait not counted", extra={"client_id": client_id, "reason": reason.message})
    try:
        yield patience_s
    finally:
        if seat:
            try:
                seats.leave(client_id, seat, now=now_ms())
            except Unavailable as reason:
                log.warning("wait not ended", extra={"client_id": client_id, "reason": reason.message})


def wait_for_end(job: Job, read: Callable[[], Job | None], clock: Clock, patience_s: float) -> Job:
    """Answer *job* as soon as it has ended, or as it is when *patience_s* is over."""
    return _wait(job, read, clock, patience_s, lambda now: now.state in TERMINAL)


def events_of(job: Job, read: Callable[[], Job | None], clock: Clock, patience_s: float = EVENTS_WAIT_S) -> str:
    """
    Give the stream's next piece, as server-sent events: where the job stands, and what has changed since.

    Of an ended job: all outputs, then its status, which ends the stream for good.
    """
    then = job
    if job.state not in TERMINAL:
        job = _wait(job, read, clock, patience_s, lambda now: _shown(now) != _shown(then))
    return "".join(_frames(then, job))


def _wait(
    job: Job, read: Callable[[], Job | None], clock: Clock, patience_s: float, is_it: Callable[[Job], bool]
) -> Job:
    end, pause = clock.monotonic() + patience_s, FIRST_PAUSE_S
    while not is_it(job):
        left = end - clock.monotonic()
        if left <= 0:
            break
        clock.sleep(min(pause, left))
        pause = min(PAUSE_MOST_S, pause * PAUSE_GROWTH)
        job = read() or job
    return job


def _shown(job: Job) -> tuple[object, ...]:
    return job.state, job.progress, len(job.outputs)


def _frames(then: Job, now: Job) -> Iterator[str]:
    before, view = job_view(then), job_view(now)
    has_ended = now.state in TERMINAL
    if then.state not in TERMINAL:
        yield _status(before)
        yield from _progress(before)
    known = set() if has_ended else {output.id for output in before.outputs}
    yield from (_output(output) for output in view.outputs if output.id not in known)
    if view.progress != before.progress:
        yield from _progress(view)
    if has_ended or view.status != before.status:
        yield _status(view)


def _progress(view: JobView) -> Iterator[str]:
    if view.progress is not None:
        yield _frame("progress", view.progress.model_dump(mode="json"))


def _output(output: OutputView) -> str:
    return _frame("output", output.model_dump(mode="json"))


def _status(view: JobView) -> str:
    return _frame("status", {"status": view.status, "queue_position": view.queue_position})


def _frame(event: str, data: Mapping[str, Any]) -> str:
    return f"event: {event}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n"
