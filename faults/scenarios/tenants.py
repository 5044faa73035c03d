"""Have one tenant ask for a great many jobs, and see what another one's wait."""

from __future__ import annotations

from typing import Any, Final

import requests

from chalicelib.contract.job import Job
from chalicelib.contract.states import TERMINAL
from faults.farm import Asked, Farm
from faults.report import Outcome, rank
from faults.scenario import Scenario, Size
from sandbox.waiting import wait_until

GREEDY: Final = "greedy"
SMALL: Final = "small"
STEPS: Final = 40
"""Of a job: nearly a second, so that letting the next one go takes a small part of it."""
AT_ONCE: Final = 100


def crowded_out(farm: Farm, size: Size) -> Outcome:
    """Two tenants on two workers, many jobs against a few; what is left of the many is cancelled in the end."""
    many, few = (40, 3) if size is Size.CI else (200, 5)
    workers = [farm.worker(), farm.worker()]
    batches = [_batch(farm, min(AT_ONCE, many - begin)) for begin in range(0, many, AT_ONCE)]
    ids = [str(job["id"]) for batch in batches for job in batch["jobs"]]
    # Both at work, and the window full: two jobs with each.
    busy = wait_until(lambda: sum(job.started_at is not None for job in farm.ledger.get_many(ids[:AT_ONCE])) >= 6)
    asked: list[Asked] = []
    for _ in range(few):
        one = farm.insist(farm.ask(client=SMALL, steps=STEPS))
        asked.append(one)
        wait_until(lambda one=one: _begun(farm.job(one)))  # type: ignore[misc]
    farm.all_ended(asked)
    left = sum(job.state not in TERMINAL for job in farm.ledger.get_many(ids))
    for batch in batches:
        _post(farm, f"/api/v2/batches/{batch['id']}/cancel")
    over = wait_until(lambda: all(job.state in TERMINAL for job in farm.ledger.get_many(ids)))
    for worker in workers:
        worker.stop()
    others = farm.ledger.get_many(ids)
    before = [_between(job, others) for one in asked if (job := farm.job(one)) is not None]
    tally, wrong = farm.judge(asked)
    wrong += [] if busy else ["the many never filled the workers' window"]
    wrong += [] if left else ["the many had ended before the few: nothing was tried"]
    wrong += [] if over else ["jobs of the many did not end though they were cancelled"]
    most = max(before, default=0)
    if most > len(workers):
        wrong.append(f"{most} jobs of the many were begun before one of the few, on {len(workers)} workers")
    figures: dict[str, float | int | str] = {
        "jobs before one's own p50": rank([float(each) for each in before], 0.5) if before else "none",
        "most per worker": most / len(workers),
        "the many's left": left,
    }
    return Outcome(tally, figures, tuple(wrong))


def _begun(job: Job | None) -> bool:
    return job is not None and job.started_at is not None


def _between(job: Job, others: list[Job]) -> int:
    """Count those of *others* that were begun between *job*'s being sent to the workers and its beginning."""
    begun = job.started_at or 0
    return sum(job.enqueued_at < other.started_at < begun for other in others if other.started_at is not None)


def _batch(farm: Farm, count: int) -> dict[str, Any]:
    inputs = {"prompt": "a fox", "steps": STEPS, "width": 64, "height": 64}
    expand = {"seed": f"1..{count}"}
    return _post(farm, "/api/v2/batches", {"job": {"workflow_id": "txt2img-sdxl", "inputs": inputs}, "expand": expand})


def _post(farm: Farm, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {farm.token(GREEDY)}"}
    answer = requests.post(f"{farm.world.cloud.api_url}{path}", json=body, headers=headers, timeout=30)
    answer.raise_for_status()
    told: dict[str, Any] = answer.json()
    return told


SCENARIOS = (
    # In CI the emulated clock tries it: test_10000_jobs_of_one_tenant_cost_another_one_job_a_gpu.
    Scenario("F16", "one tenant asks for many jobs, another for a few", ("P17", "P1"), crowded_out, in_ci=False),
)
