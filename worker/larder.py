"""
Keep input files on this machine's disk, by what is in them, so that the same picture is not fetched for every row.

Files lie under their sha256; an index per address says which file it was and how to ask whether it still is. A file is
written beside its place and moved there whole; what is read is hashed again, so that a torn file is never served.
Several workers may share one folder. What was not used for longest goes first when it grows over its bound. A part that
nobody has written to for an hour is what a killed worker left behind, and goes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import BinaryIO, Final, cast

from worker.disk import disk

_CHUNK: Final = 1 << 20
_PART: Final = ".part"
LEFT_BEHIND_S: Final = 3600.0
"""Whoever fetches a file writes to it all the time: S3 is given a minute for each part, an address half of one."""


@dataclass(frozen=True)
class Known:
    """Say what an address gave last: the file's sha256, and how to ask whether it still does."""

    sha256: str
    etag: str
    modified: str


class Larder:
    """Keep files below *folder*, *most_bytes* of them. Threads may share it."""

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self._files = folder / "files"
        self._index = folder / "index"
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._has_tidied = False

    def put(self, fill: Callable[[BinaryIO], None]) -> str:
        """Keep what *fill* writes; its sha256. `Unavailable` when the disk is full."""
        with disk():
            self._files.mkdir(parents=True, exist_ok=True)
            with NamedTemporaryFile(dir=self._files, prefix=".", suffix=_PART, delete=False) as part:
                try:
                    file = cast("BinaryIO", part)
                    fill(file)
                    file.flush()
                    file.seek(0)
                    sha256 = _hash(file)
                    Path(part.name).replace(self._files / sha256)
                except BaseException:
                    with contextlib.suppress(OSError):
                        Path(part.name).unlink()
                    raise
        self._make_room(keep=sha256)
        return sha256

    def open(self, sha256: str) -> BinaryIO | None:
        """Open a file, whole and unchanged, for the caller to close; None: it is not here."""
        path = self._files / sha256
        try:
            file = path.open("rb")
        except FileNotFoundError:
            return None
        if _hash(file) != sha256:
            file.close()
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        file.seek(0)
        with contextlib.suppress(OSError):
            os.utime(path)
        return file

    def known(self, url: str) -> Known | None:
        """Say what *url* gave last; None: nothing that is still here."""
        try:
            told = json.loads(self._place(url).read_text())
            known = Known(str(told["sha256"]), str(told["etag"]), str(told["modified"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return known if (self._files / known.sha256).is_file() else None

    def note(self, url: str, known: Known) -> None:
        """Remember what *url* gave."""
        with disk():
            self._index.mkdir(parents=True, exist_ok=True)
            place = self._place(url)
            part = place.with_suffix(f".{os.getpid()}-{threading.get_ident()}{_PART}")
            part.write_text(json.dumps({"sha256": known.sha256, "etag": known.etag, "modified": known.modified}))
            part.replace(place)

    def _place(self, url: str) -> Path:
        """Name an address's entry by a hash: addresses can hold keys, and names of files end up in backups."""
        return self._index / hashlib.sha256(url.encode()).hexdigest()

    def _make_room(self, keep: str) -> None:
        """Remove what was not used for longest until the rest fits; an open file stays readable for who has it."""
        with self._lock, contextlib.suppress(OSError):
            if not self._has_tidied:
                self._has_tidied = True
                self._tidy_index()
            total, found = 0, []
            for path, told in _told(self._files):
                if path.suffix != _PART:
                    found.append((told.st_mtime, told.st_size, path))
                elif _is_left_behind(told):
                    _remove(path)
                    continue
                total += told.st_size
            for _, size, path in sorted(found):
                if total <= self._most_bytes:
                    return
                if path.name != keep and _remove(path):
                    total -= size

    def _tidy_index(self) -> None:
        """Remove torn entries, once a process: each is a few bytes."""
        for path, told in _told(self._index):
            if path.suffix == _PART and _is_left_behind(told):
                _remove(path)


def _told(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """List a folder's files and what is known of them; what vanishes meanwhile is left out."""
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        with contextlib.suppress(OSError):
            yield path, path.stat()


def _is_left_behind(told: os.stat_result) -> bool:
    return told.st_mtime < time.time() - LEFT_BEHIND_S


def _remove(path: Path) -> bool:
    with contextlib.suppress(OSError):
        path.unlink()
        return True
    return False


def _hash(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    while part := file.read(_CHUNK):
        digest.update(part)
    return digest.hexdigest()
