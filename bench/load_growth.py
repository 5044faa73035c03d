"""Measure what grows besides jobs: the catalog's workflows, a client's webhooks, and the worker's memory."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from bench.curves import Curve
from bench.figures import Figure
from bench.line import cloud_in_environment
from bench.load_desk import SINGLE, Cost, Desk, note_cost
from bench.worker import memory
from chalicelib.contract.deliveries import ENDPOINTS_MOST
from chalicelib.contract.job import Timings
from chalicelib.contract.ports import Claimed
from chalicelib.contract.states import State
from chalicelib.herald import Herald
from chalicelib.publish import Publisher
from infra.workflow_files import read_folder
from infra.workflows import open_blobs
from sandbox.world import Wishes, World
from tests.delivery_fakes import Board

OWNER: Final = "mine"

Note = Callable[[str, Figure], None]


def measure(note: Note, _say: Callable[[str], None], *, quick: bool) -> list[Curve]:
    """Measure the catalog, webhooks, and (with a world of its own) the worker."""
    logging.getLogger("chalicelib").setLevel(logging.CRITICAL)
    with (
        tempfile.TemporaryDirectory(prefix="comfysheet-load-") as home,
        World(Wishes(home=Path(home), step_ms=0, start_worker=False)) as world,
        cloud_in_environment(world),
    ):
        curves = _catalog(world, note, (10, 100) if quick else (10, 100, 1_000), 5 if quick else 15)
        curves += _webhooks(world, (1, 10), 5 if quick else 20)
    memory(note, 300 if quick else 1_000)
    return curves


def _catalog(world: World, note: Note, sizes: tuple[int, ...], times: int) -> list[Curve]:
    """Push copies of a shipped workflow, and ask for one and for all, cold (the index is read) and warm."""
    shipped = next(each for each in read_folder() if each.id == "empty-color")
    blobs = open_blobs(world.cloud.session(), world.cloud.outputs["Bucket"])
    publisher = Publisher(blobs, lambda: time.time_ns() // 1_000_000)
    costs: dict[str, dict[int, Cost]] = {}
    for size in sizes:
        copies = [
            shipped.model_copy(update={"id": f"copy-{number}", "name": f"Copy {number}", "aliases": ()})
            for number in range(size)
        ]
        publisher.push(copies, by="the bench")

        def cold() -> None:
            Desk(world, OWNER).call("createJob", SINGLE)

        desk = Desk(world, OWNER)
        for name, what, often in (
            ("create_job", lambda desk=desk: desk.call("createJob", SINGLE), times),
            ("list_workflows", lambda desk=desk: desk.call("listWorkflows"), times),
            ("create_job, cold", cold, max(3, times // 5)),
        ):
            costs.setdefault(name, {})[size] = desk.cost(what, often, warm=1)
    for name, of_size in costs.items():
        note_cost(note, f"catalog_{name.replace(', ', '_')}", of_size[sizes[-1]])
    return [
        Curve(f"{name}, CPU ms", "workflows in the catalog", {size: cost.cpu_ms for size, cost in of_size.items()})
        for name, of_size in costs.items()
    ]


def _webhooks(world: World, sizes: tuple[int, ...], times: int) -> list[Curve]:
    """Announce a job's end to all endpoints of its client."""
    points: dict[str, dict[int, float]] = {"AWS calls": {}, "CPU ms": {}}
    for size in sizes:
        assert size <= ENDPOINTS_MOST
        client = f"client-of-{size}"
        desk = Desk(world, client)
        lambdas: Any = desk.lambdas
        for number in range(size):
            lambdas.webhooks_api._webhooks.create(client, f"https://hooks-{number}.example/")
        herald = Herald(lambdas._book, lambdas.deliveries, Board(), lambda: time.time_ns() // 1_000_000)

        def announce(desk: Desk = desk, herald: Herald = herald) -> None:
            job_id = str(desk.call("createJob", SINGLE).body["id"])
            ledger, now = desk.lambdas.ledger, time.time_ns() // 1_000_000
            claim = ledger.claim(job_id, 1, owner="w", token="t", now=now, lease_ms=1000)
            if not isinstance(claim, Claimed):
                return  # the client's window is full: it is the next one's turn
            assert ledger.commit(claim.lease, now=now, outputs=[], timings=Timings())
            job = ledger.get(job_id)
            assert job is not None and job.state is State.SUCCEEDED
            assert herald.announce([job]) == {}

        cost = desk.cost(announce, times)
        points["AWS calls"][size], points["CPU ms"][size] = cost.calls, cost.cpu_ms
    return [Curve(f"submit, end and announce, {name}", "webhooks of the client", of) for name, of in points.items()]
