"""Do the rows of an awaited `map`: a few tasks, each with one row; `comfysheet._crew` with await."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from comfysheet._api import Asked
from comfysheet._crew import CANCEL_PATIENCE_S, LEAVE_S
from comfysheet._facts import Done, Line
from comfysheet._inputs import Row
from comfysheet._rows import RowKeys, do_row
from comfysheet._wires import AsyncWires
from comfysheet.errors import ComfySheetError
from comfysheet.values import JobInfo


@dataclass(frozen=True)
class _Shift:
    """Hold what the tasks of one map share."""

    asked: Asked
    keys: RowKeys
    timeout_s: float | None
    patience_s: float
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    out: set[str] = field(default_factory=set)


class AsyncCrew:
    """Do rows over one line."""

    def __init__(self, line: Line[AsyncWires]) -> None:
        self._line = line

    async def work(
        self,
        asked: Asked,
        rows: Iterable[Row] | AsyncIterable[Row],
        keys: RowKeys,
        in_flight: int,
        timeout_s: float | None,
        patience_s: float,
    ) -> AsyncGenerator[Done[JobInfo]]:
        """Give the rows as they end; whatever ends this early cancels the jobs that are out."""
        shift = _Shift(asked, keys, timeout_s, patience_s)
        tasks: set[asyncio.Task[Done[JobInfo]]] = set()
        waiting = _each(rows)
        index, is_over = 0, False
        try:
            while True:
                while len(tasks) < in_flight and not is_over:
                    try:
                        row = await anext(waiting)
                    except StopAsyncIteration:
                        is_over = True
                        break
                    tasks.add(asyncio.create_task(self._do(shift, index, keys.mark(row), row)))
                    index += 1
                if not tasks:
                    return
                ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in ended:
                    tasks.discard(task)
                    yield task.result()
        finally:
            await self._end(shift, tasks)

    async def cancel(self, job_ids: Iterable[str]) -> None:
        """Cancel jobs as well as a short while allows."""
        for job_id in job_ids:
            with suppress(ComfySheetError):
                await self._line.wires.run(self._line.api.cancel(job_id, patience_s=CANCEL_PATIENCE_S))

    async def _do(self, shift: _Shift, index: int, nth: int, row: Mapping[str, Any]) -> Done[JobInfo]:
        def submitted(job: JobInfo) -> None:
            mine.append(job.id)
            shift.out.add(job.id)

        mine: list[str] = []
        plan = do_row(
            self._line.api,
            self._line.uploads,
            replace(shift.asked, inputs=row),
            shift.keys,
            nth,
            timeout_s=shift.timeout_s,
            patience_s=shift.patience_s,
            submitted=submitted,
        )
        ended = await self._line.wires.run(plan, shift.stop)
        shift.out.difference_update(mine)
        if isinstance(ended, JobInfo):
            return Done(index, row, result=ended)
        return Done(index, row, error=ended)

    async def _end(self, shift: _Shift, tasks: set[asyncio.Task[Done[JobInfo]]]) -> None:
        shift.stop.set()
        # First the jobs that are known: their long polls are answered then, and the tasks are free.
        known = set(shift.out)
        await self.cancel(known)
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=LEAVE_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        # A job whose submission was on its way meanwhile.
        await self.cancel(shift.out - known)


async def _each(rows: Iterable[Row] | AsyncIterable[Row]) -> AsyncIterator[Row]:
    if isinstance(rows, AsyncIterable):
        async for row in rows:
            yield row
    else:
        for row in rows:
            yield row
