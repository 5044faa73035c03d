"""
Run batch scripts as Slurm does, on this machine: what `man sbatch` (24.05) says of the parts that our script uses.

A copy of the script is run in the folder it was submitted from; `#SBATCH` lines count up to the first command, and the
caller's options win over them; SLURM_* is set; the warning signal goes to the batch shell (`B:`) alone, so long before
the limit or up to 60 s earlier; at the limit all get SIGTERM, and KillWait later SIGKILL. Limits are told in seconds
here.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

KNOWN = {"job-name", "gpus", "cpus-per-task", "mem", "time", "signal", "requeue", "open-mode", "output", "array"}
"""The options that this stand-in understands; any other is refused, as sbatch refuses what it does not know."""


class Refused(Exception):
    """Say what is wrong with the options."""


def options_of(script: Path) -> dict[str, str]:
    """Read the `#SBATCH` lines: those before the first line that is neither empty nor a comment."""
    found: dict[str, str] = {}
    for line in script.read_text().splitlines():
        if line.startswith("#SBATCH "):
            name, _, value = line.removeprefix("#SBATCH --").partition("=")
            if name not in KNOWN:
                raise Refused(f"sbatch: unrecognized option '--{name}'")
            found[name] = value
        elif line and not line.startswith("#"):
            break
    return found


def seconds_of(told: str) -> int:
    """Read a time limit: minutes, minutes:seconds, hours:minutes:seconds, or days-hours and so on."""
    days, _, rest = told.rpartition("-")
    parts = [int(part) for part in rest.split(":")]
    if days:
        hours, minutes, seconds = [*parts, 0, 0][:3]
        return int(days) * 86_400 + hours * 3600 + minutes * 60 + seconds
    if len(parts) == 3:
        return parts[0] * 3600 + parts[1] * 60 + parts[2]
    return parts[0] * 60 + (parts[1] if len(parts) == 2 else 0)


@dataclass
class Job:
    """Be one running job."""

    id: int
    process: subprocess.Popen[str]
    log: Path
    events: list[str] = field(default_factory=list)
    """What Slurm did: `warned`, `at the limit`, `killed`, `cancelled`."""

    def ends(self, timeout_s: float = 60) -> int:
        """Wait for its end; the exit code."""
        return self.process.wait(timeout_s)

    def cancel(self) -> None:
        """Do as scancel does: SIGTERM to all (and SIGKILL later, which no test of ours needs)."""
        self.events.append("cancelled")
        os.killpg(self.process.pid, signal.SIGTERM)

    def said(self) -> str:
        return self.log.read_text()


class Slurm:
    """Be a cluster of one node. Use as a context: what still runs at the end is killed.

    *early_s*: how much earlier than asked for it warns, 60 at most.
    """

    def __init__(self, spool: Path, *, kill_wait_s: float = 30, early_s: float = 0) -> None:
        self._spool = spool
        self._kill_wait_s = kill_wait_s
        self._early_s = early_s
        self._next = 4711
        self.jobs: list[Job] = []

    def __enter__(self) -> Slurm:
        return self

    def __exit__(self, *_: object) -> None:
        for job in self.jobs:
            if job.process.poll() is None:
                os.killpg(job.process.pid, signal.SIGKILL)
                job.process.wait(10)

    def sbatch(
        self, script: Path, folder: Path, environment: dict[str, str], *, tells_end: bool = True, **given: str
    ) -> list[Job]:
        """Submit *script* from *folder*; one job for each task of `--array`. *given*: options, with `_` for `-`."""
        options = options_of(script) | {name.replace("_", "-"): value for name, value in given.items()}
        if unknown := set(options) - KNOWN:
            raise Refused(f"sbatch: unrecognized option '--{unknown.pop()}'")
        tasks = range(1)
        if array := options.get("array"):
            first, last = re.fullmatch(r"(\d+)-(\d+)(?:%\d+)?", array).groups()  # type: ignore[union-attr]
            tasks = range(int(first), int(last) + 1)
        array_job = self._next
        started = []
        for task in tasks:
            more = {"SLURM_ARRAY_JOB_ID": str(array_job), "SLURM_ARRAY_TASK_ID": str(task)} if array else {}
            started.append(self._start(script, folder, {**environment, **more}, options, tells_end))
        return started

    def _start(
        self, script: Path, folder: Path, environment: dict[str, str], options: dict[str, str], tells_end: bool
    ) -> Job:
        number, self._next = self._next, self._next + 1
        copy = self._spool / f"job{number}" / "slurm_script"
        copy.parent.mkdir(parents=True)
        shutil.copy(script, copy)
        limit_s = seconds_of(options["time"])
        slurm = {
            "SLURM_JOB_ID": str(number),
            "SLURM_JOB_NAME": options["job-name"],
            "SLURM_SUBMIT_DIR": str(folder),
            "SLURM_JOB_GPUS": "0",
            "TMPDIR": str(copy.parent),
        }
        if tells_end:
            slurm["SLURM_JOB_END_TIME"] = str(int(time.time()) + limit_s)
        log = folder / options["output"].replace("%j", str(number))
        with log.open("a") as out:
            process = subprocess.Popen(
                ["bash", str(copy)],
                cwd=folder,
                env={**environment, **slurm},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                text=True,
            )
        job = Job(number, process, log)
        self.jobs.append(job)
        threading.Thread(target=self._watch, args=(job, limit_s, options.get("signal", "")), daemon=True).start()
        return job

    def _watch(self, job: Job, limit_s: float, warning: str) -> None:
        """Warn the shell, end the job at its limit, kill it KillWait later; each unless it has ended."""
        told = re.fullmatch(r"B:(\w+)@(\d+)", warning)
        lead_s = float(told[2]) + self._early_s if told else 0.0

        def ended(within_s: float) -> bool:
            try:
                job.process.wait(max(0.0, within_s))
            except subprocess.TimeoutExpired:
                return False
            return True

        if ended(limit_s - lead_s):
            return
        if told:
            job.events.append("warned")
            job.process.send_signal(getattr(signal, f"SIG{told[1]}"))
            if ended(min(lead_s, limit_s)):
                return
        job.events.append("at the limit")
        os.killpg(job.process.pid, signal.SIGTERM)
        if not ended(self._kill_wait_s):
            job.events.append("killed")
            os.killpg(job.process.pid, signal.SIGKILL)
