"""
Do the rows of a blocking `map`: a few threads, each with one row at a time.

Threads, because a row mostly waits in a long poll. They are daemons: a program that is stopped does not wait for them.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from comfysheet._api import Asked
from comfysheet._facts import Done, Line
from comfysheet._rows import RowKeys, do_row
from comfysheet._wires import Stopped, Wires
from comfysheet.errors import ComfySheetError
from comfysheet.values import JobInfo

CANCEL_PATIENCE_S: Final = 3.0
"""How long each job's cancellation is tried when all is to end."""
LEAVE_S: Final = 5.0
"""How long a row that is just being submitted may take to find that all is to end."""


@dataclass(frozen=True)
class _Turn:
    index: int
    nth: int
    asked: Asked
    row: Mapping[str, Any]


@dataclass(frozen=True)
class _Shift:
    """Hold what the threads of one map share."""

    keys: RowKeys
    timeout_s: float | None
    patience_s: float
    turns: queue.SimpleQueue[_Turn | None]
    ended: queue.SimpleQueue[Done[JobInfo] | BaseException]
    stop: threading.Event
    out: set[str]


def _next(ended: queue.SimpleQueue[Done[JobInfo] | BaseException]) -> Done[JobInfo] | BaseException:
    while True:
        # With a limit: on Windows Ctrl-C does not come through a wait without one.
        with suppress(queue.Empty):
            return ended.get(timeout=0.5)


class Crew:
    """Do rows over one line."""

    def __init__(self, line: Line[Wires]) -> None:
        self._line = line

    def work(
        self,
        asks: Iterable[tuple[Asked, Mapping[str, Any]]],
        keys: RowKeys,
        in_flight: int,
        timeout_s: float | None,
        patience_s: float,
    ) -> Generator[Done[JobInfo], None, None]:
        """Give the rows as they end; whatever ends this early cancels the jobs that are out."""
        shift = _Shift(keys, timeout_s, patience_s, queue.SimpleQueue(), queue.SimpleQueue(), threading.Event(), set())
        threads: list[threading.Thread] = []
        rows = enumerate(iter(asks))
        busy, is_over = 0, False
        try:
            while True:
                while busy < in_flight and not is_over:
                    index, ask = next(rows, (0, None))
                    if ask is None:
                        is_over = True
                        break
                    asked, row = ask
                    shift.turns.put(_Turn(index, keys.mark(row), asked, row))
                    busy += 1
                    if len(threads) < busy:
                        threads.append(self._start(shift))
                if not busy:
                    return
                one = _next(shift.ended)
                busy -= 1
                if isinstance(one, BaseException):
                    raise one
                yield one
        finally:
            self._end(shift, threads)

    def cancel(self, job_ids: Iterable[str]) -> None:
        """Cancel jobs as well as a short while allows."""
        for job_id in job_ids:
            with suppress(ComfySheetError):
                self._line.wires.run(self._line.api.cancel(job_id, patience_s=CANCEL_PATIENCE_S))

    def _start(self, shift: _Shift) -> threading.Thread:
        thread = threading.Thread(target=self._do_turns, args=(shift,), name="comfysheet-map", daemon=True)
        thread.start()
        return thread

    def _do_turns(self, shift: _Shift) -> None:
        while (turn := shift.turns.get()) is not None and not shift.stop.is_set():
            try:
                shift.ended.put(self._do(shift, turn))
            except Stopped:
                return
            except BaseException as error:
                # Whatever it is, it is raised where the map is used.
                shift.ended.put(error)

    def _do(self, shift: _Shift, turn: _Turn) -> Done[JobInfo]:
        def submitted(job: JobInfo) -> None:
            mine.append(job.id)
            shift.out.add(job.id)

        mine: list[str] = []
        plan = do_row(
            self._line.api,
            self._line.uploads,
            turn.asked,
            shift.keys,
            turn.nth,
            timeout_s=shift.timeout_s,
            patience_s=shift.patience_s,
            submitted=submitted,
        )
        ended = self._line.wires.run(plan, shift.stop)
        shift.out.difference_update(mine)
        if isinstance(ended, JobInfo):
            return Done(turn.index, turn.row, result=ended)
        return Done(turn.index, turn.row, error=ended)

    def _end(self, shift: _Shift, threads: list[threading.Thread]) -> None:
        shift.stop.set()
        for _ in threads:
            shift.turns.put(None)
        # First the jobs that are known: their long polls are answered then, and the threads are free.
        while shift.out:
            known = set(shift.out)
            self.cancel(known)
            shift.out.difference_update(known)
        for thread in threads:
            thread.join(LEAVE_S)
        # A job whose submission was on its way meanwhile.
        self.cancel(set(shift.out))
