"""
Freeze workers in the middle of a job, for three leases, and let them go on when others do or have done their work (F6).

A frozen process is the worst of partitions: it wakes up in the belief that no time has passed, with a request in hand.
One wakes up while another worker still renders its job, so that the job's state refuses it nothing: only the fence of
the attempt does.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from chalicelib.contract.job import Job, prompt_id_of
from chalicelib.contract.states import State
from faults.calls import OWN_WRITES, about_job, call_of
from faults.farm import SHORT, Asked, Farm
from faults.link import Exchange
from faults.proxy import Proxy
from faults.report import Outcome, Tally, rank
from faults.scenario import Scenario, Size
from sandbox.waiting import wait_until
from sandbox.world import ROOT, Child
from worker.comfy.client import ComfyClient
from worker.comfy.history import Place

LEASES: Final = 3
HIDDEN: Final = {"VISIBILITY_S": "12", "SLOTS": "1"}
"""For the victims: until all are frozen no job comes back, or three of them would hold the same one in turn."""
MOMENTS: Final = ("claimed", "uploading", "committing", "committed")
EARLY: Final = "committing"
"""This one wakes up while the rescuer renders: of what it has rendered the rescuer's ComfyUI knows nothing."""
ROUNDS_MORE: Final = 2
"""So many more rounds are begun when that one has met nobody who rendered."""
RENDERING: Final = "rendering"
MACHINE: Final = "rendering, with its ComfyUI"
JOBS_MOST: Final = 30
GAVE_WAY: Final = ("the lease is lost", "the job is not ours any more")


@dataclass
class Victim:
    """Be a worker that freezes at a moment of whatever job it holds then; its calls to AWS pass *line*."""

    moment: str
    worker: Child
    url: str
    pids: tuple[int, ...]
    """What is frozen with it."""
    line: Proxy
    job_id: str = ""
    attempt: int = 0
    """What it held when it froze."""
    thawed_at: float = 0.0
    """Monotonic, s; 0: not yet."""
    said_before: int = 0
    """How much it had logged by then."""

    @property
    def is_frozen(self) -> bool:
        return is_frozen(self.worker.process.pid)

    def freeze(self) -> None:
        for pid in self.pids:
            os.kill(pid, signal.SIGSTOP)

    def thaw(self, farm: Farm) -> None:
        self.said_before, self.thawed_at = len(farm.said(self.worker)), time.monotonic()
        for pid in self.pids:
            os.kill(pid, signal.SIGCONT)

    def writes(self) -> list[Exchange]:
        """List what it has tried, since it woke up, to write of the job that it held."""
        mine = (self.job_id, f"{self.job_id} {self.attempt}")
        return [
            each
            for each in self.line.log
            if each.name in OWN_WRITES and each.about in mine and (each.sent_s or 0.0) >= self.thawed_at > 0
        ]


def zombies(farm: Farm, size: Size) -> Outcome:
    """A victim for each phase; a rescuer does their jobs; one wakes up meanwhile, the others when all is done."""
    tally, wrong, rescues = Tally(), list[str](), list[float]()
    count, tried, accepted, fenced = 0, 0, 0, 0
    turns = 1 if size is Size.CI else 10
    for turn in range(turns + ROUNDS_MORE):
        if turn >= turns and fenced:
            break
        with ExitStack() as held:
            victims = _victims(farm, turn, held)
            asked = _all_frozen(farm, victims)
            frozen_at = time.monotonic()
            rescuer = farm.worker()
            held.callback(rescuer.stop)
            if not _rescued(farm, victims, asked, rescuer):
                wrong.append("not every job of a frozen worker was done by another one")
            rescues.append(time.monotonic() - frozen_at)
            threading.Event().wait(max(0.0, frozen_at + LEASES * float(SHORT["LEASE_S"]) - time.monotonic()))
            before = {one.job_id: farm.job(one) for one in asked}
            for victim in victims:
                if not victim.thawed_at:
                    victim.thaw(farm)
            for victim in victims:
                wrong += _gave_way(farm, victim)
            wrong += _changed(farm, before)
            for victim in victims:
                writes, job = victim.writes(), farm.ledger.get(victim.job_id)
                count += 1
                tried += len(writes)
                accepted += sum(each.status == 200 for each in writes)
                fenced += victim.moment == EARLY and any(_was_open(job, each) for each in writes)
                wrong += _fenced(victim, writes)
        added, more = farm.judge(asked)
        tally, wrong = tally + added, wrong + more
    if not fenced:
        wrong.append("no zombie's commit came while the rescuer rendered: the fence was not tried")
    figures: dict[str, float | int | str] = {
        "zombies": count,
        "zombie writes tried": tried,
        "commits while another rendered": fenced,
        "accepted zombie writes": accepted,
        "all of a round done by others after s, max": rank(rescues, 1),
    }
    return Outcome(tally, figures, tuple(wrong))


def _victims(farm: Farm, turn: int, held: ExitStack) -> list[Victim]:
    """Start all of them; each of those that render alone has a ComfyUI of its own, and the last one freezes with it."""
    shared, victims = farm.world.comfy_url, list[Victim]()
    alone, _ = held.enter_context(own_comfy(farm, f"alone-{turn}"))
    with_it, comfy_pid = held.enter_context(own_comfy(farm, f"froze-{turn}"))

    def start(moment: str, url: str, command: Sequence[str], more: tuple[int, ...] = ()) -> None:
        line = held.enter_context(Proxy(farm.world.cloud.endpoint_url, name=call_of, about=about_job))
        worker = farm.worker(command=command, COMFY_URL=url, AWS_ENDPOINT_URL=line.url, **HIDDEN)
        victims.append(Victim(moment, worker, url, (worker.process.pid, *more), line))
        held.callback(worker.stop)

    for moment in MOMENTS:
        told = farm.world.wishes.home / f"froze-{moment}-{turn}"
        command = ["faults.upset", "--at", moment, "--do", "freeze", "--told", str(told), "--", "queue"]
        start(moment, alone if moment == EARLY else shared, command)
    start(RENDERING, shared, ("worker", "queue"))
    start(MACHINE, with_it, ("worker", "queue"), (comfy_pid,))
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
        awake = [victim for victim in awake if not victim.job_id]
        if not awake:
            return asked
    raise RuntimeError(f"not frozen: {', '.join(victim.moment for victim in awake)}")


def _one_more(farm: Farm, awake: list[Victim], asked: list[Asked]) -> bool:
    """Freeze those that render; say whether one more is frozen."""
    for victim in awake:
        if victim.moment in (RENDERING, MACHINE) and not victim.is_frozen and _is_rendering(farm, victim, asked):
            victim.freeze()
    frozen = [victim for victim in awake if victim.is_frozen]
    # At once: later another one may have its job, which is frozen with it in turn.
    _note_held(farm, frozen, asked)
    return any(victim.job_id for victim in frozen)


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


def _note_held(farm: Farm, victims: Sequence[Victim], asked: Sequence[Asked]) -> None:
    """Note which attempt each of them held as it froze."""
    jobs = farm.ledger.get_many([one.job_id for one in asked])
    for victim in victims:
        for job in jobs:
            is_open = job.state is State.RUNNING or victim.moment == "committed"
            if job.owner == victim.worker.name and is_open:
                victim.job_id, victim.attempt = job.job_id, job.attempt


def _rescued(farm: Farm, victims: Sequence[Victim], asked: Sequence[Asked], rescuer: Child) -> bool:
    """Wait until all jobs have ended; the early victim wakes up as soon as the rescuer has claimed its job."""
    (early,) = [victim for victim in victims if victim.moment == EARLY]

    def all_ended() -> bool:
        job = None if early.thawed_at else farm.ledger.get(early.job_id)
        if job is not None and job.state is State.RUNNING and job.owner == rescuer.name:
            early.thaw(farm)
        return farm.all_ended(asked, 0)

    return wait_until(all_ended, 60, look_s=0.05)


def _gave_way(farm: Farm, victim: Victim) -> list[str]:
    """Wait until the woken worker has seen that its job is not its own; one that froze after its commit has not to."""

    def has_seen() -> bool:
        lines = farm.said(victim.worker)[victim.said_before :].splitlines()
        return any(victim.job_id in line and any(words in line for words in GAVE_WAY) for line in lines)

    if not victim.job_id:
        return [f"the worker frozen at {victim.moment} held no job: nothing was proven"]
    if victim.moment == "committed" or wait_until(has_seen):
        return []
    return [f"the worker frozen at {victim.moment} did not see, when it woke up, that its job was another's"]


def _fenced(victim: Victim, writes: Sequence[Exchange]) -> list[str]:
    """Tell what a zombie wrote of the job that it held, and what it should have tried and did not."""
    wrong = [
        f"a worker that woke up at {victim.moment} wrote to a job that was another's: {each.name}"
        for each in writes
        if each.status == 200
    ]
    if not writes and victim.moment != "committed":
        wrong.append(f"the worker frozen at {victim.moment} tried to write nothing when it woke up: nothing was proven")
    return wrong


def _was_open(job: Job | None, write: Exchange) -> bool:
    """Say whether *write* was sent before the job ended; the rescuer had it then."""
    ago_s = time.monotonic() - (write.sent_s or 0.0)
    return job is not None and job.finished_at is not None and (time.time() - ago_s) * 1000 < job.finished_at


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
