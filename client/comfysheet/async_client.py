"""
Ask a ComfySheet for pictures within asyncio: `comfysheet.client` with await.

    async with AsyncComfySheet(url, key) as sheet:
        result = await sheet.run("txt2img-sdxl", prompt="a fox in the snow")
        await result.outputs[0].save("fox.png")
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar
from weakref import WeakSet

from comfysheet._api import Asked, new_key
from comfysheet._async_crew import AsyncCrew
from comfysheet._bar import Wish
from comfysheet._facts import Done, Line
from comfysheet._inputs import Row, prepare, prepare_graph
from comfysheet._plan import Surroundings
from comfysheet._rows import RowKeys, check_in_flight
from comfysheet._settings import configured
from comfysheet._uploads import Source, Uploads
from comfysheet._wires import AsyncWires
from comfysheet.async_jobs import AsyncJob, AsyncResult
from comfysheet.client import MAP_PATIENCE_S
from comfysheet.values import Asset, JobInfo, WorkflowInfo

R = TypeVar("R")
AsyncRows = AsyncGenerator[Done[R], None]


class AsyncComfySheet:
    """Be `ComfySheet` for asyncio: the same names, the same arguments, the same errors."""

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        patience: float = 60.0,
        wires: AsyncWires | None = None,
        around: Surroundings = Surroundings(),  # noqa: B008
    ) -> None:
        api = configured(url, key, os.environ, patience_s=patience, around=around)
        self._line = Line(api, wires or AsyncWires(), Uploads(api))
        self._maps: WeakSet[AsyncRows[AsyncResult]] = WeakSet()

    @property
    def url(self) -> str:
        """Give the API's address."""
        return self._line.api.url

    # -- one job --------------------------------------------------------------------------------------------------

    async def run(
        self,
        workflow: str,
        inputs: Row | None = None,
        /,
        *,
        timeout: float | None = None,
        progress: Wish = None,
        **named: Any,
    ) -> AsyncResult:
        """Make a job of *workflow* and wait for its result, as `ComfySheet.run` does. Its task's end cancels it."""
        return await self._finish(await self.submit(workflow, inputs, **named), timeout, progress)

    async def run_graph(
        self, graph: Mapping[str, Any], *, timeout: float | None = None, progress: Wish = None, **options: Any
    ) -> AsyncResult:
        """Run a raw graph in ComfyUI's API format (for keys that may) and wait for its result."""
        return await self._finish(await self.submit_graph(graph, **options), timeout, progress)

    async def submit(
        self,
        workflow: str,
        inputs: Row | None = None,
        /,
        *,
        idempotency_key: str | None = None,
        priority: int | None = None,
        tags: Sequence[str] = (),
        metadata: Mapping[str, str] | None = None,
        webhook_url: str | None = None,
        **named: Any,
    ) -> AsyncJob:
        """Make a job and do not wait. The same *idempotency_key* with the same inputs is the same job."""
        ready = await self._line.wires.run(prepare({**(inputs or {}), **named}, self._line.uploads))
        asked = Asked(workflow, ready, None, priority, tuple(tags), metadata or {}, webhook_url)
        return await self._submit(asked, idempotency_key)

    async def submit_graph(
        self,
        graph: Mapping[str, Any],
        *,
        idempotency_key: str | None = None,
        priority: int | None = None,
        tags: Sequence[str] = (),
        metadata: Mapping[str, str] | None = None,
        webhook_url: str | None = None,
    ) -> AsyncJob:
        """Make a job of a raw graph and do not wait."""
        ready = await self._line.wires.run(prepare_graph(graph, self._line.uploads))
        asked = Asked("", {}, ready, priority, tuple(tags), metadata or {}, webhook_url)
        return await self._submit(asked, idempotency_key)

    async def _submit(self, asked: Asked, key: str | None) -> AsyncJob:
        plan = self._line.api.submit(asked, new_key() if key is None else key)
        return AsyncJob(self._line, await self._line.wires.run(plan))

    async def _finish(self, job: AsyncJob, timeout: float | None, progress: Wish) -> AsyncResult:
        try:
            return await job.result(timeout, progress=progress)
        except asyncio.CancelledError:
            await AsyncCrew(self._line).cancel([job.id])
            raise

    # -- many jobs ------------------------------------------------------------------------------------------------

    def map(
        self,
        workflow: str,
        rows: Iterable[Row] | AsyncIterable[Row],
        *,
        in_flight: int = 8,
        key: str | None = None,
        timeout: float | None = None,
        patience: float = MAP_PATIENCE_S,
        raise_failures: bool = False,
        priority: int | None = None,
        tags: Sequence[str] = (),
    ) -> AsyncRows[AsyncResult]:
        """
        Make a job of each row, *in_flight* at once, and give what becomes of each, as `ComfySheet.map` does.

        Leaving the loop early ends the map once its generator is closed: at once within `contextlib.aclosing`.
        """
        check_in_flight(in_flight)
        asked = Asked(workflow, {}, None, priority, tuple(tags))
        done = AsyncCrew(self._line).work(asked, rows, RowKeys(key), in_flight, timeout, patience)
        given = _given(self._line, done, raise_failures)
        self._maps.add(given)
        return given

    # -- looking --------------------------------------------------------------------------------------------------

    async def job(self, job_id: str) -> AsyncJob:
        """Find a job by its id."""
        return AsyncJob(self._line, await self._line.wires.run(self._line.api.show(job_id)))

    async def jobs(
        self, *, status: str | None = None, workflow: str | None = None, tag: str | None = None
    ) -> AsyncIterator[AsyncJob]:
        """Go through the jobs of this key's client, newest first, page by page."""
        cursor: str | None = None
        while True:
            plan = self._line.api.page(cursor, status=status, workflow=workflow, tag=tag)
            found, cursor = await self._line.wires.run(plan)
            for info in found:
                yield AsyncJob(self._line, info)
            if not cursor:
                return

    async def workflows(self) -> tuple[WorkflowInfo, ...]:
        """List the workflows that may be asked for."""
        return await self._line.wires.run(self._line.api.workflows())

    async def workflow(self, workflow_id: str) -> WorkflowInfo:
        """Show one workflow with its parameters."""
        return await self._line.wires.run(self._line.api.workflow(workflow_id))

    async def upload(self, source: str | os.PathLike[str] | bytes, *, name: str | None = None) -> Asset:
        """Upload a file, or bytes under a *name*; the same content is kept once. Give the asset as an input."""
        if isinstance(source, bytes):
            return await self._line.wires.run(self._line.uploads.upload(Source.of_bytes(source, name or "file.bin")))
        return await self._line.wires.run(self._line.uploads.upload(Source.of_path(Path(source), name)))

    # -- the end --------------------------------------------------------------------------------------------------

    async def close(self) -> None:
        """End the maps that are going on (which cancels what they have out) and close all connections."""
        for each in list(self._maps):
            await each.aclose()
        await self._line.wires.close()

    async def __aenter__(self) -> AsyncComfySheet:
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<AsyncComfySheet {self.url}>"


async def _given(line: Line[AsyncWires], done: AsyncRows[JobInfo], raise_failures: bool) -> AsyncRows[AsyncResult]:
    async with aclosing(done):
        async for each in done:
            if each.error is not None and raise_failures:
                raise each.error
            yield Done(each.index, each.inputs, AsyncResult(line, each.result) if each.result else None, each.error)
