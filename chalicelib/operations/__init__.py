"""List every operation of the API, one module an area. A new route is a new line here; app.py serves the list."""

from __future__ import annotations

from typing import Final

from chalicelib.operation import Operation
from chalicelib.operations.docs import describing
from chalicelib.operations.jobs import JOBS
from chalicelib.operations.links import LINKS
from chalicelib.operations.me import ME
from chalicelib.operations.sheets import SHEETS

_SERVING: Final[tuple[Operation, ...]] = (*JOBS, *LINKS, *ME, *SHEETS)
OPERATIONS: Final[tuple[Operation, ...]] = (*_SERVING, *describing(_SERVING))
