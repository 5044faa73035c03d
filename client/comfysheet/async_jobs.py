"""Be a job, its result and its files, for programs within asyncio: `comfysheet.jobs` with await."""

from __future__ import annotations

import builtins
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from comfysheet._api import new_key
from comfysheet._bar import Wish, watching
from comfysheet._downloads import download
from comfysheet._facts import JobFacts, Line, OutputFacts, check_success
from comfysheet._files import Part, Received, free_places, is_same, place_of, taken
from comfysheet._records import record
from comfysheet._wires import AsyncWires
from comfysheet.values import JobInfo, OutputInfo


class AsyncOutput(OutputFacts):
    """Be one file that a job made. It saves itself."""

    def __init__(self, line: Line[AsyncWires], info: OutputInfo) -> None:
        self._line = line
        self.info = info

    async def save(self, path: str | os.PathLike[str] | None = None, *, overwrite: bool = False) -> Path:
        """Save it, as `Output.save` does."""
        target = place_of(path, self.info)
        if target.exists() and not overwrite:
            if is_same(target, self.info):
                return target
            raise taken(target)
        with Part(target) as part:
            await self._fetch(part.file)
            return part.keep(overwrite=overwrite)

    async def bytes(self) -> builtins.bytes:
        """Give its content."""
        buffer = io.BytesIO()
        await self._fetch(buffer)
        return buffer.getvalue()

    async def _fetch(self, file: BinaryIO) -> None:
        await self._line.wires.run(download(self._line.api, self.info, Received(file)))


class AsyncResult:
    """Be what a job that succeeded has made."""

    def __init__(self, line: Line[AsyncWires], info: JobInfo) -> None:
        self.job = AsyncJob(line, info)
        self.outputs = self.job.outputs

    async def save_all(self, folder: str | os.PathLike[str] = ".", *, prefix: str = "") -> list[Path]:
        """Save all files into *folder*, their names after *prefix*; a name that is taken gets a number."""
        return [await self._save(output, Path(folder), prefix) for output in self.outputs]

    async def _save(self, output: AsyncOutput, folder: Path, prefix: str) -> Path:
        wanted = place_of(None, output.info)
        for target in free_places(folder / f"{prefix}{wanted}"):
            try:
                return await output.save(target)
            except FileExistsError:
                continue
        raise AssertionError("places do not end")

    def __iter__(self) -> Iterator[AsyncOutput]:
        return iter(self.outputs)

    def __repr__(self) -> str:
        return f"<AsyncResult of {self.job.id}: {self.outputs}>"


class AsyncJob(JobFacts):
    """Be a job on the server. Its facts are those of the last look; `refresh` and `wait` look again."""

    def __init__(self, line: Line[AsyncWires], info: JobInfo) -> None:
        self._line = line
        self.info = info

    @property
    def outputs(self) -> tuple[AsyncOutput, ...]:
        """Give the files that are known of; a job of a list knows them after `refresh` or `wait`."""
        return tuple(AsyncOutput(self._line, one) for one in self.info.outputs)

    async def refresh(self) -> AsyncJob:
        """Look again."""
        self.info = await self._line.wires.run(self._line.api.show(self.id))
        return self

    async def wait(self, timeout: float | None = None, *, progress: Wish = False) -> AsyncJob:
        """Wait until it has ended, however; raise `Timeout` after *timeout* seconds (it goes on)."""
        if not (self.is_ended and self.info.is_whole):
            with watching(progress) as watch:
                self.info = await self._line.wires.run(self._line.api.wait(self.id, timeout, watch))
        return self

    async def result(self, timeout: float | None = None, *, progress: Wish = False) -> AsyncResult:
        """Wait for its result; raise `JobFailed`, `JobCanceled` or `Timeout`."""
        check_success((await self.wait(timeout, progress=progress)).info)
        return AsyncResult(self._line, self.info)

    async def cancel(self) -> AsyncJob:
        """Cancel it; a job that has ended stays as it is."""
        self.info = await self._line.wires.run(self._line.api.cancel(self.id))
        return self

    async def retry(self) -> AsyncJob:
        """Make a new job of it, of the same workflow and inputs; only of one that has ended."""
        return AsyncJob(self._line, await self._line.wires.run(self._line.api.retry(self.id, new_key())))

    async def log(self) -> str:
        """Give the record of its run as JSON lines; raise `NotFound` before there is one."""
        return await self._line.wires.run(record(self._line.api, self.id))
