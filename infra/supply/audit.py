"""
Ask the OSV database (osv.dev) whether a locked package has a known vulnerability: pip-audit over the locks.

One small question comes first: where the database cannot be reached, nothing was audited, and that is said.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from typing import Final

import requests

from infra.package import ROOT

OSV: Final = "https://api.osv.dev/v1/query"
REACH_S: Final = 4
_DEADLINE_S: Final = 600


def audit(locks: Sequence[str], url: str = OSV, *, must: bool = False) -> int:
    """
    Print what is known against the pins of *locks*; return the exit code: 1 when there is something.

    A database that cannot be reached is 0 with a sentence, or 1 when the audit *must* be made.
    """
    reason = unreachable(url)
    if reason:
        print(f"Not audited: the advisory service {url} cannot be reached ({reason}). Later: make audit")
        return int(must)
    command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--require-hashes", "--progress-spinner", "off"]
    command += ["--desc", "off", "--timeout", "20", "--vulnerability-service", "osv", "--osv-url", url]
    for lock in locks:
        command += ["--requirement", lock]
    try:
        done = subprocess.run(command, cwd=ROOT, timeout=_DEADLINE_S, capture_output=True, text=True, check=False)
    except subprocess.TimeoutExpired:
        print(f"Not audited: the advisory service {url} did not answer everything within {_DEADLINE_S} s.")
        return int(must)
    # pip-audit warns with each lock that OSV knows no file hashes. pip and uv check those when they install.
    print("\n".join(line for line in (done.stdout + done.stderr).splitlines() if "WARNING:" not in line))
    if done.returncode:
        print(
            "Renew what is named with `make lock LOCK='--upgrade-package NAME'`, or, if it does not touch us, "
            "say why and pass `--ignore-vuln` in infra/supply/audit.py."
        )
    return int(bool(done.returncode))


def unreachable(url: str) -> str | None:
    """Say why *url* does not answer as OSV does, in a few words; None when it does."""
    question = {"package": {"name": "pip", "ecosystem": "PyPI"}, "version": "0"}
    try:
        answer = requests.post(url, json=question, timeout=REACH_S)
        if answer.status_code != 200:
            return f"status {answer.status_code}"
        return None if isinstance(answer.json(), dict) else "another kind of answer"
    except (requests.RequestException, ValueError) as error:
        return type(error).__name__
