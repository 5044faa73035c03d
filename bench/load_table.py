"""
Measure every operation that reads or lists, and what runs each minute, on a job table of 100 to 100,000 jobs.

Half of the jobs belong to the client that asks, half to another; a tenth of them are open (held back in their client's
line), the others have ended. So what grows with the table, with one's own jobs, or with one's open jobs, is seen.
"""

from __future__ import annotations

import io
import json
import logging
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, Final

from botocore.config import Config

from bench.curves import Curve
from bench.figures import Figure, single
from bench.line import STAGE, cloud_in_environment
from bench.load_desk import SINGLE, Cost, Desk, note_cost
from chalicelib.contract.job import JOB_LIFETIME_MS, RETENTION_MS, Job, fingerprint, job_id_of
from chalicelib.contract.states import State
from chalicelib.ledger.item import item_of
from infra.__main__ import main as operator
from sandbox.world import Wishes, World

MINE: Final = "mine"
CROWD: Final = "crowd"
OPEN_EVERY: Final = 10
SIZES: Final = tuple(size for size in (100, 1_000, 10_000, 100_000) if size <= int(os.environ.get("JOBS", "100000")))
"""Jobs in the table; JOBS in the environment sets the most (the local cloud takes a while for each)."""
BATCH: Final = json.dumps({"job": {"workflow_id": "empty-color"}, "expand": {"width": "64..73"}}).encode()

Note = Callable[[str, Figure], None]
Say = Callable[[str], None]


def measure(note: Note, say: Say, *, quick: bool) -> list[Curve]:
    """Measure all of it; *quick*: up to 1,000 jobs instead of 100,000."""
    sizes, times = ((100, 1_000), 3) if quick else (SIZES, 10)
    # Each call would be a line.
    logging.getLogger("chalicelib").setLevel(logging.CRITICAL)
    with (
        tempfile.TemporaryDirectory(prefix="comfysheet-load-") as home,
        World(Wishes(home=Path(home), step_ms=0, start_worker=False)) as world,
        cloud_in_environment(world),
    ):
        desk = Desk(world, MINE)
        known = str(desk.call("createJob", SINGLE).body["id"])
        costs: dict[str, dict[int, Cost]] = {}
        there = 0
        for size in sizes:
            _fill(world, range(there, size))
            there = size
            say(f"{size:,} jobs in the table")
            for name, what, often in _asked(desk, known, times):
                costs.setdefault(name, {})[size] = desk.cost(what, often)
        for name, of_size in costs.items():
            note_cost(note, f"table_{name}", of_size[sizes[-1]])
        note("table_jobs", single(sizes[-1], "jobs", 1))
    return [
        Curve(f"{name}, {unit}", "jobs in the table", {size: read(cost) for size, cost in of_size.items()})
        for name, of_size in costs.items()
        for unit, read in (("items looked at", lambda cost: cost.items), ("ms", _median))
    ]


def _median(cost: Cost) -> float:
    return sorted(cost.ms)[len(cost.ms) // 2]


def _asked(desk: Desk, known: str, times: int) -> Sequence[tuple[str, Callable[[], object], int]]:
    """List what is asked, with a name and how often."""
    lambdas = desk.lambdas

    def cancelled() -> None:
        desk.call("cancelJob", job_id=str(desk.call("createJob", SINGLE).body["id"]))

    few = max(2, times // 4)
    stage = ["--stage", STAGE]
    return (
        ("get_job", lambda: desk.call("getJob", job_id=known), times),
        ("list_jobs", lambda: desk.call("listJobs"), times),
        ("list_jobs_none_fits", lambda: desk.call("listJobs", query={"tag": "nobody"}), few),
        ("create_job", lambda: desk.call("createJob", SINGLE), times),
        ("create_and_cancel", cancelled, times),
        ("create_batch_of_10", lambda: desk.call("createBatch", BATCH), few),
        ("get_me", lambda: desk.call("getMe"), times),
        ("get_queue", lambda: desk.call("getQueue"), few),
        ("list_workers", lambda: desk.call("listWorkers"), few),
        ("let_go", lambda: lambdas._window.refill(MINE), few),
        ("sweep", lambda: lambdas.sweep.sweep(), few),
        ("readings", lambda: lambdas.readings.take(), few),
        ("infra_status", lambda: _told(["status", *stage]), few),
        ("infra_jobs", lambda: _told(["jobs", "list", "--limit", "20", *stage]), few),
    )


def _told(words: list[str]) -> None:
    with redirect_stdout(io.StringIO()):
        operator(words)


def _fill(world: World, numbers: range) -> None:
    """Put jobs into the table: every other one of the client that asks, every tenth open."""
    dynamodb: Any = world.cloud.session().client("dynamodb", config=Config(read_timeout=120))
    table, now = world.cloud.outputs["JobsTable"], time.time_ns() // 1_000_000

    def item(number: int) -> dict[str, Any]:
        client, key = (MINE, CROWD)[number % 2], f"filled-{number}"
        is_open = number // 2 % OPEN_EVERY == 0
        job = Job(
            job_id=job_id_of(client, key),
            client_id=client,
            job_key=key,
            state=State.QUEUED if is_open else State.SUCCEEDED,
            seq=0 if is_open else 1,
            version=1 if is_open else 3,
            attempt=0 if is_open else 1,
            workflow_id="empty-color",
            workflow_hash="0" * 64,
            inputs={"color": number},
            input_hash=fingerprint({"color": number}),
            view_token="t" * 22,
            created_at=now - number * 100 - 3_600_000,
            enqueued_at=now,
            deadline=now + JOB_LIFETIME_MS,
            due_at=now + JOB_LIFETIME_MS if is_open else None,
            started_at=None if is_open else now,
            finished_at=None if is_open else now,
            synced_version=1 if is_open else 3,
        )
        return {**item_of(job), "ttl": {"N": str((now + RETENTION_MS) // 1000)}}

    def put(begin: int) -> None:
        requests = [{"PutRequest": {"Item": item(number)}} for number in range(begin, min(begin + 25, numbers.stop))]
        left: dict[str, Any] = {table: requests}
        while left:
            left = dynamodb.batch_write_item(RequestItems=left).get("UnprocessedItems", {})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(put, numbers[::25]))
