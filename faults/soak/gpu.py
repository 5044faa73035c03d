"""Read what the ComfyUI stand-ins ran, and say what of it was of use (P15)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from chalicelib.contract.job import Job, prompt_id_of
from chalicelib.contract.states import State

LATE_MS: Final = 10_000
"""A cancelled job's prompt may begin until its worker's next heartbeat, and no later than this."""
SLACK_MS: Final = 1_000
"""What clocks and the way of an answer may make of the moment at which any other job ended."""
SLACK_NS: Final = SLACK_MS * 1_000_000
WASTED_MOST_PERCENT: Final = 2.0
"""Of the GPU seconds, under faults (P15)."""
MEASURED_LEAST_S: Final = 100.0
"""GPU seconds of which a share says anything: of fewer a kill or two are more than a hundredth."""


@dataclass
class Usage:
    """
    Add up GPU seconds; *late*: ids of jobs that ran after they had ended, *strange*: prompts of no job, *unseen*: ids
    of jobs that succeeded without a run that any meter saw, *missing*: meters that are not there.
    """

    total_s: float = 0.0
    cancelled_s: float = 0.0
    useful_s: float = 0.0
    late: list[str] = field(default_factory=list)
    strange: list[str] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    runs: Counter[str] = field(default_factory=Counter)
    wasted_runs: int = 0
    """Runs from which no committed result came, those of cancelled jobs apart."""

    @property
    def wasted_s(self) -> float:
        """Give the seconds from which no committed result came, those of cancelled jobs apart."""
        return max(0.0, self.total_s - self.useful_s - self.cancelled_s)

    @property
    def wasted_percent(self) -> float:
        return round(100 * self.wasted_s / self.total_s, 2) if self.total_s else 0.0


def usage(meters: Sequence[Path], jobs: Mapping[str, Job]) -> Usage:
    """Read the meters; of a job that succeeded the longest run that ended before the commit is the useful one."""
    owner = {prompt_id_of(job.job_id, attempt): job for job in jobs.values() for attempt in range(1, job.attempt + 1)}
    used, useful = Usage(missing=[meter.name for meter in meters if not meter.exists()]), dict[str, float]()
    for meter in meters:
        for prompt_id, begin, end in spans_of("" if meter.name in used.missing else meter.read_text()):
            seconds, job = (end - begin) / 1e9, owner.get(prompt_id)
            used.total_s += seconds
            if job is None:
                used.strange.append(prompt_id)
                continue
            used.runs[job.job_id] += 1
            used.wasted_runs += job.state is not State.CANCELED
            finished_ms = job.finished_at or math.inf
            if begin / 1e6 > finished_ms + (LATE_MS if job.state is State.CANCELED else SLACK_MS):
                used.late.append(job.job_id)
            if job.state is State.SUCCEEDED and finished_ms * 1e6 >= end - SLACK_NS:
                useful[job.job_id] = max(useful.get(job.job_id, 0.0), seconds)
            elif job.state is State.CANCELED:
                used.cancelled_s += seconds
    used.useful_s = sum(useful.values())
    used.wasted_runs -= len(useful)
    used.unseen = [job.job_id for job in jobs.values() if job.state is State.SUCCEEDED and job.job_id not in useful]
    return used


def breaches(used: Usage, breaks: int) -> list[str]:
    """
    Say what is wrong with it (P15); where nothing was measured nothing is right.

    *breaks*: how often a worker or a ComfyUI was killed, frozen or cut off; each may cost the run in its hands.
    """
    wrong = [f"the meter {name} is not there: its ComfyUI's time was not measured" for name in used.missing]
    wrong += [f"a GPU ran job {each} after it had ended" for each in used.late]
    wrong += [f"job {each} succeeded, and no meter saw it run before that" for each in used.unseen]
    if used.total_s == 0:
        wrong.append("the meters saw no GPU work at all")
    if used.wasted_runs > breaks:
        wrong.append(f"{used.wasted_runs} runs came to nothing, and only {breaks} times something was broken")
    if used.total_s >= MEASURED_LEAST_S and used.wasted_percent > WASTED_MOST_PERCENT:
        wrong.append(
            f"{used.wasted_percent} % of the GPU time came to nothing ({used.wasted_s:.1f} of {used.total_s:.1f} s); "
            f"{WASTED_MOST_PERCENT:.0f} % are allowed"
        )
    return wrong


def unjudged(used: Usage) -> list[str]:
    """Say what there was too little of."""
    few = f"the {WASTED_MOST_PERCENT:.0f} % of P15: {used.total_s:.0f} s of GPU time are too few for a share"
    return [] if used.total_s >= MEASURED_LEAST_S else [few]


def spans_of(text: str) -> list[tuple[str, int, int]]:
    """Read a stand-in's meter: what ran, from when to when (ns); what a death cut off ended at the next start."""
    spans, running = list[tuple[str, int, int]](), dict[str, int]()
    for line in text.splitlines():
        what, prompt_id, at = line.split()
        if what == "begun":
            running[prompt_id] = int(at)
        elif what == "ended" and prompt_id in running:
            spans.append((prompt_id, running.pop(prompt_id), int(at)))
        elif what == "started":
            spans += [(each, begun, int(at)) for each, begun in running.items()]
            running.clear()
    return spans
