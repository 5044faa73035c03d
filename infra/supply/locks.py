"""
Read the lock files: which packages each part of ComfySheet is made of, and the hashes that their files must have.

`make lock` writes them from the *.in files. A package's hashes are those of all its files (every system's wheel and the
source), so one lock serves every machine.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from infra.package import GOOGLE_CLIENT, ROOT, PackagingFailed

LAMBDA: Final = "requirements.txt"
WORKER: Final = "worker/requirements.txt"
DEVELOPMENT: Final = "requirements-dev.txt"
BOOT: Final = "requirements-boot.txt"
CLOUD: Final = "sandbox/requirements-cloud.txt"
LOCKS: Final = (LAMBDA, WORKER, DEVELOPMENT, BOOT, CLOUD)

# In the functions' zip, though its lock is the development's: the Google client is trimmed and put in by
# infra/package.py, and Chalice adds its own runtime to every zip that it makes.
VENDORED: Final = frozenset({GOOGLE_CLIENT, "chalice"})

_PIN: Final = re.compile(
    r"([A-Za-z0-9._-]+)==([^\s;\\]+)"  # name and version
    r"(?:\s*;\s*([^\\]*?))?"  # for which systems
    r"((?:\s*\\\s*--hash=sha256:[0-9a-f]{64})*)"
)


@dataclass(frozen=True)
class Pin:
    """Hold one line of a lock. `marker` is empty when it holds for every system; `hashes` are SHA-256, in hex."""

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]


def normal(name: str) -> str:
    """Return a package's name as the locks and PyPI write it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_lock(lock: str, root: Path = ROOT) -> tuple[Pin, ...]:
    """Return the pins of the lock file *lock*, in its order. Raises PackagingFailed at a line that is no pin."""
    text = (root / lock).read_text().replace("\\\n", "\\ ")
    return tuple(_pin(lock, line.strip()) for line in text.splitlines() if line.strip() and not line.startswith("#"))


def _pin(lock: str, line: str) -> Pin:
    found = _PIN.fullmatch(line)
    if not found:
        raise PackagingFailed(f"{lock} has a line that is no pin: {line[:80]}. Write it anew with `make lock`.")
    name, version, marker, hashes = found.groups()
    return Pin(normal(name), version, marker or "", tuple(re.findall(r"sha256:([0-9a-f]{64})", hashes)))


def in_the_zip(root: Path = ROOT) -> tuple[Pin, ...]:
    """Return what the functions' zip is made of, beside our own code."""
    vendored = (pin for pin in read_lock(DEVELOPMENT, root) if pin.name in VENDORED)
    return tuple(sorted({*read_lock(LAMBDA, root), *vendored}, key=lambda pin: pin.name))
