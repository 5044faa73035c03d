"""Fill a worker's disk while it works (F11): it says so and lives, another worker does the job."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Final

from chalicelib.contract.manifest import parse_workflow
from chalicelib.contract.states import State
from faults.farm import Asked, Farm
from faults.report import Outcome
from faults.scenario import Scenario, Size
from sandbox.waiting import wait_until
from sandbox.world import Child

DISK_MB: Final = 30
SETTINGS: Final = {"MAX_OUTPUT_MB": "12"}
"""Files larger than 8 MB pass through the disk; twice the largest job must be free before a job is taken."""
GRAPH: Final[dict[str, Any]] = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 2000, "height": 1600, "batch_size": 1, "color": 0}},
    "2": {"class_type": "TestSleep", "inputs": {"image": ["1", 0], "seconds": 1.0, "steps": 5, "preview": False}},
    "3": {"class_type": "TestNoise", "inputs": {"image": ["2", 0], "seed": 0}},
    "4": {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": "noise"}},
}
GRAPH["2"]["inputs"]["seed"] = 0
PARAMETERS: Final = {
    "seed": {
        "type": "integer",
        "label": "Seed",
        "min": 0,
        "max": 9999,
        "default": 0,
        "sets": {"node": "3", "input": "seed"},
    }
}


def full_disk(farm: Farm, size: Size) -> Outcome:
    """The disk fills while a picture of 9.6 MB is rendered; it is emptied again in the end."""
    farm.publish([parse_workflow("noise", {"name": "Noise", "parameters": PARAMETERS}, {}, GRAPH, file="noise.yaml")])
    wrong, asked, took = list[str](), list[Asked](), list[float]()
    kind = ""
    for turn in range(1 if size is Size.CI else 5):
        kind, took_s = _once(farm, turn, asked, wrong)
        took.append(took_s)
    tally, more = farm.judge(asked)
    figures: dict[str, float | int | str] = {"disk": kind, "done elsewhere after s, max": round(max(took), 1)}
    return Outcome(tally, figures, tuple(wrong + more))


def _once(farm: Farm, turn: int, asked: list[Asked], wrong: list[str]) -> tuple[str, float]:
    disk = farm.world.wishes.home / f"disk-{turn}"
    command = ["faults.upset", "--disk-mb", str(DISK_MB), "--", "queue"]
    full = farm.worker(command=command, WORKER_HOME=str(disk), **SETTINGS)
    one = farm.submit("noise", seed=turn)
    asked.append(one)
    if not wait_until(lambda: (job := farm.job(one)) is not None and job.state is State.RUNNING):
        wrong.append("the worker with the small disk did not take the job")
    is_mounted = "tmpfs" in farm.said(full)
    inside = Path(f"/proc/{full.process.pid}/root{disk}/ballast")
    if is_mounted:
        inside.write_bytes(bytes((DISK_MB - 4) * 1_000_000))
    begun = time.monotonic()
    if not wait_until(lambda: "disk is full" in farm.said(full)):
        wrong.append("the worker did not say that its disk is full")
    other = farm.worker()
    if not farm.all_ended([one], 75):
        wrong.append("the job was not done by the other worker")
    took_s = time.monotonic() - begun
    job = farm.job(one)
    if job is None or job.owner != other.name:
        wrong.append("the job was not done by the other worker")
    if full.process.poll() is not None:
        wrong.append(f"the worker ended with code {full.process.returncode} because its disk was full")
    elif is_mounted:
        _goes_on(farm, full, other, inside, turn, asked, wrong)
    full.stop()
    other.stop()
    return ("tmpfs" if is_mounted else "bound on file sizes"), took_s


def _goes_on(
    farm: Farm, full: Child, other: Child, ballast: Path, turn: int, asked: list[Asked], wrong: list[str]
) -> None:
    """See that it takes nothing while its disk is full, and works again when there is room."""
    if not wait_until(lambda: "The disk is nearly full" in farm.said(full), 20):
        wrong.append("the worker did not say why it takes no jobs")
    ballast.unlink()
    other.stop()
    asked.append(farm.submit("noise", seed=1000 + turn))
    if not farm.all_ended(asked[-1:], 60):
        wrong.append("the worker took no jobs when there was room again")


SCENARIOS = (Scenario("F11", "a worker's disk fills while it renders", ("P1", "P16"), full_disk),)
