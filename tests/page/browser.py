"""
Find a Chromium for the page tests: $CHROMIUM, an installed one, or Playwright's own.

`python -m tests.page.browser` says which one will be used, and has Playwright fetch one when there is none.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

# The headless shell first: it draws no window around the page, which halves the time of a test.
NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MAC = Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def installed() -> str | None:
    """Give the path of an installed browser, or None."""
    named = os.environ.get("CHROMIUM")
    if named:
        return named
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    return found or (str(MAC) if MAC.exists() else None)


def main() -> int:
    """Make sure that there is a browser; the exit code."""
    if installed():
        return 0
    print("no Chromium found; Playwright fetches one …")
    done = subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], check=False)
    if done.returncode:
        print("The page tests need Chromium: apt-get install chromium-headless-shell, or set CHROMIUM to its path.")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
