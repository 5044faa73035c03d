"""List every operation of the API, one module an area. A new route is a new line here; app.py serves the list."""

from __future__ import annotations

from typing import Final

from chalicelib.operation import Operation
from chalicelib.operations.assets import ASSETS
from chalicelib.operations.batches import BATCHES
from chalicelib.operations.docs import describing
from chalicelib.operations.jobs import JOBS
from chalicelib.operations.links import LINKS
from chalicelib.operations.me import ME
from chalicelib.operations.sheets import SHEETS
from chalicelib.operations.simple import SIMPLE
from chalicelib.operations.webhooks import WEBHOOKS
from chalicelib.operations.workers import WORKERS
from chalicelib.operations.workflows import WORKFLOWS

_SERVING: Final[tuple[Operation, ...]] = (
    *JOBS,
    *BATCHES,
    *ASSETS,
    *WORKFLOWS,
    *WORKERS,
    *WEBHOOKS,
    *SIMPLE,
    *ME,
    *LINKS,
    *SHEETS,
)
OPERATIONS: Final[tuple[Operation, ...]] = (*_SERVING, *describing(_SERVING))
