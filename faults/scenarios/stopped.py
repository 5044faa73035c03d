"""
Stop workers politely in each phase of a job, with a plug that is pulled two seconds later (F13).

One job goes from hand to hand: each worker takes it, is told to stop at its moment, and must hand it back within two
seconds (P14). All leases are a minute long here, so a job that was left to its lease would be seen.
"""

from __future__ import annotations

import base64
import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, Final

from PIL import Image

from chalicelib.contract.job import Job
from chalicelib.contract.manifest import parse_workflow
from chalicelib.contract.states import State
from faults.farm import Asked, Farm
from faults.report import Outcome, rank
from faults.scenario import Scenario, Size
from faults.scenarios.froze import renders
from sandbox.waiting import wait_until
from sandbox.world import Child

LONG: Final = {"LEASE_S": "60", "HEARTBEAT_S": "15", "VISIBILITY_S": "90"}
GRACE_S: Final = 2.0
START_S: Final = 120.0
"""How long a worker may take to start, on a machine that has much else to do."""
HANDS: Final = (("claimed", "inputs", "rendering", "uploading", "committing"), ("committed",))
"""Who stops when a commit is under way has ended the job: of a second job, only that."""
HANDS_BACK: Final = frozenset({"claimed", "inputs", "rendering"})
"""Moments after which nobody can have ended the job instead."""
GRAPH: Final[dict[str, Any]] = {
    "1": {"class_type": "LoadImage", "inputs": {"image": "example.png"}},
    "2": {"class_type": "TestSleep", "inputs": {"image": ["1", 0], "seconds": 1.0, "steps": 20, "preview": False}},
    "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "slow"}},
}
GRAPH["2"]["inputs"]["seed"] = 0
PARAMETERS: Final[dict[str, Any]] = {
    "image": {"type": "image", "label": "Image", "sets": {"node": "1", "input": "image"}},
    "seconds": {
        "type": "float", "label": "Seconds", "min": 0, "max": 600, "default": 1,
        "sets": {"node": "2", "input": "seconds"},
    },
}  # fmt: skip


@dataclass
class Course:
    """Gather what came of many stops."""

    back_s: list[float] = field(default_factory=list)
    """From the signal until the job waits again and its message can be received."""
    exits_s: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def polite(farm: Farm, size: Size) -> Outcome:
    """SIGTERM in every phase; the job ends well on the last worker, with its budget whole."""
    workflow = parse_workflow("slow-picture", {"name": "Slow", "parameters": PARAMETERS}, {}, GRAPH, file="slow.yaml")
    farm.publish([workflow])
    course, asked = Course(), list[Asked]()
    _waiting(farm, course)
    for turn in range(1 if size is Size.CI else 20):
        asked += [_hand_to_hand(farm, course, f"{turn}-{moments[0]}", moments) for moments in HANDS]
    asked.append(_within_grace(farm, course))
    tally, wrong = farm.judge(asked)
    figures: dict[str, float | int | str] = {
        "stops": len(course.exits_s),
        "handed back": len(course.back_s),
        **{f"hand-back s p{share * 100:.0f}": rank(course.back_s, share) for share in (0.5, 0.99) if course.back_s},
        "exit after s, max": rank(course.exits_s, 1),
    }
    return Outcome(tally, figures, tuple(course.wrong + wrong))


def _waiting(farm: Farm, course: Course) -> None:
    """Stop a worker that waits for a message; the next message is nobody's but the next worker's."""
    worker = farm.worker(**LONG)
    if not wait_until(lambda: "worker starts" in worker.tail(50), START_S):
        course.wrong.append("a worker did not start")
    begun = time.monotonic()
    worker.process.send_signal(signal.SIGTERM)
    _ended(worker, begun, "waiting for a message", course)
    farm.polls_over()


def _hand_to_hand(farm: Farm, course: Course, turn: str, moments: Sequence[str]) -> Asked:
    """Have one job taken and handed back at every moment, and done in the end."""
    asked = farm.submit("slow-picture", image=_picture(len(course.exits_s)), seconds=1.0)
    for number, moment in enumerate(moments, start=1):
        told = farm.world.wishes.home / f"stopped-{moment}-{turn}"
        if moment == "rendering":
            worker = farm.worker(**LONG)
            if not wait_until(lambda: renders(farm, asked, farm.world.comfy_url), START_S):
                course.wrong.append("no worker was seen to render the job")
                worker.stop()
                break
            begun = time.monotonic()
            worker.process.send_signal(signal.SIGTERM)
            killer = threading.Timer(GRACE_S, worker.process.kill)
            killer.start()
        else:
            command = ["faults.upset", "--at", moment, "--do", "stop", "--told", str(told), "--", "queue"]
            worker, killer = farm.worker(command=command, **LONG), None
            if not wait_until(told.exists, START_S):
                course.wrong.append(f"no worker came to the moment {moment}")
                worker.stop()
                break
            begun = float(told.read_text())
        is_over = _handed_back(farm, asked, moment, begun, course)
        taken = job.attempt if (job := farm.job(asked)) is not None else 0
        if taken != number:
            course.wrong.append(f"the job had been taken {taken} times, not {number}, by the moment {moment}")
        if is_over and moment in HANDS_BACK:
            course.wrong.append(f"a worker stopped at the moment {moment} ended the job instead of handing it back")
        _ended(worker, begun, moment, course)
        if killer is not None:
            killer.cancel()
        if is_over:
            break
    rest = farm.worker(**LONG)
    wait_until(lambda: "ComfyUI is there" in farm.said(rest), START_S)
    if not farm.all_ended([asked], 30):
        course.wrong.append("the job was not done by the next worker: it was left to its lease")
    rest.stop()
    farm.polls_over()
    job = farm.job(asked)
    if job is not None and not _is_told(farm, job):
        course.wrong.append("a job that was committed as its worker ended was not told")
    return asked


def _handed_back(farm: Farm, asked: Asked, moment: str, begun: float, course: Course) -> bool:
    """Measure until the job can be taken again; True: it has ended instead."""

    def settled() -> Job | None:
        job = farm.job(asked)
        return job if job is not None and job.state is not State.RUNNING else None

    if not wait_until(lambda: settled() is not None, 5, look_s=0.005):
        course.wrong.append(f"a job was not handed back by a worker stopped at the moment {moment}")
        return False
    job = settled()
    if job is None or job.state is not State.QUEUED:
        return True
    if job.budget_left != 3:
        course.wrong.append(f"a hand-back at the moment {moment} cost an attempt")
    # It is seen, and put back for the next worker at once.
    queue = farm.outputs["JobsQueueUrl"]
    seen = farm.sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=5, VisibilityTimeout=30).get("Messages", [])
    took_s = time.monotonic() - begun
    for message in seen:
        farm.sqs.change_message_visibility(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0)
    if not seen:
        course.wrong.append(f"the message of a job handed back at the moment {moment} stayed hidden")
        return False
    course.back_s.append(took_s)
    if took_s > GRACE_S:
        course.wrong.append(f"a hand-back at the moment {moment} took {took_s:.1f} s")
    return False


def _ended(worker: Child, begun: float, moment: str, course: Course) -> None:
    """Measure until the process is gone; it must have gone by itself."""
    code = worker.process.wait(30)
    course.exits_s.append(time.monotonic() - begun)
    if code != 0:
        course.wrong.append(f"a worker stopped at the moment {moment} did not end by itself within 2 s (code {code})")


def _within_grace(farm: Farm, course: Course) -> Asked:
    """With GRACE_S a job whose steps say that it ends in time is finished, in the same attempt."""
    asked = farm.submit("slow-picture", image=_picture(999), seconds=6.0)
    worker = farm.worker(**LONG, GRACE_S="20")

    def has_steps() -> bool:
        job = farm.job(asked)
        return job is not None and job.progress is not None and (job.progress.step or 0) >= 3

    if not wait_until(has_steps, START_S):
        course.wrong.append("no step of the job that is to end within the grace was seen")
    elif (job := farm.job(asked)) is not None and job.state is not State.RUNNING:
        course.wrong.append("the job that is to end within the grace had ended before")
    worker.process.send_signal(signal.SIGTERM)
    code = worker.process.wait(30)
    job = farm.job(asked)
    if code != 0 or job is None or (job.state, job.attempt) != (State.SUCCEEDED, 1):
        course.wrong.append("a job that could end within the grace was not finished")
    return asked


def _is_told(farm: Farm, job: Job) -> bool:
    """Say whether completion has heard of the job's end: it counts as shown then."""
    return wait_until(lambda: (now := farm.ledger.get(job.job_id)) is not None and now.is_shown, 10)


def _picture(number: int) -> str:
    file = BytesIO()
    Image.new("RGB", (64, 64), (number % 256, 99, 180)).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


SCENARIOS = (Scenario("F13", "workers are stopped in each phase, and killed two seconds later", ("P1", "P14"), polite),)
