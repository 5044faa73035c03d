"""Take workers away: killed, stopped, frozen."""

from __future__ import annotations

import time

from chalicelib.contract.states import State
from faults.farm import Farm
from faults.report import Outcome
from faults.scenario import Scenario, Size
from sandbox.waiting import wait_until


def pulled_plug(farm: Farm, _size: Size) -> Outcome:
    """SIGKILL while a job runs; another worker takes it."""
    asked = farm.insist(farm.ask(steps=100))
    first = farm.worker()
    running = wait_until(lambda: (job := farm.job(asked)) is not None and job.state is State.RUNNING)
    first.kill()
    begun = time.monotonic()
    second = farm.worker()
    farm.all_ended([asked])
    recovery_s = time.monotonic() - begun
    second.stop()
    tally, wrong = farm.judge([asked])
    wrong += [] if running else ["the first worker never took the job"]
    return Outcome(tally, {"recovery s": round(recovery_s, 1)}, tuple(wrong))


SCENARIOS = (Scenario("F1", "a worker's plug is pulled while its job runs", ("P1", "P5", "P16"), pulled_plug),)
