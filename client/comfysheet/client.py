"""
Ask a ComfySheet for pictures and wait for them.

    with ComfySheet(url, key) as sheet:
        result = sheet.run("txt2img-sdxl", prompt="a fox in the snow")
        result.outputs[0].save("fox.png")
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar
from weakref import WeakSet

from comfysheet._api import Asked, new_key, pages
from comfysheet._bar import Wish
from comfysheet._crew import Crew
from comfysheet._facts import Done, Line
from comfysheet._inputs import Row, prepare, prepare_graph
from comfysheet._plan import Surroundings
from comfysheet._rows import RowKeys, check_in_flight
from comfysheet._settings import configured
from comfysheet._uploads import Source, Uploads
from comfysheet._wires import Wires
from comfysheet.jobs import Job, Result
from comfysheet.values import Asset, JobInfo, WorkflowInfo

R = TypeVar("R")
Rows = Generator[Done[R], None, None]
MAP_PATIENCE_S = 600.0
"""How long a row of a `map` waits for a place in the queue or an answer, before the map ends."""


class ComfySheet:
    """
    Be a client of the API at *url* with *key* (else COMFYSHEET_URL and COMFYSHEET_KEY). Threads may share it.

    A request that meets a broken line, 429, 502, 503 or 504 is repeated for *patience* seconds; submissions carry an
    idempotency key, so that this never makes a job twice. Raise `NotConfigured`.
    """

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        patience: float = 60.0,
        wires: Wires | None = None,
        around: Surroundings = Surroundings(),  # noqa: B008
    ) -> None:
        api = configured(url, key, os.environ, patience_s=patience, around=around)
        self._line = Line(api, wires or Wires(), Uploads(api))
        self._maps: WeakSet[Rows[Result]] = WeakSet()

    @property
    def url(self) -> str:
        """Give the API's address."""
        return self._line.api.url

    # -- one job --------------------------------------------------------------------------------------------------

    def run(
        self,
        workflow: str,
        inputs: Row | None = None,
        /,
        *,
        timeout: float | None = None,
        progress: Wish = None,
        **named: Any,
    ) -> Result:
        """
        Make a job of *workflow* and wait for its result. Ctrl-C cancels it.

        Inputs are given by name, or as a mapping (for those whose names are options here). A `Path` is uploaded.
        *progress*: None draws a bar on a terminal; a function is told each change of the job. Raise `Rejected`,
        `JobFailed`, `JobCanceled`, `Timeout` (after *timeout* seconds; the job goes on) and the rest of
        `comfysheet.errors`.
        """
        return self._finish(self.submit(workflow, inputs, **named), timeout, progress)

    def run_graph(
        self, graph: Mapping[str, Any], *, timeout: float | None = None, progress: Wish = None, **options: Any
    ) -> Result:
        """Run a raw graph in ComfyUI's API format (for keys that may) and wait for its result, as `run` does."""
        return self._finish(self.submit_graph(graph, **options), timeout, progress)

    def submit(
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
    ) -> Job:
        """Make a job and do not wait. The same *idempotency_key* with the same inputs is the same job."""
        ready = self._line.wires.run(prepare({**(inputs or {}), **named}, self._line.uploads))
        asked = Asked(workflow, ready, None, priority, tuple(tags), metadata or {}, webhook_url)
        return self._submit(asked, idempotency_key)

    def submit_graph(
        self,
        graph: Mapping[str, Any],
        *,
        idempotency_key: str | None = None,
        priority: int | None = None,
        tags: Sequence[str] = (),
        metadata: Mapping[str, str] | None = None,
        webhook_url: str | None = None,
    ) -> Job:
        """Make a job of a raw graph and do not wait."""
        ready = self._line.wires.run(prepare_graph(graph, self._line.uploads))
        asked = Asked("", {}, ready, priority, tuple(tags), metadata or {}, webhook_url)
        return self._submit(asked, idempotency_key)

    def _submit(self, asked: Asked, key: str | None) -> Job:
        plan = self._line.api.submit(asked, new_key() if key is None else key)
        return Job(self._line, self._line.wires.run(plan))

    def _finish(self, job: Job, timeout: float | None, progress: Wish) -> Result:
        try:
            return job.result(timeout, progress=progress)
        except KeyboardInterrupt:
            self._crew.cancel([job.id])
            raise

    # -- many jobs ------------------------------------------------------------------------------------------------

    def map(
        self,
        workflow: str,
        rows: Iterable[Row],
        *,
        in_flight: int = 8,
        key: str | None = None,
        timeout: float | None = None,
        patience: float = MAP_PATIENCE_S,
        raise_failures: bool = False,
        priority: int | None = None,
        tags: Sequence[str] = (),
    ) -> Rows[Result]:
        """
        Make a job of each row, *in_flight* of them at once, and give what becomes of each, as it comes.

        Rows are asked for when there is room for them. With *key* the same rows can be run again after any end: what
        has succeeded is found, what has not is made anew. A row's own failure is a value (`Done.error`), or raised with
        *raise_failures*; what would fail them all is raised. Whatever ends it early cancels what is out.
        """
        check_in_flight(in_flight)
        asked = Asked(workflow, {}, None, priority, tuple(tags))
        asks = ((replace(asked, inputs=row), row) for row in rows)
        done = self._crew.work(asks, RowKeys(key), in_flight, timeout, patience)
        given = _given(self._line, done, raise_failures)
        self._maps.add(given)
        return given

    @property
    def _crew(self) -> Crew:
        return Crew(self._line)

    # -- looking --------------------------------------------------------------------------------------------------

    def job(self, job_id: str) -> Job:
        """Find a job by its id."""
        return Job(self._line, self._line.wires.run(self._line.api.show(job_id)))

    def jobs(self, *, status: str | None = None, workflow: str | None = None, tag: str | None = None) -> Iterator[Job]:
        """Go through the jobs of this key's client, newest first, page by page."""
        api, wires = self._line.api, self._line.wires
        found = pages(lambda cursor: wires.run(api.page(cursor, status=status, workflow=workflow, tag=tag)))
        return (Job(self._line, info) for info in found)

    def workflows(self) -> tuple[WorkflowInfo, ...]:
        """List the workflows that may be asked for."""
        return self._line.wires.run(self._line.api.workflows())

    def workflow(self, workflow_id: str) -> WorkflowInfo:
        """Show one workflow with its parameters."""
        return self._line.wires.run(self._line.api.workflow(workflow_id))

    def upload(self, source: str | os.PathLike[str] | bytes, *, name: str | None = None) -> Asset:
        """Upload a file, or bytes under a *name*; the same content is kept once. Give the asset as an input."""
        if isinstance(source, bytes):
            return self._line.wires.run(self._line.uploads.upload(Source.of_bytes(source, name or "file.bin")))
        return self._line.wires.run(self._line.uploads.upload(Source.of_path(Path(source), name)))

    # -- the end --------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """End the maps that are going on (which cancels what they have out) and close all connections."""
        for each in list(self._maps):
            each.close()
        self._line.wires.close()

    def __enter__(self) -> ComfySheet:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<ComfySheet {self.url}>"


def _given(line: Line[Wires], done: Rows[JobInfo], raise_failures: bool) -> Rows[Result]:
    with closing(done):
        for each in done:
            if each.error is not None and raise_failures:
                raise each.error
            yield Done(each.index, each.inputs, Result(line, each.result) if each.result else None, each.error)
