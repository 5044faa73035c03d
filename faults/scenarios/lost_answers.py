"""Lose answers: what was asked for is done, and whoever asked is not told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

from chalicelib.contract.job import job_id_of
from faults.farm import TENANT, Asked, Farm
from faults.lines import Lines
from faults.orders import Fault, Kind, Match, Order
from faults.report import Outcome, rank
from faults.scenario import Scenario, Size
from sandbox.waiting import wait_until

RECEIVE: Final = "sqs ReceiveMessage"
LONG_STEPS: Final = 40
"""Of a job that lives long enough to be renewed once."""
RENEWALS: Final = frozenset({"dynamodb heartbeat", "sqs ChangeMessageVisibility"})
"""Calls that come again and again for as long as a job runs."""
ASKED_MOST: Final = 3
MUST_LOSE: Final = ("dynamodb PutItem", "sqs SendMessageBatch")
"""The two calls of a submission that leave something behind."""
UNNAMED: Final = frozenset({"sqs DeleteMessage", "sqs ChangeMessageVisibility", "s3 get workflow"})
"""Calls that do not say which job they are about: whichever comes next is meant."""
NOT_OF_JOBS: Final = frozenset({"dynamodb GetItem", "dynamodb PutItem", "dynamodb DeleteItem", "GET /ws"})
"""Calls of the worker's own, made at its start, once a minute and at its end."""


@dataclass(frozen=True)
class Point:
    """Name one answer in a job's life: the N-th of a call."""

    is_comfy: bool
    call: str
    nth: int

    def __str__(self) -> str:
        return f"{self.call} #{self.nth}"


@dataclass
class Try:
    """Follow a job whose one answer was lost; *took_s* from its acceptance to its end."""

    point: Point
    asked: Asked
    order: Order
    took_s: float = 0.0
    attempts: int = 0


def of_workers(farm: Farm, size: Size) -> Outcome:
    """Lose the answer of each call that a worker makes in a job's life: AWS's and ComfyUI's."""
    with Lines(farm) as lines:
        lines.worker()
        wait_until(lambda: lines.aws.counts[RECEIVE] > 0)
        # Only a worker's first job of a workflow fetches it.
        tries = _tried(farm, lines, [Point(False, "s3 get workflow", 1)])
        points, clean_s = _points(farm, lines)
        before = lines.gpu_runs() - len(tries)
        if size is Size.CI:
            tries += _tried(farm, lines, [point for point in points if point.nth == 1])
        else:
            tries += [each for point in points for each in _tried(farm, lines, [point])]
        runs = lines.gpu_runs() - before
        tally, wrong = farm.judge([each.asked for each in tries])
    wrong += [f"the answer to {each.point} was not lost" for each in tries if not each.order.fired]
    burnt = [each for each in tries if each.attempts != 1]
    wrong += [f"after a lost answer to {each.point}: {each.attempts} attempts" for each in burnt]
    wrong += [] if runs == len(tries) else [f"{len(tries)} jobs made {runs} GPU runs"]
    # Whoever loses the message itself waits until it is visible again: that is SQS's own doing.
    others_s = [each.took_s for each in tries if each.point.call != RECEIVE]
    message_s = [each.took_s for each in tries if each.point.call == RECEIVE]
    figures: dict[str, float | int | str] = {
        "answers lost": sum(each.order.fired for each in tries),
        "calls": len({each.point.call for each in tries}),
        "attempts burnt": len(burnt),
        "GPU runs per job": f"{runs}/{len(tries)}",
        "clean job s": round(clean_s, 2),
        "job s p50/max": f"{rank(others_s, 0.5)}/{rank(others_s, 1)}",
        "slowest": str(max(tries, key=lambda each: (each.point.call != RECEIVE, each.took_s)).point),
        "after a lost message s": rank(message_s, 1),
    }
    return Outcome(tally, figures, tuple(wrong))


def _points(farm: Farm, lines: Lines) -> tuple[list[Point], float]:
    """Let a job run undisturbed and list what its worker asked; and how long it took."""
    wait_until(lambda: _done_with(lines) == lines.gpu_runs())
    before = _done_with(lines)
    marks = len(lines.aws.log), len(lines.comfy.log)
    asked = farm.insist(farm.ask(steps=LONG_STEPS))
    wait_until(lambda: _done_with(lines) > before)
    aws = Counter(each.name for each in lines.aws.log[marks[0] :] if each.is_answered)
    comfy = Counter(each.name for each in lines.comfy.log[marks[1] :])
    # A long poll that brings nothing is no part of a job's life; the one that brings the message is.
    aws[RECEIVE] = 1
    points = [
        Point(is_comfy, call, nth)
        for is_comfy, calls in ((False, aws), (True, comfy))
        for call, times in sorted(calls.items())
        for nth in range(1, times + 1)
        if call not in NOT_OF_JOBS
    ]
    farm.all_ended([asked])
    return points, _took_s(farm, asked)


def _done_with(lines: Lines) -> int:
    """Count the jobs whose message is deleted and whose history is forgotten."""
    deleted = sum(each.name == "sqs DeleteMessage" and each.is_answered for each in lines.aws.log)
    forgotten = sum(each.name == "POST /history" and each.is_answered for each in lines.comfy.log)
    return min(deleted, forgotten)


def _tried(farm: Farm, lines: Lines, points: Sequence[Point]) -> list[Try]:
    """Lose the answers at *points*, each in a job of its own, all at once; wait until each is lost and its job over."""
    keys = [str(uuid4()) for _ in points]
    orders = [
        (lines.comfy if point.is_comfy else lines.aws).order(_fault(point, job_id_of(TENANT, key)))
        for point, key in zip(points, keys, strict=True)
    ]
    _wait_out_polls(lines)
    asked = [farm.insist(farm.ask(key=key, steps=_steps(point))) for point, key in zip(points, keys, strict=True)]
    farm.all_ended(asked)
    wait_until(lambda: all(order.fired for order in orders), patience_s=5)
    tries = []
    for point, one, order in zip(points, asked, orders, strict=True):
        order.lift()
        job = farm.job(one)
        tries.append(Try(point, one, order, _took_s(farm, one), job.attempt if job else 0))
    return tries


def _wait_out_polls(lines: Lines) -> None:
    """Wait until the long polls are over that began before an order was given."""
    open_polls = [each for each in lines.aws.log if each.name == RECEIVE and each.status is None]
    wait_until(lambda: all(each.status is not None for each in open_polls), patience_s=5)


def _steps(point: Point) -> int:
    """Choose a job that is long enough for the call to come."""
    if point.call in RENEWALS:
        return LONG_STEPS * point.nth
    return LONG_STEPS if point.nth > 1 else 4


def _fault(point: Point, job_id: str) -> Fault:
    match = Match(name=point.call)
    if point.call == RECEIVE:
        return Fault(Kind.DROP_ANSWER, match, answer=job_id, times=1)
    if not (point.call in UNNAMED or point.is_comfy):
        match = Match(name=point.call, holds=job_id)
    return Fault(Kind.DROP_ANSWER, match, nth=point.nth, times=1)


def _took_s(farm: Farm, asked: Asked) -> float:
    job = farm.job(asked)
    return ((job.finished_at or job.created_at) - job.created_at) / 1000 if job else 0.0


def of_the_api(farm: Farm, size: Size) -> Outcome:
    """
    Lose the answers of the calls that the API makes for a submission, then those of the API itself; repeat with the
    same key whatever was not answered.
    """
    with Lines(farm) as lines:
        lines.worker()
        asked = [farm.insist(farm.ask())]
        mark = len(farm.functions.log)
        asked.append(farm.insist(farm.ask()))
        calls = dict.fromkeys([*MUST_LOSE, *(each.name for each in farm.functions.log[mark:])])
        to_api = list[str]()
        for call in calls:
            for _ in range(ASKED_MOST):  # what is remembered for a moment is not asked each time
                key = str(uuid4())
                meant = Match(name=call, holds=job_id_of(TENANT, key) if call in MUST_LOSE else "")
                order = farm.functions.order(Fault(Kind.DROP_ANSWER, meant, times=1))
                asked.append(farm.ask(key=key))
                order.lift()
                if order.fired:
                    to_api.append(call)
                    break
        to_clients = 3 if size is Size.CI else 20
        order = lines.aws.order(Fault(Kind.DROP_ANSWER, Match(name="POST /api/v2/jobs"), times=to_clients))
        asked += [farm.ask(api=lines.api) for _ in range(to_clients)]
        order.lift()
        lost = order.fired
        unheard = [one for one in asked if not one.is_acknowledged]
        for one in unheard:
            farm.insist(one)
        farm.all_ended(asked)
        runs = lines.gpu_runs()
        tally, wrong = farm.judge(asked)
    figures: dict[str, float | int | str] = {
        "answers lost": lost + len(to_api),
        "calls": ", ".join(to_api),
        "repeated by the client": len(unheard),
        "GPU runs per job": f"{runs}/{len(asked)}",
    }
    wrong += [] if runs == len(asked) else [f"{len(asked)} jobs made {runs} GPU runs"]
    unlost = set(MUST_LOSE) - set(to_api)
    wrong += [f"the answer to {call} was not lost" for call in sorted(unlost)]
    wrong += [] if lost == to_clients else [f"only {lost} answers of the API were lost"]
    return Outcome(tally, figures, tuple(wrong))


SCENARIOS = (
    Scenario("F4", "answers to a worker get lost", ("P2", "P15"), of_workers),
    Scenario("F4", "answers to the API and of the API get lost", ("P1", "P2", "P15"), of_the_api),
)
