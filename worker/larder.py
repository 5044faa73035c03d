"""
Keep input files on this machine's disk, by what is in them, so that the same picture is not fetched for every row.

Files lie under their sha256; an index per address says which file it was and how to ask whether it still is. A file is
written beside its place and moved there whole; what is read is hashed again, so that a torn file is never served.
Several workers may share one folder. What was not used for longest goes first when it grows over its bound.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import BinaryIO, Final, cast

from worker.disk import disk

_CHUNK: Final = 1 << 20


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

    def put(self, fill: Callable[[BinaryIO], None]) -> str:
        """Keep what *fill* writes; its sha256. `Unavailable` when the disk is full."""
        with disk():
            self._files.mkdir(parents=True, exist_ok=True)
            with NamedTemporaryFile(dir=self._files, prefix=".", suffix=".part", delete=False) as part:
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
            part = place.with_suffix(f".{os.getpid()}-{threading.get_ident()}.part")
            part.write_text(json.dumps({"sha256": known.sha256, "etag": known.etag, "modified": known.modified}))
            part.replace(place)

    def _place(self, url: str) -> Path:
        """Name an address's entry by a hash: addresses can hold keys, and names of files end up in backups."""
        return self._index / hashlib.sha256(url.encode()).hexdigest()

    def _make_room(self, keep: str) -> None:
        """Remove what was not used for longest until the rest fits; an open file stays readable for who has it."""
        with self._lock, contextlib.suppress(OSError):
            found = []
            for path in self._files.iterdir():
                with contextlib.suppress(OSError):
                    told = path.stat()
                    found.append((told.st_mtime, told.st_size, path))
            total = sum(size for _, size, _ in found)
            for _, size, path in sorted(found):
                if total <= self._most_bytes:
                    return
                if path.name == keep or path.name.startswith("."):
                    continue
                with contextlib.suppress(OSError):
                    path.unlink()
                    total -= size


def _hash(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    while part := file.read(_CHUNK):
        digest.update(part)
    return digest.hexdigest()
