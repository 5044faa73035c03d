"""Wait for what tells nobody when it changes: a process, a port, a table, a log."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


def wait_until(holds: Callable[[], bool], patience_s: float = 30.0, look_s: float = 0.1) -> bool:
    """Look every *look_s* seconds; say whether *holds* came true within *patience_s*."""
    pause, deadline = threading.Event(), time.monotonic() + patience_s
    while not holds():
        if time.monotonic() > deadline:
            return False
        pause.wait(look_s)
    return True
