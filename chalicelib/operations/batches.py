"""The routes of batches: many jobs at once."""

from __future__ import annotations

from typing import Final

from chalicelib.batch import BatchRequest
from chalicelib.batch_view import BatchAnswer, BatchQuery, BatchView
from chalicelib.operation import Operation

_BATCHES: Final = "/api/v2/batches"
_BATCH: Final = f"{_BATCHES}/{{batch_id}}"
_TAG: Final = "Batches"

BATCHES: Final = (
    Operation(
        "POST",
        _BATCHES,
        "createBatch",
        "Submit up to 100 jobs, or one with lists and ranges to expand.",
        lambda world, call: world.batches_api.create(call),
        tag=_TAG,
        scope="submit",
        body=BatchRequest,
        headers={"Idempotency-Key": "A word of your own: the same key and body are the same batch, which is finished."},
        answers={200: BatchAnswer, 201: BatchView},
    ),
    Operation(
        "GET",
        _BATCH,
        "getBatch",
        "Show a batch: how many of its jobs are where, and a page of them.",
        lambda world, call: world.batches_api.get(call),
        tag=_TAG,
        scope="read",
        query=BatchQuery,
        answers={200: BatchView},
        refusals=frozenset({400}),
    ),
    Operation(
        "POST",
        f"{_BATCH}/cancel",
        "cancelBatch",
        "Cancel every job of a batch that has not ended.",
        lambda world, call: world.batches_api.cancel(call),
        tag=_TAG,
        scope="submit",
        answers={200: BatchView},
    ),
)
