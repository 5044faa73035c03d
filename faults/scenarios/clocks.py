"""
Set workers' clocks wrong, from the start and in the middle, by seconds and by minutes (F12).

A lease is a time that one machine writes and another one reads. Two workers may be wrong by what CLOCK_SKEW_S allows,
in opposite directions; one that is more wrong takes no job; and a clock that is set while a job runs (a step of NTP, a
machine that wakes up) neither gives the job away before its time nor locks it away for minutes.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from chalicelib.contract.events import JobMessage
from chalicelib.contract.job import Job
from chalicelib.contract.manifest import parse_workflow
from chalicelib.contract.states import State
from faults.farm import Asked, Farm
from faults.report import Outcome
from faults.scenario import Scenario, Size
from sandbox.waiting import wait_until
from sandbox.world import Child

TIMES: Final = {"LEASE_S": "4", "HEARTBEAT_S": "1", "VISIBILITY_S": "6", "CLOCK_SKEW_S": "1.5", "WAIT_S": "1"}
A_LITTLE_S: Final = 0.9
"""Within the bound also when the whole seconds of a Date header are in the way."""
TAKES_S: Final = 5.0
LONG_S: Final = 50.0
"""Longer than the other worker needs to start, also on a busy machine; it is cancelled when it has served."""
GRAPH: Final[dict[str, Any]] = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0}},
    "2": {"class_type": "TestSleep", "inputs": {"image": ["1", 0], "seconds": TAKES_S, "steps": 50, "preview": False}},
    "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "clock"}},
}
GRAPH["2"]["inputs"]["seed"] = 0
PARAMETERS: Final = {
    "seed": {
        "type": "integer",
        "label": "Seed",
        "min": 0,
        "max": 9999,
        "default": 0,
        "sets": {"node": "2", "input": "seed"},
    },
    "seconds": {
        "type": "float",
        "label": "Seconds",
        "min": 0,
        "max": 60,
        "default": TAKES_S,
        "sets": {"node": "2", "input": "seconds"},
    },
}


@dataclass
class Drill:
    """Hold the worker whose clock is set, and what came of it."""

    farm: Farm
    file: Path
    worker: Child
    asked: list[Asked] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    said_before: int = 0
    """How much it had logged when its clock was set last."""

    def set_clock(self, by_s: float) -> None:
        """Make its clock wrong by so much (a rename: it is never read half written)."""
        self.said_before = len(self.farm.said(self.worker))
        part = self.file.with_suffix(".part")
        part.write_text(str(by_s))
        part.replace(self.file)
        threading.Event().wait(0.05)

    def ask(self, seconds: float = TAKES_S) -> Asked:
        asked = self.farm.submit("clocks", seed=len(self.asked), seconds=seconds)
        self.asked.append(asked)
        return asked

    def job(self, asked: Asked) -> Job:
        job = self.farm.job(asked)
        if job is None:
            raise RuntimeError("a job was not accepted")
        return job

    def is_running(self, asked: Asked) -> bool:
        return self.job(asked).state is State.RUNNING


def wrong_clocks(farm: Farm, size: Size) -> Outcome:
    """Both directions of each error, in the order in which one worker may live through them."""
    farm.publish(
        [parse_workflow("clocks", {"name": "Clocks", "parameters": PARAMETERS}, {}, GRAPH, file="clocks.yaml")]
    )
    asked, wrong, recoveries = list[Asked](), list[str](), list[float]()
    for by_s in (600.0,) if size is Size.CI else (30.0, 600.0, 3600.0):
        drill, recovery_s = _live_through(farm, by_s)
        asked += drill.asked
        wrong += drill.wrong
        recoveries.append(recovery_s)
    tally, more = farm.judge(asked)
    figures: dict[str, float | int | str] = {
        "claims with a wrong clock, leases stolen or locked away": len(wrong),
        "recovery s after a kill with the clock ahead, max": round(max(recoveries), 1),
    }
    return Outcome(tally, figures, tuple(wrong + more))


def _live_through(farm: Farm, by_s: float) -> tuple[Drill, float]:
    file = farm.world.wishes.home / f"clock-{by_s:g}"
    command = ["faults.upset", "--clock-file", str(file), "--", "queue"]
    drill = Drill(farm, file, farm.worker(command=command, **TIMES))
    _idle_and_set(drill, by_s)
    other = _tempted(drill, by_s)
    _left_to_the_other(drill, by_s, other)
    other.stop()
    return drill, _locked_away(drill, by_s)


def _idle_and_set(drill: Drill, by_s: float) -> None:
    """A waiting worker's clock is set forward: the next message is not claimed with that clock."""
    if not wait_until(lambda: "ComfyUI is there" in drill.farm.said(drill.worker), 120):
        drill.wrong.append("the worker did not start")
    drill.set_clock(by_s)
    asked = drill.ask(LONG_S)
    if wait_until(lambda: drill.job(asked).attempt > 0, 2.5):
        drill.wrong.append(f"a waiting worker whose clock was set {by_s:g} s forward claimed the next job")
    drill.set_clock(-A_LITTLE_S)
    if not wait_until(lambda: drill.is_running(asked), 20):
        drill.wrong.append("a worker whose clock was put right took no jobs again")


def _tempted(drill: Drill, by_s: float) -> Child:
    """
    The holder's clock is behind, a thief's ahead, each by what is allowed, and then the holder's falls far behind.

    The thief gets the job's message again and again: only the lease keeps it away.
    """
    farm, asked = drill.farm, drill.asked.pop()
    other = farm.worker(command=["faults.upset", "--clock-s", str(A_LITTLE_S), "--", "queue"], **TIMES)
    if not wait_until(lambda: "ComfyUI is there" in farm.said(other), 120):
        drill.wrong.append("the other worker did not start")
    for wrong_s in (-A_LITTLE_S, -by_s):
        drill.set_clock(wrong_s)
        until = time.monotonic() + 3 * float(TIMES["HEARTBEAT_S"])
        while time.monotonic() < until and drill.is_running(asked):
            body = JobMessage(job_id=asked.job_id, seq=drill.job(asked).seq).model_dump_json()
            farm.sqs.send_message(QueueUrl=farm.outputs["JobsQueueUrl"], MessageBody=body)
            threading.Event().wait(0.3)
        job = drill.job(asked)
        if (job.state, job.attempt, job.owner) != (State.RUNNING, 1, drill.worker.name):
            now = f"{job.state}, attempt {job.attempt} of {job.owner}"
            drill.wrong.append(f"a lease was stolen while its holder's clock was {wrong_s:g} s ahead: {now}")
    # It has served: its worker sees that at the next heartbeat.
    farm.ledger.cancel(asked.job_id, now=time.time_ns() // 1_000_000)
    return other


def _left_to_the_other(drill: Drill, by_s: float, other: Child) -> None:
    """Wrong by more than the bound, in both directions: the other worker does all, and this one says why not."""
    # It is behind when this begins, and has said so: it says only what is new.
    for wrong_s, word in ((by_s, "ahead of"), (-by_s, "behind")):
        drill.set_clock(wrong_s)
        jobs = [drill.ask(0.2) for _ in range(3)]
        if not drill.farm.all_ended(jobs, 30):
            drill.wrong.append("the worker with the right clock did not do the jobs")
        if any(drill.job(asked).owner != other.name for asked in jobs):
            drill.wrong.append(f"a worker whose clock was {word} by {by_s:g} s took a job")
        if not _says(drill, f"s {word} AWS's"):
            drill.wrong.append(f"a worker whose clock was {word} by {by_s:g} s did not say so")


def _says(drill: Drill, words: str) -> bool:
    """Wait until the worker says *words*; what it said before its clock was set does not count."""
    return wait_until(lambda: words in drill.farm.said(drill.worker)[drill.said_before :], 20)


def _locked_away(drill: Drill, by_s: float) -> float:
    """The holder's clock is set forward, it renews its lease once more, and its plug is pulled: the time until done."""
    drill.set_clock(0)
    asked = drill.ask()
    if not wait_until(lambda: drill.is_running(asked), 30):
        drill.wrong.append("a worker whose clock was put right took no jobs again")
    drill.set_clock(by_s)
    threading.Event().wait(2.5 * float(TIMES["HEARTBEAT_S"]))
    drill.worker.kill()
    begun = time.monotonic()
    last = drill.farm.worker(**TIMES)
    if not drill.farm.all_ended([asked], 30):
        drill.wrong.append(f"a job was locked away by a lease {by_s:g} s in the future")
        now = time.time_ns() // 1_000_000
        drill.farm.ledger.cancel(asked.job_id, now=now)
    last.stop()
    return time.monotonic() - begun


SCENARIOS = (
    Scenario("F12", "workers' clocks are wrong, and are set while jobs run", ("P1", "P5", "P6"), wrong_clocks),
)
