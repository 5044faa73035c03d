"""Take workers away: killed, stopped, frozen."""

from __future__ import annotations

import time
from typing import Final

from chalicelib.contract.states import State
from faults.farm import SHORT, Farm
from faults.report import Outcome
from faults.scenario import Scenario, Size
from sandbox.waiting import wait_until
from sandbox.world import Child

SLACK_S: Final = 20.0
"""What a machine that does four such things at once on two cores adds to any time."""
JOB_S: Final = 2.5
"""100 steps of 20 ms, a claim, an upload."""


def is_up(farm: Farm, worker: Child) -> bool:
    """Say whether a worker has found its ComfyUI, and so asks for messages."""
    return "ComfyUI is there" in farm.said(worker)


def due_s(died_at: float, up_at: float, visibility_s: float, job_s: float) -> float:
    """
    Say by when (s, as the times given) the job of a worker that *died_at* has ended by P5: visibility, one poll, and
    what the jobs take. Before another worker is up nobody can take it.
    """
    return max(died_at + visibility_s, up_at) + float(SHORT["WAIT_S"]) + job_s + SLACK_S


def pulled_plug(farm: Farm, _size: Size) -> Outcome:
    """SIGKILL while a job runs; another worker takes it."""
    asked = farm.insist(farm.ask(steps=100))
    first = farm.worker()
    running = wait_until(lambda: (job := farm.job(asked)) is not None and job.state is State.RUNNING)
    first.kill()
    died_at = time.time()
    second = farm.worker()
    wrong = [] if running else ["the first worker never took the job"]
    if not wait_until(lambda: is_up(farm, second), 120):
        wrong.append(f"the second worker did not start: {second.tail(3)}")
    up_at = time.time()
    farm.all_ended([asked])
    second.stop()
    tally, breaches = farm.judge([asked])
    job = farm.job(asked)
    ended = job.finished_at / 1000 if job is not None and job.finished_at is not None else time.time()
    late_s = ended - due_s(died_at, up_at, float(SHORT["VISIBILITY_S"]), JOB_S)
    if late_s > 0:
        wrong.append(f"the job ended {ended - died_at:.0f} s after its worker died, {late_s:.0f} s after it was due")
    if job is not None and job.attempt < 2:
        wrong.append("the first worker was done before its plug was pulled")
    figures: dict[str, float | int | str] = {
        "recovery s": round(ended - died_at, 1),
        "of them while the other worker started": round(max(0.0, min(up_at, ended) - died_at), 1),
    }
    return Outcome(tally, figures, (*wrong, *breaches))


SCENARIOS = (Scenario("F1", "a worker's plug is pulled while its job runs", ("P1", "P5", "P16"), pulled_plug),)
