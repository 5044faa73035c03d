"""Cut a worker off from one of its sides, for less than a lease and for more, and let it come back."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from chalicelib.contract.job import prompt_id_of
from chalicelib.contract.states import State
from faults.calls import OWN_WRITES
from faults.farm import Asked, Farm
from faults.lines import Lines
from faults.orders import Fault, Kind, Match, Order
from faults.proxy import Proxy
from faults.report import Outcome, Tally, rank
from faults.scenario import Scenario, Size
from sandbox.comfy.standin import ComfyStandIn
from sandbox.waiting import wait_until

STEP_MS: Final = 20
STEPS: Final = 150
"""A run of three seconds: longer than a lease (2 s), shorter than a long cut."""
SHORT_S: Final = 2.0
LONG_S: Final = 7.0
"""Longer than lease (2 s), visibility (4 s) and one poll (1 s) together: another worker has the job by then."""
VERY_LONG_S: Final = 20.0


class Side(StrEnum):
    """Name what a worker is cut off from."""

    SQS = "SQS"
    DYNAMODB = "DynamoDB"
    S3 = "S3"
    AWS = "all of AWS"
    COMFY = "ComfyUI http"
    SOCKET = "ComfyUI ws"


_MATCHES: Final = {
    Side.SQS: Match(name="sqs *"),
    Side.DYNAMODB: Match(name="dynamodb *"),
    Side.S3: Match(name="s3 *"),
    Side.AWS: Match(),
    Side.COMFY: Match(path="^/(?!ws)"),
    Side.SOCKET: Match(path="^/ws"),
}


@dataclass(frozen=True)
class Cut:
    """Describe a cut: from what, how, and for how long."""

    side: Side
    kind: Kind
    for_s: float

    def __str__(self) -> str:
        return f"{self.side} {self.kind} {self.for_s:.0f} s"

    def fault(self) -> Fault:
        slow = {"delay_s": 1.0, "bytes_per_s": 20_000.0} if self.kind is Kind.SLOW else {}
        return Fault(self.kind, _MATCHES[self.side], for_s=self.for_s, **slow)  # type: ignore[arg-type]


@dataclass
class Victim:
    """Be a worker with a GPU and lines of its own, which has one job; *takes* holds it back from more."""

    cut: Cut | None
    lines: Lines
    comfy: ComfyStandIn
    takes: list[Order] = field(default_factory=list)
    asked: Asked = field(default_factory=lambda: Asked("", "", {}))
    attempt: int = 0
    cut_at: float = 0.0
    """Wall clock, s."""

    @property
    def is_up(self) -> bool:
        return self.lines.aws.counts["sqs ReceiveMessage"] > 0

    def hold_back(self) -> None:
        """Let the queue look empty to it."""
        polls = Match(name="sqs ReceiveMessage")
        head = {"Content-Type": "application/x-amz-json-1.0"}
        self.takes = [
            self.lines.aws.order(Fault(Kind.SLOW, polls, delay_s=0.5)),
            self.lines.aws.order(Fault(Kind.ANSWER, polls, status=200, headers=head, body=b"{}")),
        ]

    def let_take(self) -> None:
        for order in self.takes:
            order.lift()


def partitions(farm: Farm, size: Size) -> Outcome:
    """Cut workers off while they render, one for each cut, beside one worker that is not; count what came of it."""
    tally, wrong, figures = Tally(), list[str](), _Figures()
    for cuts in _rounds(size):
        found, breaches = _round(farm, cuts, figures)
        tally += found
        wrong += breaches
    if not figures.taken_over:
        wrong.append("no job of a worker that was cut off was taken over: nothing was proven of lost leases")
    elif not figures.zombie_writes:
        wrong.append("no worker that had lost its lease tried to write: nothing was proven of the fence")
    return Outcome(tally, figures.told(), tuple(wrong))


def _rounds(size: Size) -> list[list[Cut]]:
    """Give the cuts that are made at the same time."""
    if size is Size.CI:
        return [
            [
                Cut(Side.AWS, Kind.BLACK_HOLE, LONG_S),
                Cut(Side.DYNAMODB, Kind.RESET, LONG_S),
                Cut(Side.COMFY, Kind.RESET, SHORT_S),
            ]
        ]
    kinds, lengths = (Kind.RESET, Kind.BLACK_HOLE, Kind.SLOW), (SHORT_S, LONG_S, VERY_LONG_S)
    return [[Cut(side, kind, for_s) for side in Side] for kind, for_s in itertools.product(kinds, lengths)]


@dataclass
class _Figures:
    """Gather over all rounds."""

    recovery_s: list[float] = field(default_factory=list)
    by_cut: dict[str, float] = field(default_factory=dict)
    zombie_writes: int = 0
    """Tried by a worker that had lost its lease."""
    accepted: int = 0
    taken_over: int = 0
    gpu_s: float = 0.0
    wasted_s: float = 0.0

    def told(self) -> dict[str, float | int | str]:
        worst = max(self.by_cut, key=lambda cut: self.by_cut[cut])
        return {
            "cuts": len(self.recovery_s),
            "taken over": self.taken_over,
            "cut to end s p50/p95/max": "/".join(str(rank(self.recovery_s, share)) for share in (0.5, 0.95, 1)),
            "longest": worst,
            "zombie writes tried": self.zombie_writes,
            "zombie writes accepted": self.accepted,
            "GPU s": round(self.gpu_s, 1),
            "wasted GPU s": round(self.wasted_s, 1),
        }


def _round(farm: Farm, cuts: Sequence[Cut], figures: _Figures) -> tuple[Tally, list[str]]:
    with ExitStack() as held:
        rescuer, *victims = [held.enter_context(_victim(farm, cut)) for cut in (None, *cuts)]
        wait_until(lambda: all(each.is_up for each in (rescuer, *victims)))
        for victim in victims:
            _give_job(farm, victim)
        for victim in victims:
            assert victim.cut is not None
            victim.cut_at = time.time()
            proxy = victim.lines.comfy if victim.cut.side in (Side.COMFY, Side.SOCKET) else victim.lines.aws
            proxy.order(victim.cut.fault())
        rescuer.let_take()
        begun = time.monotonic()
        asked = [victim.asked for victim in victims]
        farm.all_ended(asked, patience_s=120)
        # Those who were cut off come back, and what they sent arrives.
        over_s = begun + max(cut.for_s for cut in cuts)
        wait_until(lambda: time.monotonic() > over_s and all(_is_still(each.lines.aws) for each in victims))
        tally, wrong = farm.judge(asked)
        for victim in victims:
            wrong += _count(farm, victim, rescuer, figures)
        figures.gpu_s += sum(_busy_s(each.comfy) for each in (*victims, rescuer))
        figures.wasted_s += sum(_busy_s(each.comfy) for each in (*victims, rescuer)) - _needed_s(farm, victims, rescuer)
    return tally, wrong


@contextmanager
def _victim(farm: Farm, cut: Cut | None) -> Iterator[Victim]:
    with (
        TemporaryDirectory(prefix="comfysheet-gpu-") as home,
        ComfyStandIn(Path(home), step_ms=STEP_MS) as comfy,
        Lines(farm, comfy_url=comfy.url) as lines,
    ):
        victim = Victim(cut, lines, comfy)
        victim.hold_back()
        lines.worker()
        yield victim
        lines.clear()


def _give_job(farm: Farm, victim: Victim) -> None:
    """Give it one job, and wait until it renders."""
    victim.let_take()
    victim.asked = farm.ask(steps=STEPS)

    def renders() -> bool:
        return any(each.about.startswith(victim.asked.job_id) for each in victim.lines.aws.log) and any(
            each.name == "POST /prompt" and each.is_answered for each in victim.lines.comfy.log
        )

    wait_until(renders, look_s=0.02)
    victim.hold_back()
    job = farm.job(victim.asked)
    victim.attempt = job.attempt if job else 0


def _is_still(proxy: Proxy) -> bool:
    """Say whether nothing that came in during a cut is under way any more."""
    return all(each.status is not None for each in proxy.log if each.name in OWN_WRITES and each.sent_s is not None)


def _count(farm: Farm, victim: Victim, rescuer: Victim, figures: _Figures) -> list[str]:
    """Count what became of one cut."""
    job = farm.job(victim.asked)
    if job is None or job.state is not State.SUCCEEDED or job.finished_at is None:
        return []  # the judge has said so
    took_s = job.finished_at / 1000 - victim.cut_at
    figures.recovery_s.append(took_s)
    figures.by_cut[str(victim.cut)] = took_s
    taken = [
        each.told_s
        for each in rescuer.lines.aws.log
        if each.name == "dynamodb claim" and each.about == job.job_id and each.status == 200 and each.told_s
    ]
    if not taken:
        return []
    figures.taken_over += 1
    late = [
        each
        for each in victim.lines.aws.log
        if each.name in OWN_WRITES
        # A write without its fence names no attempt.
        and each.about in (job.job_id, f"{job.job_id} {victim.attempt}")
        and each.sent_s is not None
        and each.sent_s > min(taken)
    ]
    accepted = [each for each in late if each.status == 200]
    figures.zombie_writes += len(late)
    figures.accepted += len(accepted)
    return [f"after {victim.cut}: a write of a lost lease was accepted: {each.name}" for each in accepted]


def _busy_s(comfy: ComfyStandIn) -> float:
    return sum(end - begin for _, begin, end in comfy.spans) / 1e9


def _needed_s(farm: Farm, victims: Sequence[Victim], rescuer: Victim) -> float:
    """Sum what the runs took whose pictures are shown."""
    spans = {prompt: (end - begin) / 1e9 for each in (*victims, rescuer) for prompt, begin, end in each.comfy.spans}
    needed = 0.0
    for victim in victims:
        job = farm.job(victim.asked)
        attempts = range(job.attempt, 0, -1) if job else range(0)
        # An attempt may have taken over the run of one before it.
        runs = [
            spans[prompt] for attempt in attempts if (prompt := prompt_id_of(victim.asked.job_id, attempt)) in spans
        ]
        needed += runs[0] if runs else 0.0
    return needed


SCENARIOS = (Scenario("F5", "workers are cut off, and come back", ("P1", "P4", "P5", "P6", "P15"), partitions),)
