"""The real worker as a Slurm job (stand-in), with a ComfyUI of its own: it empties the queue, or meets its limit."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from chalicelib.contract.states import State
from sandbox.comfy import ComfyStandIn
from tests.journeys.test_worker_process import ROOT, Shop, managed, until
from tests.sizes import before_release
from tests.slurm_standin import Job, Slurm

if TYPE_CHECKING:
    from sandbox.cloud import LocalCloud

SCRIPT = ROOT / "infra/slurm/comfysheet-worker.sbatch"


@pytest.fixture
def shop(cloud: LocalCloud, aws: boto3.Session, resources: dict[str, Any], tmp_path: Path) -> Iterator[Shop]:
    with ComfyStandIn(tmp_path / "beside", test_nodes=True) as comfy:
        shop = Shop(cloud, aws, resources, comfy)
        yield shop
        shop.close()


def clone(folder: Path) -> Path:
    """Make what a clone is to the script: the worker, and a Python that runs it."""
    python = folder / ".venv-worker/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    for name in ("worker", "chalicelib"):
        (folder / name).symlink_to(ROOT / name)
    return folder


def submit(slurm: Slurm, shop: Shop, folder: Path, *, limit: str, **changes: str) -> Job:
    settings = {name: value for name, value in shop.environment.items() if name not in ("COMFY_URL", "WORKER_NAME")}
    settings |= managed(shop, folder / "ComfyUI")
    settings.pop("COMFY_PORT")
    [job] = slurm.sbatch(
        SCRIPT,
        clone(folder / "clone"),
        {"PATH": os.environ["PATH"], **settings, **changes},
        time=limit,
        signal="B:TERM@1",
    )
    return job


def test_a_slurm_job_empties_the_queue_and_ends_by_itself(shop: Shop, tmp_path: Path) -> None:
    """Three jobs, hours left: all are rendered, and after the idle time the job is over, exit code 0."""
    jobs = [shop.submit() for _ in range(3)]
    with Slurm(tmp_path / "spool") as slurm:
        job = submit(slurm, shop, tmp_path, limit="4:00:00", IDLE_END_S="1")
        assert job.ends() == 0, job.said()
        assert job.events == [] and "no job for 1 s" in job.said()
    for job_id in jobs:
        assert shop.job(job_id).state is State.SUCCEEDED
        assert shop.job(job_id).owner == f"slurm-{job.id}"


@before_release
def test_a_job_that_meets_the_limit_goes_on_with_the_next_worker(shop: Shop, tmp_path: Path) -> None:
    """It is handed back with its attempts whole before Slurm has to end anything; another worker takes it."""
    job_id = shop.submit(seconds=60)
    with Slurm(tmp_path / "spool") as slurm:
        job = submit(slurm, shop, tmp_path, limit="0:38")
        until(lambda: shop.job(job_id).state is State.RUNNING)
        assert job.ends() == 0, job.said()
        assert job.events == [] and "its time limit is near" in job.said()
    left = shop.job(job_id)
    assert (left.state, left.attempt, left.budget_left) == (State.QUEUED, 1, 3)
    shop.start()
    shop.renders(job_id)
    assert (shop.job(job_id).attempt, shop.job(job_id).owner) == (2, "worker-0")
