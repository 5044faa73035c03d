"""
Freeze workers in the middle of a job, for three leases, and let them go on when others have done their work (F6).

A frozen process is the worst of partitions: it wakes up in the belief that no time has passed, with a request in hand.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from chalicelib.contract.job import Job, prompt_id_of
from chalicelib.contract.states import State
from faults.farm import SHORT, Asked, Farm
from faults.report import Outcome, Tally, rank
from faults.scenario import Scenario, Size
from sandbox.waiting import wait_until
from sandbox.world import ROOT, Child
from worker.comfy.client import ComfyClient
from worker.comfy.history import Place

LEASES: Final = 3
HIDDEN: Final = {"VISIBILITY_S": "12"}
"""For the victims: until all are frozen no job comes back, or three of them would hold the same one in turn."""
MOMENTS: Final = ("claimed", "uploading", "committing", "committed")
RENDERING: Final = "rendering"
MACHINE: Final = "rendering, with its ComfyUI"
JOBS_MOST: Final = 30


@dataclass
class Victim:
    """Be a worker that freezes at a moment of whatever job it holds then."""

    moment: str
    worker: Child
    url: str
    pids: tuple[int, ...]
    """What is frozen with it."""

    @property
    def is_frozen(self) -> bool:
        return is_frozen(self.worker.process.pid)

    def freeze(self) -> None:
        for pid in self.pids:
            os.kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        for pid in self.pids:
            os.kill(pid, signal.SIGCONT)


def zombies(farm: Farm, size: Size) -> Outcome:
    """A victim for each phase; a rescuer does their jobs; then all victims wake up at once."""
    tally, wrong, rescues = Tally(), list[str](), list[float]()
    counted = {"zombies": 0, "accepted zombie writes": 0, "times given way": 0}
    for turn in range(1 if size is Size.CI else 10):
        with own_comfy(farm, f"froze-{turn}") as (url, pid):
            victims = _victims(farm, turn, url, pid)
            asked = _all_frozen(farm, victims)
            frozen_at = time.monotonic()
            rescuer = farm.worker()
            if not farm.all_ended(asked, 60):
                wrong.append("not every job of a frozen worker was done by another one")
            rescues.append(time.monotonic() - frozen_at)
            threading.Event().wait(max(0.0, frozen_at + LEASES * float(SHORT["LEASE_S"]) - time.monotonic()))
            before = {one.job_id: farm.job(one) for one in asked}
            for victim in victims:
                victim.thaw()
            woken = [victim for victim in victims if _has_come_to(farm, victim)]
            breaches = _changed(farm, before)
            for child in (rescuer, *(victim.worker for victim in victims)):
                child.stop()
        wrong += breaches
        wrong += [f"the worker frozen at {each.moment} did not come to itself" for each in victims if each not in woken]
        counted["zombies"] += len(victims)
        counted["accepted zombie writes"] += len(breaches)
        counted["times given way"] += len(woken)
        added, more = farm.judge(asked)
        tally, wrong = tally + added, wrong + more
    return Outcome(tally, {**counted, "all of a round done by others after s, max": rank(rescues, 1)}, tuple(wrong))


def _victims(farm: Farm, turn: int, url: str, comfy_pid: int) -> list[Victim]:
    """Start all of them; the last one has a ComfyUI of its own, which freezes with it."""
    shared, victims = farm.world.comfy_url, list[Victim]()
    for moment in MOMENTS:
        told = farm.world.wishes.home / f"froze-{moment}-{turn}"
        command = ["faults.upset", "--at", moment, "--do", "freeze", "--told", str(told), "--", "queue"]
        worker = farm.worker(command=command, **HIDDEN)
        victims.append(Victim(moment, worker, shared, (worker.process.pid,)))
    for moment, at, more in ((RENDERING, shared, ()), (MACHINE, url, (comfy_pid,))):
        worker = farm.worker(COMFY_URL=at, **HIDDEN)
        victims.append(Victim(moment, worker, at, (worker.process.pid, *more)))
    for victim in victims:
        if not wait_until(lambda victim=victim: "ComfyUI is there" in farm.said(victim.worker), 120):  # type: ignore[misc]
            raise RuntimeError(f"a worker did not start:\n{victim.worker.tail()}")
    return victims


def _all_frozen(farm: Farm, victims: list[Victim]) -> list[Asked]:
    """Ask for jobs until every victim is frozen in the middle of one. What is done before then is no harm."""
    asked, awake = list[Asked](), list(victims)
    for _ in range(JOBS_MOST):
        asked.append(farm.insist(farm.ask(steps=100)))

        wait_until(partial(_one_more, farm, awake, asked), 3, look_s=0.05)
        awake = [victim for victim in awake if not victim.is_frozen]
        if not awake:
            return asked
    raise RuntimeError(f"not frozen: {', '.join(victim.moment for victim in awake)}")


def _one_more(farm: Farm, awake: list[Victim], asked: list[Asked]) -> bool:
    """Freeze those that render; say whether one more is frozen."""
    for victim in awake:
        if victim.moment in (RENDERING, MACHINE) and not victim.is_frozen and _is_rendering(farm, victim, asked):
            victim.freeze()
    return any(victim.is_frozen for victim in awake)


def _is_rendering(farm: Farm, victim: Victim, asked: list[Asked]) -> bool:
    jobs = farm.ledger.get_many([one.job_id for one in asked])
    held = [job for job in jobs if job.owner == victim.worker.name and job.state is State.RUNNING]
    where = ComfyClient(victim.url).where
    return any(where(prompt_id_of(job.job_id, job.attempt)).place is Place.RUNNING for job in held)


def renders(farm: Farm, asked: Asked, url: str) -> bool:
    """Say whether the ComfyUI at *url* works on the job's present attempt."""
    job = farm.job(asked)
    if job is None or not job.attempt:
        return False
    return ComfyClient(url).where(prompt_id_of(job.job_id, job.attempt)).place is Place.RUNNING


def is_frozen(pid: int) -> bool:
    """Say whether a process is stopped (state T in its stat)."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def _has_come_to(farm: Farm, victim: Victim) -> bool:
    """Wait until the woken worker has seen that its job is not its own; one that froze after its commit has not to."""
    words = ('"action": "lost"', '"action": "heartbeat"', '"action": "refused"', '"action": "retry"')
    return wait_until(lambda: victim.moment == "committed" or any(word in farm.said(victim.worker) for word in words))


def _changed(farm: Farm, before: dict[str, Job | None]) -> list[str]:
    """Tell which jobs a zombie changed; what completion notes of the row being shown is no change of the job."""
    # What a zombie sends as it wakes up is sent within a heartbeat.
    threading.Event().wait(2 * float(SHORT["HEARTBEAT_S"]))
    wrong = []
    for job_id, was in before.items():
        now = farm.ledger.get(job_id)
        if was is None or now is None or _essence(was) != _essence(now):
            wrong.append(f"job {job_id} was changed by a worker that had lost it")
    return wrong


def _essence(job: Job) -> dict[str, object]:
    return job.model_dump(exclude={"synced_version", "due_at"})


@contextmanager
def own_comfy(farm: Farm, name: str) -> Iterator[tuple[str, int]]:
    """Start a ComfyUI stand-in beside the world's own: its address and process."""
    folder = farm.world.wishes.home / f"comfy-{name}"
    command = [sys.executable, "-m", "sandbox.comfy", "--port", "0", "--dir", str(folder), "--step-ms", "20"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().rsplit(" on ", 1)[1].strip(), process.pid
    finally:
        process.kill()
        process.wait()


SCENARIOS = (
    Scenario("F6", "workers are frozen for three leases in each phase, then go on", ("P1", "P4", "P6"), zombies),
)
