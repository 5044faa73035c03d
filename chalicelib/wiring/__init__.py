"""
Make the real things from the environment, each once a container and only when it is needed.

Googleapiclient is imported in the completion's path only: every function loads this package, and only one writes cells.
"""

from __future__ import annotations

import os

from chalicelib.logs import log_as_json
from chalicelib.wiring.apis import Apis
from chalicelib.wiring.clients import now_ms
from chalicelib.wiring.machines import Machines
from chalicelib.wiring.rows import Rows
from chalicelib.wiring.telling import Telling

__all__ = ["World", "now_ms", "world"]


class World(Apis, Rows, Telling, Machines):
    """Hold what one container needs, made on first use."""


log_as_json(os.environ.get("LOG_LEVEL", "INFO"))
world = World(os.environ)
