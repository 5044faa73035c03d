"""Be a job, its result and its files, for programs that block."""

from __future__ import annotations

import builtins
import io
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from comfysheet._api import new_key
from comfysheet._bar import Wish, watching
from comfysheet._downloads import download
from comfysheet._facts import JobFacts, Line, OutputFacts, check_success
from comfysheet._files import Part, Received, free_places, is_same, place_of, taken
from comfysheet._records import record
from comfysheet._wires import Wires
from comfysheet.values import JobInfo, OutputInfo

_IN_MEMORY_BYTES = 32 * 1024 * 1024


class Output(OutputFacts):
    """Be one file that a job made. It saves itself."""

    def __init__(self, line: Line[Wires], info: OutputInfo) -> None:
        self._line = line
        self.info = info

    def save(self, path: str | os.PathLike[str] | None = None, *, overwrite: bool = False) -> Path:
        """
        Save it as *path*, into *path* when that is a folder, or here under its own name; answer where it is.

        The file appears whole or not at all. Another file in its place stays: `FileExistsError`; one with the very
        same content counts as saved. Raise `DownloadFailed` or `Unreachable`.
        """
        target = place_of(path, self.info)
        if target.exists() and not overwrite:
            if is_same(target, self.info):
                return target
            raise taken(target)
        with Part(target) as part:
            self._fetch(part.file)
            return part.keep(overwrite=overwrite)

    def bytes(self) -> builtins.bytes:
        """Give its content."""
        buffer = io.BytesIO()
        self._fetch(buffer)
        return buffer.getvalue()

    def open(self) -> BinaryIO:
        """Give its content as a file to read; a large one lies on disk until it is closed."""
        file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES)  # noqa: SIM115
        try:
            self._fetch(file)  # type: ignore[arg-type]
            file.seek(0)
        except BaseException:
            file.close()
            raise
        return file  # type: ignore[return-value]

    def _fetch(self, file: BinaryIO) -> None:
        self._line.wires.run(download(self._line.api, self.info, Received(file)))


class Result:
    """Be what a job that succeeded has made."""

    def __init__(self, line: Line[Wires], info: JobInfo) -> None:
        self.job = Job(line, info)
        self.outputs = self.job.outputs

    def save_all(self, folder: str | os.PathLike[str] = ".", *, prefix: str = "") -> list[Path]:
        """Save all files into *folder*, their names after *prefix*; a name that is taken gets a number."""
        return [self._save(output, Path(folder), prefix) for output in self.outputs]

    def _save(self, output: Output, folder: Path, prefix: str) -> Path:
        wanted = place_of(None, output.info)
        for target in free_places(folder / f"{prefix}{wanted}"):
            try:
                return output.save(target)
            except FileExistsError:
                continue
        raise AssertionError("places do not end")

    def __iter__(self) -> Iterator[Output]:
        return iter(self.outputs)

    def __repr__(self) -> str:
        return f"<Result of {self.job.id}: {self.outputs}>"


class Job(JobFacts):
    """Be a job on the server. Its facts are those of the last look; `refresh` and `wait` look again."""

    def __init__(self, line: Line[Wires], info: JobInfo) -> None:
        self._line = line
        self.info = info

    @property
    def outputs(self) -> tuple[Output, ...]:
        """Give the files that are known of; a job of a list knows them after `refresh` or `wait`."""
        return tuple(Output(self._line, one) for one in self.info.outputs)

    def refresh(self) -> Job:
        """Look again."""
        self.info = self._line.wires.run(self._line.api.show(self.id))
        return self

    def wait(self, timeout: float | None = None, *, progress: Wish = False) -> Job:
        """Wait until it has ended, however; raise `Timeout` after *timeout* seconds (it goes on)."""
        if not (self.is_ended and self.info.is_whole):
            with watching(progress) as watch:
                self.info = self._line.wires.run(self._line.api.wait(self.id, timeout, watch))
        return self

    def result(self, timeout: float | None = None, *, progress: Wish = False) -> Result:
        """Wait for its result; raise `JobFailed`, `JobCanceled` or `Timeout`."""
        check_success(self.wait(timeout, progress=progress).info)
        return Result(self._line, self.info)

    def cancel(self) -> Job:
        """Cancel it; a job that has ended stays as it is."""
        self.info = self._line.wires.run(self._line.api.cancel(self.id))
        return self

    def retry(self) -> Job:
        """Make a new job of it, of the same workflow and inputs; only of one that has ended."""
        return Job(self._line, self._line.wires.run(self._line.api.retry(self.id, new_key())))

    def log(self) -> str:
        """Give the record of its run as JSON lines; raise `NotFound` before there is one."""
        return self._line.wires.run(record(self._line.api, self.id))
