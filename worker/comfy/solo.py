"""
Run one graph on one ComfyUI and wait for it, without a queue, a table or a bucket: what `run` and `bridge` share.

The WebSocket tells how far it is; the verdict is what /history says, which is asked now and then as well.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from chalicelib.contract.errors import Unavailable
from chalicelib.contract.job import JobError, Progress
from worker.clock import Clock
from worker.comfy.client import ComfyClient
from worker.comfy.doorbell import SocketDoorbell
from worker.comfy.faults import failure, no_output
from worker.comfy.history import Ending, Entry, Place
from worker.comfy.outputs import OutputFile, OutputText, files_of, texts_of
from worker.ports import InDoubt, Watch

POLL_S: Final = 2.0
LATE_S: Final = 0.2
AWAY_S: Final = 30.0
"""How long a server may be silent while something runs on it."""
LOST_LOOKS: Final = 2


class Failed(Exception):
    """Say why a run came to nothing."""

    def __init__(self, error: JobError) -> None:
        super().__init__(error.sentence())
        self.error = error


class Stopped(Exception):
    """Say that a run was stopped by whoever started it."""


@dataclass(frozen=True)
class Result:
    """Hold what a run made: files that are still on the server, and texts."""

    prompt_id: str
    files: tuple[OutputFile, ...]
    texts: tuple[OutputText, ...]
    execution_ms: int | None


class Solo:
    """Run graphs on the ComfyUI at *url*, one after the other."""

    def __init__(self, url: str, clock: Clock) -> None:
        self.comfy = ComfyClient(url)
        self._clock = clock
        self._doorbell = SocketDoorbell(url, clock)
        self._bell = threading.Event()
        self._is_stopped = False

    @contextmanager
    def listening(self) -> Iterator[Solo]:
        """Keep a WebSocket open for the block; without one a run is followed by asking."""
        thread = threading.Thread(target=self._doorbell.run, name="websocket", daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._doorbell.close()
            thread.join(5)

    def stop(self) -> None:
        """Let `run` stop its prompt on the server and raise `Stopped`. Safe in a signal handler."""
        self._is_stopped = True
        self._bell.set()

    def run(self, graph: Mapping[str, Any], tell: Callable[[Progress], None] = lambda _: None) -> Result:
        """
        Run *graph* and wait; *tell* hears how far it is.

        Raise `Failed` (it would fail again), `Stopped`, `GraphRefused`, or `Unavailable`.
        """
        self._is_stopped = False
        prompt_id = str(uuid4())
        with self._doorbell.watch(prompt_id, graph, self) as watch:
            accepted = self._submit(graph, prompt_id, watch.client_id)
            if accepted == prompt_id:
                return self._wait(prompt_id, graph, watch, tell)
        with self._doorbell.watch(accepted, graph, self) as watch:
            return self._wait(accepted, graph, watch, tell)

    def begun(self) -> None:
        """Look around."""
        self._bell.set()

    def ended(self) -> None:
        """Look at the history."""
        self._bell.set()

    def ring(self) -> None:
        """Look around."""
        self._bell.set()

    def _submit(self, graph: Mapping[str, Any], prompt_id: str, client_id: str | None) -> str:
        try:
            return self.comfy.submit(graph, prompt_id, client_id)
        except InDoubt:
            if self.comfy.where(prompt_id).place is Place.NOWHERE:
                raise
            return prompt_id

    def _wait(self, prompt_id: str, graph: Mapping[str, Any], watch: Watch, tell: Callable[[Progress], None]) -> Result:
        told: Progress | None = None
        asked_at, answered_at, missing = self._clock.monotonic(), self._clock.monotonic(), 0
        while True:
            self._clock.wait(self._bell, LATE_S)
            self._bell.clear()
            if self._is_stopped:
                self._stop(prompt_id)
            progress = watch.course.progress()
            if progress is not None and progress != told:
                tell(progress)
                told = progress
            now = self._clock.monotonic()
            if not watch.course.is_over and now - asked_at < POLL_S:
                continue
            asked_at = now
            try:
                seen = self.comfy.where(prompt_id)
            except Unavailable:
                if now - answered_at > AWAY_S:
                    raise
                continue
            answered_at = now
            if seen.entry is not None:
                return self._result(seen.entry, prompt_id, graph)
            missing = missing + 1 if seen.place is Place.NOWHERE else 0
            if missing >= LOST_LOOKS and not watch.course.is_over:
                text = "ComfyUI lost the run: it was restarted, or its queue was cleared."
                raise Failed(JobError(code="prompt_lost", text=text, hint="Start it again."))

    def _stop(self, prompt_id: str) -> None:
        with contextlib.suppress(Unavailable):
            self.comfy.cancel(prompt_id)
            self.comfy.forget(prompt_id)
        raise Stopped

    def _result(self, entry: Entry, prompt_id: str, graph: Mapping[str, Any]) -> Result:
        if entry.ending is Ending.INTERRUPTED:
            raise Failed(JobError(code="interrupted", text="Somebody interrupted the run on the ComfyUI server."))
        if entry.ending is Ending.ERROR:
            raise Failed(failure(entry, graph))
        files, texts = files_of(entry.outputs), texts_of(entry.outputs)
        if not files and not texts:
            raise Failed(no_output())
        return Result(prompt_id, files, texts, entry.execution_ms)

    def save(self, result: Result, folder: Path, limit_bytes: int) -> list[Path]:
        """Save what was made into *folder* under names that are free; nothing is ever overwritten."""
        folder.mkdir(parents=True, exist_ok=True)
        saved = []
        for file in result.files:
            path = _free(folder, file.display_name)
            with path.open("xb") as into:
                self.comfy.fetch(file, limit_bytes, into)
            saved.append(path)
        for text in result.texts:
            path = _free(folder, f"text-{text.node}.txt")
            with path.open("x", encoding="utf-8") as written:
                written.write(text.text)
            saved.append(path)
        with contextlib.suppress(Unavailable):
            self.comfy.forget(result.prompt_id)
        return saved


def _free(folder: Path, name: str) -> Path:
    """Find a name that is not taken: picture.png, picture-2.png, …"""
    safe = "".join(char if char.isalnum() or char in "._- ()" else "_" for char in name).lstrip(".") or "file"
    path = folder / safe
    number = 1
    while path.exists():
        number += 1
        path = folder / f"{Path(safe).stem}-{number}{Path(safe).suffix}"
    return path
