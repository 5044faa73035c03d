"""
Bring an attempt's files from ComfyUI to the bucket, each with its type, hash and thumbnail.

- One thread brings (fetch, hash, sniff); a few others upload and make thumbnails meanwhile. What waits for them is
  bounded, and a large file passes through the disk: memory stays flat.
- A file gets its number when it is first named and keeps it; it is uploaded once, however often it is named.
- Early uploads may fail without harm: what is missing in the end is brought then, and only then a failure counts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, TypeVar

from chalicelib.contract.errors import Rejected, Unavailable
from chalicelib.contract.job import Job, Output, output_prefix
from worker.comfy.faults import TOO_LARGE
from worker.comfy.outputs import OutputFile, OutputText
from worker.parcel import Parcel
from worker.sniff import Sniffed, sniff
from worker.thumbs import Thumbnail, thumbnail

if TYPE_CHECKING:
    from worker.ports import Blobs

Fetch = Callable[[OutputFile, int, BinaryIO], None]
_Thing = OutputFile | OutputText
T = TypeVar("T")

THREADS: Final = 3
WAITING_MOST: Final = 4
"""Files that are fetched but not uploaded yet: each holds up to 8 MB of memory."""
_LOOK_S: Final = 0.5
"""How often a waiting courier looks whether it is told to stop."""


@dataclass(frozen=True)
class Upload:
    """Tell of one upload, for the run record; *ms* from the fetch to the end of the upload."""

    key: str
    sha256: str
    size_bytes: int
    ms: int
    early: bool


@dataclass(frozen=True)
class _Cargo:
    """Hold a file on its way."""

    output: Output
    """As it is known before its thumbnail is made."""
    uploaded: Future[None]
    shown: Future[Thumbnail | None]
    """Ends when the thumbnail is uploaded too."""

    @property
    def is_under_way(self) -> bool:
        return not (self.uploaded.done() and self.shown.done())

    @property
    def has_failed(self) -> bool:
        ended = [future for future in (self.uploaded, self.shown) if future.done()]
        return any(isinstance(future.exception(), Unavailable) for future in ended)

    @property
    def is_there(self) -> bool:
        """Say whether file and thumbnail are uploaded."""
        both: tuple[Future[Any], ...] = (self.uploaded, self.shown)
        return all(future.done() and not future.cancelled() and future.exception() is None for future in both)

    def described(self) -> Output:
        """Give the description; what went wrong is raised."""
        self.uploaded.result()
        small = self.shown.result()
        if small is None:
            return self.output
        key = _thumbnail_key(self.output.key, small)
        return self.output.model_copy(update={"thumbnail_key": key, "thumbnail_type": small.content_type})


class Courier:
    """Bring the files of one attempt. One thread calls it; large files pass through *spool_dir*."""

    def __init__(
        self,
        fetch: Fetch,
        blobs: Blobs,
        job: Job,
        limit_bytes: int,
        spool_dir: Path,
        is_stopped: Callable[[], bool],
    ) -> None:
        self._fetch = fetch
        self._blobs = blobs
        self._prefix = output_prefix(job.client_id, job.job_id, job.attempt)
        self._limit_bytes = limit_bytes
        self._spool_dir = spool_dir
        self._is_stopped = is_stopped
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="courier")
        self._numbers: dict[object, int] = {}
        self._cargos: dict[object, _Cargo] = {}
        self._uploads: list[Upload] = []

    def bring(self, files: Sequence[OutputFile]) -> None:
        """
        Fetch *files* and begin to upload them, while more may come; those under way already are left alone.

        `Unavailable` or `Rejected` when one cannot be fetched. What is not brought now, `outputs` will bring.
        """
        self._bring(files, early=True)

    def outputs(self, files: Sequence[OutputFile], texts: Sequence[OutputText] = ()) -> tuple[Output, ...]:
        """
        Bring what is missing, wait for it all and describe it: files, then texts, in the order given, each once.

        Raise `Rejected` when they are larger than the limit together, or one is empty; `Unavailable` when ComfyUI,
        the bucket or the disk fails. Stops early, with what it has, when it is told to stop.
        """
        things: list[_Thing] = [*files, *texts]
        marks = list(dict.fromkeys(_mark(thing) for thing in things))
        self._cargos = {mark: cargo for mark, cargo in self._cargos.items() if mark in marks}
        early = list(self._cargos)
        self._bring(things, early=False)
        self._wait(marks, most=0)
        failed = [mark for mark in early if self._cargos[mark].has_failed]
        if failed:
            for mark in failed:
                del self._cargos[mark]
            self._bring(things, early=False)
            self._wait(marks, most=0)
        ready = [self._cargos[mark] for mark in marks if mark in self._cargos]
        return tuple(cargo.described() for cargo in ready if not cargo.is_under_way)

    def ready(self) -> tuple[Output, ...]:
        """
        Describe what lies in the bucket already, thumbnails included: the first files, up to one still on its way.

        Another thread may ask. Each keeps its place among the outputs, so that links to it stay right.
        """
        ready: list[Output] = []
        for cargo in list(self._cargos.values()):
            if not cargo.is_there:
                break
            ready.append(cargo.described())
        return tuple(ready)

    @property
    def uploads(self) -> list[Upload]:
        """List the uploads made so far, in the order in which they ended."""
        return list(self._uploads)

    def close(self) -> None:
        """Let go of the threads: what has not begun is dropped, what is being uploaded ends by itself."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _bring(self, things: Sequence[_Thing], *, early: bool) -> None:
        for thing in things:
            self._numbers.setdefault(_mark(thing), len(self._numbers))
        for thing in things:
            mark = _mark(thing)
            if mark in self._cargos:
                continue
            self._wait(self._cargos, most=WAITING_MOST - 1)
            if self._is_stopped():
                return
            left_bytes = self._limit_bytes - sum(cargo.output.size_bytes for cargo in self._cargos.values())
            self._cargos[mark] = self._send(thing, self._numbers[mark], left_bytes, early=early)

    def _wait(self, marks: Iterable[object], most: int) -> None:
        """Wait until at most *most* of those named are under way, or a stop is heard."""
        while not self._is_stopped():
            cargos = [self._cargos[mark] for mark in marks if mark in self._cargos]
            ahead: list[Future[Any]] = [
                cargo.shown if cargo.uploaded.done() else cargo.uploaded for cargo in cargos if cargo.is_under_way
            ]
            if len(ahead) <= most:
                return
            wait(ahead, timeout=_LOOK_S, return_when=FIRST_COMPLETED)

    def _send(self, thing: _Thing, number: int, left_bytes: int, *, early: bool) -> _Cargo:
        begun = time.monotonic()
        parcel = Parcel(self._spool_dir, lambda into: self._fill(thing, left_bytes, into))
        parcel.keep()
        try:
            return self._ship(thing, number, parcel, begun, early=early)
        finally:
            parcel.let_go()

    def _ship(self, thing: _Thing, number: int, parcel: Parcel, begun: float, *, early: bool) -> _Cargo:
        if not parcel.size_bytes:
            raise Rejected("empty_output", "ComfyUI made an empty file: try again, or use another workflow.")
        sniffed = sniff(parcel.reader(), thing.display_name)
        output = _described(thing, sniffed, parcel, f"{self._prefix}{number}-")

        def upload() -> None:
            self._put(output, parcel)
            ms = round((time.monotonic() - begun) * 1000)
            self._uploads.append(Upload(output.key, output.sha256, output.size_bytes, ms, early))

        uploaded = self._do(parcel, upload)
        shown = self._do(parcel, lambda: self._show(output, sniffed, parcel))
        return _Cargo(output, uploaded, shown)

    def _fill(self, thing: _Thing, left_bytes: int, into: BinaryIO) -> None:
        if isinstance(thing, OutputFile):
            self._fetch(thing, left_bytes, into)
            return
        content = thing.text.encode("utf-8")
        if len(content) > left_bytes:
            raise Rejected("too_large", TOO_LARGE)
        into.write(content)

    def _do(self, parcel: Parcel, work: Callable[[], T]) -> Future[T]:
        """Let a thread of the pool do *work*; the parcel is kept until then."""
        parcel.keep()
        future = self._pool.submit(work)
        future.add_done_callback(lambda _: parcel.let_go())
        return future

    def _put(self, output: Output, parcel: Parcel) -> None:
        if parcel.is_large:
            with parcel.reader() as content:
                self._blobs.put_stream(output.key, content, parcel.size_bytes, output.content_type)
        else:
            self._blobs.put(output.key, parcel.whole(), output.content_type)

    def _show(self, output: Output, sniffed: Sniffed, parcel: Parcel) -> Thumbnail | None:
        with parcel.reader() as content:
            small = thumbnail(content, sniffed)
        if small is not None and small.content is not None:
            self._blobs.put(_thumbnail_key(output.key, small), small.content, small.content_type)
        return small


def _mark(thing: _Thing) -> object:
    """Tell things apart: files by their place, whichever node names them, texts by node and words."""
    return thing.place if isinstance(thing, OutputFile) else thing


def _thumbnail_key(key: str, small: Thumbnail) -> str:
    """Name the thumbnail after the file's number; a file that is its own thumbnail keeps its name."""
    return key if small.content is None else f"{key.rpartition('-')[0]}-thumb.{small.extension}"


def _described(thing: _Thing, sniffed: Sniffed, parcel: Parcel, stem: str) -> Output:
    return Output(
        key=f"{stem}{parcel.sha256[:8]}.{sniffed.extension}",
        filename=thing.display_name,
        content_type=sniffed.content_type,
        size_bytes=parcel.size_bytes,
        sha256=parcel.sha256,
        node=thing.node,
        kind=sniffed.kind,
        width_px=sniffed.width_px,
        height_px=sniffed.height_px,
        duration_s=sniffed.duration_s,
        is_animated=sniffed.is_animated,
    )
