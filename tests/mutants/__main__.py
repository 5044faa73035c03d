"""
Run mutmut (its settings are in pyproject.toml) and count: `python -m tests.mutants [NAME ...]`, or `make mutants`.

One local cloud runs for all of it: each mutant's tests are a process, and an engine for each would take days.
NAME: only mutants of this name, which may hold stars (`chalicelib.sweep.*`). mutmut is run by hand and rarely: it gets
a virtual environment of its own beside the project's, on first use.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import sysconfig
import tempfile
import venv
from collections import Counter, defaultdict
from pathlib import Path

from sandbox.cloud import LocalCloud

ROOT = Path(__file__).resolve().parent.parent.parent
PIN = "mutmut==3.8.1"
HOME = ROOT / ".build" / "mutmut"
KILLED = ("killed", "timeout", "caught by type check", "segfault")


def prepared() -> list[str]:
    """Make mutmut's environment, in which all of the project's packages are seen too; the command that runs it."""
    python = HOME / "bin" / "python"
    if not (HOME / "ready").exists():
        venv.create(HOME, clear=True)
        ours, [theirs] = sysconfig.get_path("purelib"), HOME.glob("lib/python3.*/site-packages")
        (theirs / "project.pth").write_text(f"{ours}\n")
        uv = Path(sys.executable).with_name("uv")
        subprocess.run([uv, "pip", "install", "--quiet", "--python", python, PIN], check=True)
        (HOME / "ready").touch()
    return [str(python), "-m", "mutmut"]


def main(arguments: list[str]) -> int:
    """Run, and print for each module how many mutants there were and which were not noticed; mutmut's own exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description="Say which changes no test notices.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="only mutants of this name, which may hold stars")
    parser.add_argument("--at-once", type=int, default=2, metavar="N", help="how many are tried at a time (2)")
    asked = parser.parse_args(arguments)
    mutmut = prepared()
    with tempfile.TemporaryDirectory(prefix="comfysheet-mutants-") as home, LocalCloud() as cloud:
        cloud.start(Path(home))
        env = {**os.environ, **cloud.env(), "TESTS_ENGINE": "1"}
        run = [*mutmut, "run", "--max-children", str(asked.at_once), *asked.names]
        code = subprocess.run(run, cwd=ROOT, env=env).returncode
    told = subprocess.run([*mutmut, "results", "--all", "true"], cwd=ROOT, capture_output=True, text=True).stdout
    print(summary(told))  # noqa: T201
    return code


def summary(told: str) -> str:
    """Count what `mutmut results` tells, by module, and name those that nobody noticed."""
    counted: dict[str, Counter[str]] = defaultdict(Counter)
    left = []
    for line in told.splitlines():
        name, _, state = line.strip().rpartition(": ")
        if not name or state == "not checked":
            continue
        counted[name.split(".x")[0]][state] += 1
        if state not in KILLED:
            left.append(f"{state}: {name}")
    rows = []
    for module, states in sorted(counted.items()):
        killed, whole = sum(states[state] for state in KILLED), sum(states.values())
        rows.append(f"{module}: {killed} of {whole} noticed ({100 * killed / whole:.1f} %)")
    return "\n".join([*rows, *left])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
