"""
Put files on disk: under a name that any system takes, whole or not at all, and never over another file unless told.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from types import TracebackType
from typing import BinaryIO, Final

from comfysheet.values import OutputInfo

_CHUNK_BYTES: Final = 1024 * 1024
_NAME_BYTES: Final = 200
"""File systems take 255 bytes; the rest is for numbers and endings."""
_FORBIDDEN: Final = re.compile(r'[\x00-\x1f\x7f-\x9f<>:"/\\|?*\u200e\u200f\u202a-\u202e\u2066-\u2069]')
_RESERVED: Final = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)", re.IGNORECASE)
"""Names that Windows keeps for devices, with any ending."""


def safe_name(name: str) -> str:
    """Make a file's name of one that somebody else chose: its last part, without what could lead elsewhere."""
    last = re.split(r"[/\\]", name)[-1].encode("utf-8", "replace").decode("utf-8")
    clean = _FORBIDDEN.sub("_", last).strip(" .") or "output"
    if _RESERVED.match(clean):
        clean = f"_{clean}"
    stem, dot, ending = clean.rpartition(".")
    if not dot or len(ending.encode()) > 20:
        stem, ending = clean, ""
    room = _NAME_BYTES - len(ending.encode())
    return stem.encode()[:room].decode("utf-8", "ignore") + (f".{ending}" if ending else "")


def place_of(path: str | os.PathLike[str] | None, info: OutputInfo) -> Path:
    """Say where an output goes: *path* itself, into it when it is a folder, or here under its own name (None)."""
    name = safe_name(info.name)
    if path is None:
        return Path(name)
    target = Path(path)
    return target / name if target.is_dir() or os.fspath(path).endswith(("/", os.sep)) else target


def is_same(path: Path, info: OutputInfo) -> bool:
    """Say whether *path* holds the very bytes of this output."""
    if info.sha256 is None or not path.is_file() or path.stat().st_size != info.size_bytes:
        return False
    return digest_of(path) == info.sha256


def free_places(target: Path) -> Iterator[Path]:
    """Name places for a file: *target*, then fox-2.png, fox-3.png …"""
    yield target
    number = 1
    while True:
        number += 1
        yield target.with_name(f"{target.stem}-{number}{target.suffix}")


def digest_of(path: Path) -> str:
    """Hash a file (SHA-256, hex)."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def taken(target: Path) -> FileExistsError:
    """Refuse to write over a file."""
    return FileExistsError(f"{target} is there already. Choose another name, or say overwrite=True.")


class Received:
    """Take a body into an open *file* and hash it meanwhile."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.restart()

    def restart(self) -> None:
        """Begin anew."""
        self.file.seek(0)
        self.file.truncate()
        self.size_bytes = 0
        self._hash = hashlib.sha256()

    def write(self, chunk: bytes) -> None:
        """Take the next piece."""
        self.file.write(chunk)
        self.size_bytes += len(chunk)
        self._hash.update(chunk)

    @property
    def sha256(self) -> str:
        """Give the hash of what was taken."""
        return self._hash.hexdigest()


class Part:
    """Hold a file in the making beside its *target*; what is not kept is removed. A context manager."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._path = target.with_name(f".{target.name}.{token_hex(4)}.part")

    def __enter__(self) -> Part:
        self._target.parent.mkdir(parents=True, exist_ok=True)
        self.file = self._path.open("xb+")
        return self

    def keep(self, *, overwrite: bool) -> Path:
        """Give the finished file its name, in one step; raise `FileExistsError`."""
        self.file.close()
        if overwrite:
            self._path.replace(self._target)
            return self._target
        try:
            # A link, unlike a rename, fails when the name is taken: also when it was taken this moment.
            os.link(self._path, self._target)
        except FileExistsError:
            raise taken(self._target) from None
        except OSError:
            # Some file systems have no links (FAT).
            if self._target.exists():
                raise taken(self._target) from None
            self._path.replace(self._target)
        return self._target

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        self.file.close()
        with suppress(FileNotFoundError):
            self._path.unlink()
