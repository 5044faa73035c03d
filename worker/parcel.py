"""Hold a file on its way through this machine: a small one in memory, a large one in an unnamed file on the disk."""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Callable
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING, BinaryIO, Final, cast

from worker.disk import disk

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

MEMORY_BYTES: Final = 8_000_000
_BUFFER: Final = 256 * 1024


class Parcel:
    """
    Hold one file: *fill* writes it, then anybody may read it, several at once, each from a reader of their own.

    `Unavailable` when the disk is full. The file on the disk has no name: it is gone with the process.
    """

    def __init__(self, spool_dir: Path, fill: Callable[[BinaryIO], None]) -> None:
        self._spool = _Spool(spool_dir)
        self._lock = threading.Lock()
        self._holders = 0
        intake = _Intake(self._spool)
        try:
            with disk():
                fill(cast("BinaryIO", intake))
                self._spool.flush()
        except BaseException:
            self._spool.close()
            raise
        self.size_bytes = intake.size_bytes
        self.sha256 = intake.hash.hexdigest()

    @property
    def is_large(self) -> bool:
        """Say whether it should not be held in memory as a whole."""
        return self.size_bytes > MEMORY_BYTES

    def reader(self) -> BinaryIO:
        """Read from the start, with a place of one's own."""
        return io.BufferedReader(_Reader(self._spool, self._lock), _BUFFER)

    def whole(self) -> bytes:
        """Read it all."""
        return self.reader().read()

    def keep(self) -> None:
        """Say that one more needs it."""
        with self._lock:
            self._holders += 1

    def let_go(self) -> None:
        """Say that one less needs it; after the last it is gone."""
        with self._lock:
            self._holders -= 1
            if self._holders <= 0:
                self._spool.close()


class _Spool(SpooledTemporaryFile[bytes]):
    """Make the folder when it is needed first."""

    def __init__(self, folder: Path) -> None:
        super().__init__(max_size=MEMORY_BYTES, dir=str(folder))
        self._folder = folder

    def rollover(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        super().rollover()


class _Intake(io.RawIOBase):
    """Hash and count what is written."""

    def __init__(self, spool: _Spool) -> None:
        self._spool = spool
        self.hash = hashlib.sha256()
        self.size_bytes = 0

    def writable(self) -> bool:
        return True

    def write(self, part: ReadableBuffer, /) -> int:
        with disk():
            size = self._spool.write(part)
        self.hash.update(part)
        self.size_bytes += size
        return size


class _Reader(io.RawIOBase):
    """Read a shared file from a place of its own."""

    def __init__(self, spool: _Spool, lock: threading.Lock) -> None:
        self._spool = spool
        self._lock = lock
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, into: WriteableBuffer, /) -> int:
        view = memoryview(into).cast("B")
        with self._lock:
            self._spool.seek(self._place)
            part = self._spool.read(len(view))
        view[: len(part)] = part
        self._place += len(part)
        return len(part)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        if whence == io.SEEK_CUR:
            offset += self._place
        elif whence == io.SEEK_END:
            with self._lock:
                offset += self._spool.seek(0, io.SEEK_END)
        if offset < 0:
            raise ValueError("a place before the file's start")
        self._place = offset
        return offset
