"""Cancel at every phase, and race with the end: exactly one wins, the answer tells which, and ComfyUI stops (P8)."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import requests

from chalicelib.contract.job import job_id_of, prompt_id_of
from chalicelib.contract.states import TERMINAL, State
from faults.desk import Desk
from faults.farm import SHORT, TENANT, Asked, Farm
from faults.kitchens import Kitchen, Moody, workflows
from faults.report import Outcome, Tally, rank
from faults.scenario import Scenario, Size
from sandbox.waiting import wait_until

COUNT: Final = {Size.CI: 12, Size.ALL: 200}
AT_ONCE: Final = 8
JOB_S: Final = 1.2
LONG: Final = {Size.CI: 5, Size.ALL: 40}
LONG_S: Final = 20.0
"""Of jobs that cannot end by themselves before ComfyUI has to be told to stop them."""
STOPS_WITHIN_S: Final = float(SHORT["HEARTBEAT_S"]) + 2
"""P8: ComfyUI is told to stop within a heartbeat and two seconds."""


@dataclass
class _Race:
    """Hold what became of each cancellation."""

    farm: Farm
    kitchen: Kitchen
    proxy: Moody
    said: dict[str, str] = field(default_factory=dict)
    """The state that the answer told, by job id."""
    phase: dict[str, str] = field(default_factory=dict)
    """Where the job was a moment before."""
    rendering: set[str] = field(default_factory=set)
    """The prompts that ComfyUI worked on a moment before."""
    wrong: list[str] = field(default_factory=list)

    def cancel(self, job_id: str) -> None:
        """Cancel a job as a program does."""
        job = self.farm.ledger.get(job_id)
        self.phase[job_id] = "nowhere" if job is None else job.phase or job.state.value
        if job is not None and job.attempt and (prompt := prompt_id_of(job_id, job.attempt)) in self.kitchen.running():
            self.rendering.add(prompt)
        answer = self._insist(f"/api/v2/jobs/{job_id}/cancel")
        if answer.status_code != 200:
            self.wrong.append(f"cancelling {job_id} was answered {answer.status_code}: {answer.text[:200]}")
            return
        self.said[job_id] = answer.json()["status"]

    def _insist(self, path: str) -> requests.Response:
        """Ask again when no answer comes, or a wait is asked for: repeating a cancellation is safe."""
        for _ in range(10):
            with contextlib.suppress(requests.RequestException):
                answer = self.farm.call("POST", path)
                if answer.status_code not in (429, 503):
                    return answer
            wait_until(lambda: False, 0.5)
        return self.farm.call("POST", path)

    def judge(self, desk: Desk | None) -> Tally:
        """Hold every answer against the ledger and against all that the rows ever showed."""
        lost = 0
        for job_id, said in self.said.items():
            job = self.farm.ledger.get(job_id)
            if job is None or job.state.value != said:
                lost += 1
                self.wrong.append(f"{job_id} was answered “{said}” and is {job.state if job else 'gone'}")
            elif job.state is State.CANCELED and desk is not None and job_id in desk.linked:
                self.wrong.append(f"{job_id} was cancelled, and its row showed an output")
        return Tally(len(self.said), len(self.said), lost=lost)

    def stops_s(self) -> list[float]:
        """
        Give the seconds from each job's CANCELED to ComfyUI's being told to stop it; late ones are breaches.

        Whether a short job's prompt needed a stop nobody can tell; those of `stop_rendering` do.
        """
        found = []
        for job_id, said in self.said.items():
            job = self.farm.ledger.get(job_id)
            if said != "canceled" or job is None or not job.attempt:
                continue
            at = self.proxy.cancelled_at.get(prompt_id_of(job_id, job.attempt))
            if at is None:
                # What was cancelled before it was sent, or after it had ended there, needs no stop.
                continue
            found.append(max(0.0, at - (job.finished_at or 0) / 1000))
        late = [each for each in found if each > STOPS_WITHIN_S]
        if late:
            self.wrong.append(f"ComfyUI was told to stop only after {max(late):.1f} s ({len(late)} of {len(found)})")
        return found

    def stop_rendering(self, number: int, dice: random.Random) -> None:
        """Cancel a long job while ComfyUI works on it: it must be told to stop, each time, and stop."""
        asked = self.farm.ask(workflow="sleeps", seconds=LONG_S)

        def prompt() -> str:
            job = self.farm.job(asked)
            return prompt_id_of(job.job_id, job.attempt) if job is not None and job.attempt else ""

        if not wait_until(lambda: prompt() in self.kitchen.running(), 30, 0.05):
            self.wrong.append("a job that is to be cancelled was never begun")
        wait_until(lambda: False, dice.uniform(0, float(SHORT["HEARTBEAT_S"])))
        self.cancel(asked.job_id)
        if prompt() not in self.rendering:
            self.wrong.append(f"long job {number} was not rendering when it was cancelled: nothing was proven")
        # A second beyond the bound, for what lies between the ledger's clock and these looks; `stops_s` has the bound.
        if not wait_until(lambda: prompt() in self.proxy.cancelled_at, STOPS_WITHIN_S + 1, 0.05):
            self.wrong.append(f"ComfyUI was not told to stop long job {number}, which it was rendering when cancelled")
        elif not wait_until(lambda: prompt() not in self.kitchen.running(), STOPS_WITHIN_S, 0.05):
            self.wrong.append(f"ComfyUI was told to stop long job {number}, and went on with it")


def cancelled(farm: Farm, size: Size) -> Outcome:
    """Jobs of programs and of rows, cancelled at random moments of their lives, from waiting to committed."""
    farm.publish(workflows())
    kitchen = Kitchen(farm.world.wishes.home / "cancelled").start()
    proxy = Moody(kitchen.url)
    race, dice, desk = _Race(farm, kitchen, proxy), random.Random(15), Desk(farm, "cancelled")
    waiting = [farm.ask(workflow="sleeps", seconds=1.0).job_id for _ in range(2)]
    for job_id in waiting:
        race.cancel(job_id)
    worker = farm.worker(COMFY_URL=proxy.url)
    try:
        for number in range(1, LONG[size] + 1):
            race.stop_rendering(number, dice)
        rows = max(4, COUNT[size] // 10)
        desk.render(rows, Workflow="sleeps", Seconds=str(JOB_S))
        _at_random(race, [job_id_of(TENANT, key) for key in desk.keys], dice)
        for begin in range(0, COUNT[size], AT_ONCE):
            asked = [farm.ask(workflow="sleeps", seconds=JOB_S) for _ in range(min(AT_ONCE, COUNT[size] - begin))]
            _at_random(race, [one.job_id for one in asked], dice)
            _over(farm, asked, race)
        if not desk.all_ended(60):
            race.wrong.append("not every row shows the end of its job")
        race.wrong += desk.judge().sentences
        # A stop that is on its way still counts.
        wait_until(lambda: not kitchen.running(), STOPS_WITHIN_S + 3)
        if kitchen.running():
            race.wrong.append("ComfyUI still renders what was cancelled")
    finally:
        worker.stop()
        proxy.close()
        kitchen.end()
    tally, stops = race.judge(desk), race.stops_s()
    desk.close()
    told = list(race.said.values())
    figures: dict[str, float | int | str] = {
        "cancelled": told.count("canceled"),
        "too late (succeeded)": told.count("succeeded"),
        **{f"while {phase}": list(race.phase.values()).count(phase) for phase in sorted(set(race.phase.values()))},
        "rendering when cancelled": len(race.rendering),
        "of them too long to end by themselves": LONG[size],
        "prompts stopped": len(stops),
    }
    if stops:
        figures |= {f"cancel to interrupt p{int(share * 100)} s": rank(stops, share) for share in (0.5, 0.99)}
    else:
        race.wrong.append("no cancellation met a rendering job")
    return Outcome(tally, figures, tuple(race.wrong))


def _at_random(race: _Race, job_ids: Sequence[str], dice: random.Random) -> None:
    """Cancel each of them at a random moment: before it is claimed, or so long after."""

    def later(job_id: str, after_s: float) -> None:
        if after_s > 0:
            wait_until(lambda: _claimed_s_ago(race.farm, job_id) >= after_s, 30, 0.05)
        race.cancel(job_id)

    # The last ones come when the picture is made and is being uploaded, or later.
    moments = [dice.uniform(-0.15, 1.4) * JOB_S for _ in job_ids]
    threads = [
        threading.Thread(target=later, args=(job_id, moment)) for job_id, moment in zip(job_ids, moments, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _claimed_s_ago(farm: Farm, job_id: str) -> float:
    """Say how long ago a worker took the job, by the clock of this machine; negative: it waits."""
    job = farm.ledger.get(job_id)
    if job is None or job.state is State.QUEUED or job.started_at is None:
        return -1.0
    return float("inf") if job.state in TERMINAL else time.time() - job.started_at / 1000


def _over(farm: Farm, asked: Sequence[Asked], race: _Race) -> None:
    if not farm.all_ended(asked, 60):
        race.wrong.append("a job that was cancelled has not ended")


SCENARIOS = (Scenario("F15", "cancelled at every phase, and racing with the end", ("P7", "P8"), cancelled),)
