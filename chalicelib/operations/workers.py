"""The routes that show the workers and the queue."""

from __future__ import annotations

from typing import Final

from chalicelib.farm_view import QueueView, WorkersView
from chalicelib.operation import Operation
from chalicelib.workers_api import WorkersQuery

_TAG: Final = "Workers"

WORKERS: Final = (
    Operation(
        "GET",
        "/api/v2/workers",
        "listWorkers",
        "Show the workers: their GPUs, models, idle gaps and health.",
        lambda world, call: world.workers_api.workers(call),
        tag=_TAG,
        scope="read",
        query=WorkersQuery,
        answers={200: WorkersView},
        refusals=frozenset({400}),
    ),
    Operation(
        "GET",
        "/api/v2/queue",
        "getQueue",
        "Show how long the queue is, and when your jobs may be done.",
        lambda world, call: world.workers_api.queue(call),
        tag=_TAG,
        scope="read",
        answers={200: QueueView},
    ),
)
