"""
Say until when this worker works: on a machine that is rented by the hour, or for a night on a cluster.

- A time limit (END_AT, RUN_FOR_S): a job is begun only if it is expected to have ended before. Of a workflow that never
  ran here nothing is known: it is begun. The first job that does not fit is left to others, and no more are taken:
  handing message after message back would wear them out. What still runs shortly before the limit is handed back.
- Idleness (IDLE_END_S): when for so long nothing was rendered, the worker ends. A message that this worker cannot
  render is no job.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Final

import structlog

from worker.clock import Clock

SPARE_S: Final = 15.0
"""Kept before the limit for uploads, for handing back, and for ending a ComfyUI of ours."""
LOOK_S: Final = 1.0

log = structlog.get_logger()


class Hours:
    """Watch the time; *on_end* hears once that it is over. `run` on a thread of its own. None: no such bound."""

    def __init__(
        self,
        clock: Clock,
        *,
        ends_at: int | None = None,
        idle_end_s: float | None = None,
        is_rendering: Callable[[], bool] = lambda: False,
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        """*ends_at*: milliseconds since the epoch. *is_rendering*: whether a job is in hand now."""
        self._clock = clock
        self._ends_at = ends_at
        self._idle_end_s = idle_end_s
        self._is_rendering = is_rendering
        self._on_end = on_end
        self._job_at = clock.monotonic()
        self._closing = threading.Event()

    @property
    def is_bounded(self) -> bool:
        """Say whether there is a time limit, so that jobs must be weighed."""
        return self._ends_at is not None

    def left_s(self) -> float:
        """Say how long jobs may still run; infinite without a limit."""
        if self._ends_at is None:
            return math.inf
        return max(0.0, (self._ends_at - self._clock.now_ms()) / 1000 - SPARE_S)

    def has_time_for(self, expected_s: float | None) -> bool:
        """Say whether a job that takes so long may be begun; None: nobody knows how long it takes."""
        left_s = self.left_s()
        return left_s > 0 if expected_s is None else expected_s <= left_s

    def note_job(self) -> None:
        """Note that a job is begun, or over."""
        self._job_at = self._clock.monotonic()

    def run(self) -> None:
        """Look each second until the time is over; then, and without any bound, wait for `close`."""
        while not self._closing.is_set() and (self.is_bounded or self._idle_end_s is not None):
            if (why := self._why_over()) is not None:
                log.info("the worker ends by itself", action="hours", reason=why)
                self._on_end()
                break
            self._clock.wait(self._closing, min(LOOK_S, max(0.01, self.left_s())))
        self._closing.wait()

    def close(self) -> None:
        """End `run`."""
        self._closing.set()

    def _why_over(self) -> str | None:
        if self.left_s() <= 0:
            return "its time limit is near"
        if self._is_rendering():
            self.note_job()
        if self._idle_end_s is not None and self._clock.monotonic() - self._job_at >= self._idle_end_s:
            return f"no job for {self._idle_end_s:g} s"
        return None
